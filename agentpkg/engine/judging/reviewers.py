"""Which agent reviews a package now, and what its reviews have used and met.

What a reviewer's model provider refuses is a note in the ledger that says until when its agent rests, so that every
package, and every session of that agent, knows of it, and a run that was killed has forgotten nothing.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from agentpkg.checks.base import one_line
from agentpkg.config import AgentSettings, agent_named, fallbacks
from agentpkg.core import retrying
from agentpkg.core.chain import rfc3339
from agentpkg.core.errors import Lacking
from agentpkg.core.model import FailureClass
from agentpkg.core.records import Entry, PackageRow
from agentpkg.engine import retries, transition
from agentpkg.engine.asking import budgets
from agentpkg.engine.project import Project
from agentpkg.harnesses import harness_named
from agentpkg.sessions.runner import Ended

#: what the error is called that is over by itself; its details say ``until`` when it is not
RESTS = "provider_rests"


def line(project: Project, row: PackageRow) -> tuple[list[AgentSettings], str]:
    """The configured reviewer and its fallbacks: those that can be started and did not write what they are to judge.

    Returns:
        Them in their order, and why the last of the others is not among them.
    """
    settings = project.settings
    name = str(settings.review.agent.name)
    authors = {session.agent for session in project.ledger.sessions(row.feature, row.wp) if session.commits}
    barred = set() if settings.review.agent.allow_author else authors
    found, why = [], "it wrote what is to be judged (`review.agent.allow_author` would let it)"
    for one in fallbacks(settings, name):
        agent = agent_named(settings, one)
        problem = harness_named(agent.harness).problem(agent, str(project.work_tree)) if one not in barred else None
        if one not in barred and problem is None:
            found.append(agent)
        why = problem or why
    return found, why


def choose(project: Project, row: PackageRow, refused: Mapping[str, str], insist: bool) -> AgentSettings:
    """The first in line whose provider serves.

    Args:
        refused: who has been asked already for this verdict, and until when its provider refuses.
        insist: ask also whose provider has said before that it serves again later.

    Raises:
        Lacking: there is none, for good or (``RESTS``) for some time.
    """
    able, why = line(project, row)
    if not able:
        raise Lacking(
            f"no agent can review {row.wp}: {project.settings.review.agent.name}: {why}",
            "name another one in review.agent.name, or a `fallback` of it", code="no_reviewer",
        )  # fmt: skip
    ledger = project.ledger
    known = retries.parked(project, ledger.sessions(row.feature), ledger.noted(row.feature, budgets.REVIEWED))
    closed = {**({} if insist else known), **refused}
    serves = [agent for agent in able if agent.name not in closed]
    if serves:
        return serves[0]
    first = min(able, key=lambda agent: closed[agent.name])
    raise _rests(row, first.name, closed[first.name])


def _rests(row: PackageRow, agent: str, until: str) -> Lacking:
    shown = f"{until[:19].replace('T', ' ')} UTC"
    return Lacking(
        f"the model provider of the reviewer {agent} refuses to serve; it is asked again after {shown}",
        f"`agentpkg run` waits for that; `agentpkg review {row.feature} {row.wp}` asks at once; or name a `fallback` "
        f"of {agent}", code=RESTS, details={"agent": agent, "until": until},
    )  # fmt: skip


def remember(project: Project, row: PackageRow, agent: AgentSettings, candidate: str, ended: Ended) -> str | None:
    """Records what a review has used, which belongs to the package's spending.

    Returns:
        Until when its agent rests, where the model's provider has refused; RFC 3339.
    """
    said: dict[str, Any] = {"agent": agent.name, "candidate": candidate, "usage": dict(ended.end.usage)}
    until = _until(project, row, agent, ended) if _refused(agent, ended) else None
    if until is not None:
        said |= {"refused": one_line(ended.end.text or "the provider refused", 300), "until": until}
    with project.ledger.write() as tx:
        transition.note(tx, row.feature, budgets.REVIEWED, transition.REVIEWER, said, wp=row.wp)
    project.poke()
    return until


def _refused(agent: AgentSettings, ended: Ended) -> bool:
    if ended.stop is not None:
        return False
    told = bool(ended.end.error) and ended.end.fault == "provider"
    return told or ended.exit_code in agent.provider_exit_codes


def _until(project: Project, row: PackageRow, agent: AgentSettings, ended: Ended) -> str:
    """When the provider says that it serves again, and no sooner than after a rest that grows with every refusal."""
    before = project.ledger.noted(row.feature, budgets.REVIEWED)
    count = _in_a_row([entry for entry in before if entry.metadata.get("agent") == agent.name])
    chance = retrying.chance_of(f"{row.session} {agent.name} {count}")
    rest = retrying.wait(project.settings.run.backoff, count + 1, FailureClass.PROVIDER, chance)
    return rfc3339(datetime.now(UTC) + timedelta(seconds=max(rest, ended.end.retry_after or 0)))


def _in_a_row(entries: list[Entry]) -> int:
    """How many of the newest entries are refusals."""
    count = 0
    for entry in reversed(entries):
        if "until" not in entry.metadata:
            break
        count += 1
    return count
