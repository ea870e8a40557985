"""Hosts that a working agent wants to reach and the policy leaves to people, among what the agent itself asks."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from agentpkg.core.records import SessionEvent
from agentpkg.engine.supervising.inside import Inside
from agentpkg.harnesses.base import Ask, Decided
from agentpkg.sessions.asking import People

_PREFIX = "network:"


@dataclass(frozen=True)
class Outgoing:
    """Whom a session may ask; a :class:`agentpkg.sessions.asking.People`.

    Attributes:
        people: takes the questions.
        inside: knows the hosts, and opens the way.
        redact: makes a text safe.
        note: puts something into the session's log.
    """

    people: People
    inside: Inside
    redact: Callable[[str], str]
    note: Callable[[SessionEvent], object]
    #: hosts by the id of what was asked about them, which is kept and therefore safe
    _asked: dict[str, str] = field(default_factory=dict)

    @property
    def waiting(self) -> bool:
        """The agent waits for somebody."""
        return self.people.waiting

    def ask(self, ask: Ask) -> str | None:
        """As the agent's own question."""
        return self.people.ask(ask)

    def decided(self) -> Iterable[Decided]:
        """What was decided of the agent's own questions; hosts are settled on the way."""
        for target in self.inside.wanted():
            self._ask_about(target)
        for one in self.people.decided():
            if one.ask.id in self._asked:
                self._settle(one)
            else:
                yield one

    def _settle(self, one: Decided) -> None:
        self.inside.settle(self._asked.pop(one.ask.id), one.allowed)
        word = "allowed" if one.allowed else "refused"
        self.note(SessionEvent("permission", f"{one.ask.text}: {one.reason}", {"decision": word}))

    def _ask_about(self, target: str) -> None:
        shown = self.redact(target)
        ask = Ask(f"{_PREFIX}{shown}", "network", f"connect to {shown}", "no configuration names it", {"host": shown})
        self._asked[ask.id] = target
        name = self.people.ask(ask)
        self.note(SessionEvent("permission", f"{name or 'asked'}: {ask.text}: {ask.why}", {"tool": ask.tool}))
