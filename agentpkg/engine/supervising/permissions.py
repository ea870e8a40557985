"""What a working agent asks of people: put into the queue of questions, watched there, and brought back.

An agent asks over its own stream, or by a file where its program knows no other way. It waits until a person has
answered or the deadline has passed, then the default is its answer. Nothing here waits: the supervisor looks.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from agentpkg.core import chain, questions
from agentpkg.core.errors import AgentpkgError
from agentpkg.core.records import QuestionRow
from agentpkg.engine import transition
from agentpkg.engine.supervising import lease
from agentpkg.engine.supervising.plan import SessionPlan
from agentpkg.engine.transition.questions import Asked
from agentpkg.files import write_atomic
from agentpkg.harnesses import mailbox
from agentpkg.harnesses.base import Ask, Decided
from agentpkg.harnesses.programs import bounded, mapping, short, telling
from agentpkg.ledger.ledger import Ledger
from agentpkg.secrets.redact import Redactor

#: of one session: questions that are open at once, and all
_MOST_OPEN, _MOST = 10, 100

#: the part of a session's time that is left, in which an answer must have come: the agent has to act on it
_SHARE = 0.9

#: seconds between two looks for answers; and after a deadline, until an answer is given up that the ledger owes
_LOOK, _GRACE = 0.3, 5.0


@dataclass
class Permissions:
    """The questions of one session; a :class:`agentpkg.sessions.asking.People`.

    Attributes:
        redactor: takes secrets out of what comes by files.
        poke: called when something was recorded.
    """

    plan: SessionPlan
    ledger: Ledger
    redactor: Redactor
    poke: Callable[[], object]
    _began: float = field(default_factory=time.monotonic)
    #: what is asked, and when it is over by the monotonic clock, by the question's number
    _open: dict[int, tuple[Ask, float]] = field(default_factory=dict)
    _known: dict[bytes, Decided] = field(default_factory=dict)
    _settled: list[Decided] = field(default_factory=list)
    _files: set[str] = field(default_factory=set)
    _next: float = 0.0

    @property
    def waiting(self) -> bool:
        """The agent waits for somebody."""
        return bool(self._open)

    def ask(self, ask: Ask) -> str | None:
        """Puts a call to people; gives the question's name, None where it is decided already."""
        why = self._settled_by(ask)
        if why is not None:
            self._settled.append(Decided(ask, False, why))
            return None
        try:
            number = self._put(ask)
        except (AgentpkgError, OSError) as error:
            # as on a full disk: an answer that cannot be waited for is a no
            self._settled.append(Decided(ask, False, f"{ask.why}; it could not be asked: {error}"))
            return None
        self._open[number] = ask, time.monotonic() + self._patience()
        return questions.name(number)

    def decided(self) -> list[Decided]:
        """What was decided since the last call."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _LOOK
            self._read_files()
            self._settled += self._closed(now)
        settled, self._settled = self._settled, []
        for one in settled:
            self._answer_file(one)
        return settled

    # ----------------------------------------------------------------- the queue

    def _settled_by(self, ask: Ask) -> str | None:
        """Why a call is refused without a question."""
        known = self._known.get(_likeness(ask))
        if known is not None:
            return f"{known.reason} (asked before)"
        if len(self._open) >= _MOST_OPEN or len(self._files) + len(self._known) >= _MOST:
            return f"{ask.why}; this session has asked too much"
        return None

    def _put(self, ask: Ask) -> int:
        plan = self.plan
        with self.ledger.write() as tx:
            lease.require(tx, plan.session)
            row = transition.require(tx, str(plan.job["feature"]), str(plan.job["wp"]))
            question = transition.questions.ask(tx, row, self._asked(ask, tx.now()))
        self.poke()
        return question.number

    def _asked(self, ask: Ask, now: str) -> Asked:
        plan = self.plan
        return Asked(
            questions.PERMISSION, f"{plan.session}/{ask.id}",
            short(" ".join(f"{plan.agent_name} asks: {ask.text}".split()), 300),
            {"tool": ask.tool, "why": ask.why, "input": bounded(ask.input)},
            fallback=questions.YES if plan.asking.get("default") == "allow" else questions.NO,
            deadline=chain.rfc3339(datetime.fromisoformat(now) + timedelta(seconds=self._patience())),
            approvers=tuple(plan.asking.get("approvers", ())), session=plan.session,
        )  # fmt: skip

    def _patience(self) -> float:
        left = self.plan.timeout_seconds - (time.monotonic() - self._began)
        return min(float(self.plan.asking["deadline_seconds"]), max(1.0, left * _SHARE))

    def _closed(self, now: float) -> list[Decided]:
        try:
            rows = self._rows() if self._open else []
        except (AgentpkgError, OSError):
            # the ledger is away for now; what it cannot say in time counts as refused
            rows = []
        found = [self._close(row.number, row) for row in rows if row.state != "open"]
        late = [number for number, (_, until) in self._open.items() if now > until + _GRACE]
        return found + [self._close(number, None) for number in late]

    def _rows(self) -> list[QuestionRow]:
        rows = [self.ledger.question(number) for number in self._open]
        if any(row is not None and questions.overdue(row, self.ledger.now()) for row in rows):
            with self.ledger.write() as tx:
                transition.questions.time_out(tx)
            self.poke()
            rows = [self.ledger.question(number) for number in self._open]
        return [row for row in rows if row is not None]

    def _close(self, number: int, row: QuestionRow | None) -> Decided:
        ask, _ = self._open.pop(number)
        allowed = row is not None and row.answer == questions.YES
        found = Decided(ask, allowed, _words(row, ask))
        if not allowed:
            self._known[_likeness(ask)] = found
        return found

    # ----------------------------------------------------------------- files

    def _read_files(self) -> None:
        for name, said in mailbox.requests(Path(self.plan.private), self._files):
            safe: Mapping[str, Any] = mapping(self.redactor.redact_value(said))
            given, tool = mapping(safe.get("input")), str(safe.get("tool") or "a tool")
            text = short(f"{tool} {telling(given)}".strip(), 500)
            self.ask(Ask(f"file:{name}", tool, text, short(str(safe.get("why") or "nobody decided it"), 500), given))

    def _answer_file(self, decided: Decided) -> None:
        name = decided.ask.id.removeprefix("file:")
        if name != decided.ask.id:
            folder = Path(str(self.plan.job["folder"]), mailbox.ANSWERED)
            write_atomic(folder / name, json.dumps({"allowed": decided.allowed, "reason": decided.reason}))


def _likeness(ask: Ask) -> bytes:
    return chain.dumps(chain.storable([ask.tool, ask.text, ask.input])).encode("utf-8", "backslashreplace")


def _words(row: QuestionRow | None, ask: Ask) -> str:
    """The answer, for the agent to read."""
    if row is None or not row.answers:
        return f"{ask.why}; nobody will answer any more"
    last = row.answers[-1]
    because = f": {last['reason']}" if last["reason"] else ""
    if last["by"] == transition.questions.TIMEOUT:
        because = ": nobody answered in time"
    return f"{'allowed' if row.answer == questions.YES else 'refused'} by {last['by']}{because}"
