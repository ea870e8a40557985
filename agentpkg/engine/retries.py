"""Who tries a failed package again, and after how long a rest: the rules of :mod:`agentpkg.core.retrying` on facts.

What has failed is read from the ledger each time, so that a run, ``implement`` and ``status`` say the same, and a run
that is killed has forgotten nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from agentpkg.config import effective, fallbacks
from agentpkg.core import retrying
from agentpkg.core.chain import rfc3339
from agentpkg.core.model import FailureClass, Feature, State
from agentpkg.core.records import Entry, PackageRow, SessionRow
from agentpkg.core.retrying import Try
from agentpkg.engine.asking import budgets
from agentpkg.engine.project import Project
from agentpkg.ledger.reading import Reader
from agentpkg.sessions import fulldisk

if TYPE_CHECKING:
    from agentpkg.sessions.judge import Facts

#: bytes that make a difference on a disk that was full
_MORE = 16 << 20


@dataclass(frozen=True, slots=True)
class Again:
    """One further try.

    Attributes:
        agent: who makes it.
        rest: seconds between the end of the last session and this try.
        session: the last session.
        ended_at: its end; RFC 3339, None when no session of the package has ended.
    """

    agent: str | None
    rest: float = 0.0
    session: str = ""
    ended_at: str | None = None


def again(
    project: Project, feature: Feature, row: PackageRow, agent: str | None = None, ledger: Reader | None = None,
    closed: Mapping[str, str] | None = None,
) -> Again | None:  # fmt: skip
    """How a package is tried again after all that has failed; None when the retries of all its agents are used up.

    Args:
        agent: overrides the package's own agent.
        ledger: where to look; the project's by default.
        closed: what :func:`parked` gives, where that is known already.
    """
    line = agents(project, feature, row.wp, agent)
    look = ledger or project.ledger
    if closed is None:
        closed = parked(project, look.sessions(feature.id), look.noted(feature.id, budgets.REVIEWED))
    ended = [s for s in look.sessions(feature.id, row.wp) if s.ended_at is not None]
    if not ended or not line:
        return _first_try(line, closed, agent)
    tries = retrying.since_planned([Try(s.agent, s.reason_class) for s in ended], row.failures)
    chosen = retrying.next_agent(line, tries, closed)
    if chosen is None:
        return None
    rest = _rest(project, tries, chosen, ended[-1]) if row.state is State.BLOCKED else 0.0
    last = ended[-1]
    return Again(chosen, max(rest, _until(closed.get(chosen), last.ended_at)), last.id, last.ended_at)


def _first_try(line: Mapping[str, int], closed: Mapping[str, str], agent: str | None) -> Again:
    """Who begins a package: the first in line whose provider serves, else its own agent once that does."""
    first = next(iter(line), None)
    if first is None or first not in closed:
        return Again(agent)
    able = next((name for name in line if name not in closed), None)
    if able is not None:
        return Again(able)
    now = rfc3339(datetime.now(UTC))
    return Again(first, _until(closed[first], now), f"{first} {closed[first]}", now)


def _until(moment: str | None, since: str | None) -> float:
    """Seconds from one moment to another, 0 where there is none."""
    if moment is None or since is None:
        return 0.0
    return max(0.0, (datetime.fromisoformat(moment) - datetime.fromisoformat(since)).total_seconds())


def agents(project: Project, feature: Feature, wp: str, agent: str | None = None) -> Mapping[str, int]:
    """The package's agent and its fallbacks in order, with the retries that each has for this package.

    Args:
        agent: overrides the package's own.
    """
    package = feature.packages.get(wp)
    first = agent or effective(project.loaded, feature, package).agent
    if first is None:
        return {}
    line = fallbacks(project.settings, first)
    return {name: effective(project.loaded, feature, replace(package, agent=name) if package else None).retries
            for name in line}  # fmt: skip


def parked(project: Project, sessions: Iterable[SessionRow], reviews: Iterable[Entry] = ()) -> dict[str, str]:
    """Agents whose provider has said that it serves again later, and when that is; RFC 3339.

    Args:
        sessions: in their order; an agent that did anything since is parked no more.
        reviews: what reviews by agents have met, likewise.
    """
    worked = {row.agent: row for row in sessions if row.ended_at and row.reason_class is not FailureClass.CANCELLED}
    reviewed = {str(entry.metadata.get("agent")): entry for entry in reviews}
    now = rfc3339(datetime.now(UTC))
    opens = {agent: _opens(project, worked.get(agent), reviewed.get(agent)) for agent in {*worked, *reviewed}}
    return {agent: until for agent, until in opens.items() if until is not None and until > now}


def _opens(project: Project, session: SessionRow | None, review: Entry | None) -> str | None:
    """When the provider of an agent serves again, by the newer of its last session and its last review."""
    if review is not None and (session is None or review.timestamp > str(session.ended_at)):
        until = review.metadata.get("until")
        return None if until is None else str(until)
    if session is None or session.reason_class is not FailureClass.PROVIDER:
        return None
    told = _told(project, session)
    return _later(str(session.ended_at), told) if told else None


def _later(moment: str, seconds: float) -> str:
    return rfc3339(datetime.fromisoformat(moment) + timedelta(seconds=seconds))


def _rest(project: Project, tries: list[Try], chosen: str, last: SessionRow) -> float:
    """Another agent begins at once, unless it is the machine that failed; so does who was interrupted."""
    cause = last.reason_class
    if cause is None or not (cause.counted or cause.shared):
        return 0.0
    if chosen != last.agent and cause is not FailureClass.ENVIRONMENT:
        return 0.0
    policy = project.settings.run.backoff
    rest = retrying.wait(policy, retrying.in_a_row(tries), cause, retrying.chance_of(last.id))
    return max(rest, _told(project, last)) if cause is FailureClass.PROVIDER else rest


def _told(project: Project, last: SessionRow) -> float:
    """Seconds after which the provider said that it serves again, as the session's folder has it; 0 when it did not."""
    facts = _facts(project, last.id)
    return float(facts.end.retry_after or 0) if facts is not None else 0.0


def full_disk(project: Project, session: str) -> str | None:
    """The folder whose disk was full under a session and has not got much more room since; None: there is none.

    A further try would fail in the same way, and so would those after it.
    """
    facts = _facts(project, session)
    if facts is None or facts.full is None:
        return None
    now = fulldisk.room(facts.full.folder)
    enough = min(fulldisk.LITTLE, facts.full.room + _MORE)
    return facts.full.folder if now is not None and now < enough else None


def _facts(project: Project, session: str) -> "Facts | None":
    from agentpkg.engine.supervising.conclude import (
        facts_of,  # all that ends a session comes with it; most looks need none of it
    )

    try:
        return facts_of(project.state / "sessions" / session)
    except (OSError, ValueError, TypeError):
        return None
