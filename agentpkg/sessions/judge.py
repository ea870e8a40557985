"""How a session ended, judged by facts; pure.

An exit code of 0 alone proves nothing, and neither does what an agent claims: what counts is, in this order, what its
stream said last, the commits that were admitted, the state of the worktree, denials, and the exit code.
"""

import signal
from dataclasses import dataclass, field
from typing import NamedTuple

from agentpkg.core.model import FailureClass, Outcome
from agentpkg.harnesses.base import StreamEnd
from agentpkg.sessions.fulldisk import Full

#: reasons to stop that come from a person
_PERSON = ("cancelled", "interrupted")

#: whose an error was, as the reason's stable word
_ERRORS = {"agent": "agent_error", "provider": "provider", "environment": "environment", "budget": "budget"}

#: reasons to stop that mean that it took too long
_TIME = ("timeout", "silence")


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known when all of a session is dead and its commits were looked at.

    Attributes:
        stop: why it had to stop: ``cancelled``, ``interrupted``, ``timeout``, ``silence``, a limit's reason, or None.
        said: what was used and what is allowed, where a limit stopped it.
        end: what its own stream said.
        exit_code: a signal's number, negative; None when there is none.
        killed: agentpkg killed it.
        admitted: commits that were admitted in this session.
        refused: the finding for which admission refused its commits, else None.
        carried: commits on the branch beyond the target from earlier sessions that the environment ended, else 0.
        uncommitted: paths with changes that were not committed.
        astray: where commits are that are not on the package's branch, in words; None: there are none.
        trouble: what kept the session from running at all (set-up, program, machine), else None.
        full: the disk that was full under the agent, else None.
        unread: it was the machine, not what the agent made, that kept its commits from being looked at.
    """

    stop: str | None = None
    said: str = ""
    end: StreamEnd = field(default_factory=StreamEnd)
    exit_code: int | None = 0
    killed: bool = False
    admitted: int = 0
    refused: str | None = None
    carried: int = 0
    uncommitted: int = 0
    astray: str | None = None
    trouble: str | None = None
    full: Full | None = None
    unread: bool = False


class Judgement(NamedTuple):
    """An outcome, why (a stable word; None when completed), whose fault, and the words for people."""

    outcome: Outcome
    reason: str | None
    failure: FailureClass | None
    detail: str


def judge(facts: Facts) -> Judgement:
    """The outcome that the facts allow."""
    found = (
        _stopped_by_person(facts)
        or _troubled(facts)
        or _refused(facts)
        or _stopped_by_limit(facts)
        or _said_error(facts)
        or _ended_badly(facts)
        or _without_commits(facts)
        or Judgement(Outcome.COMPLETED, None, None, facts.end.text)
    )
    return _for_want_of_room(found, facts.full) or found


def _for_want_of_room(found: Judgement, full: Full | None) -> Judgement | None:
    """An error of an agent whose disk was full is the machine's; what it did wrong otherwise stays its own."""
    if full is None or found.reason not in ("agent_error", "exit_code", "no_commits"):
        return None
    said = f"the disk was full ({full.room >> 10} KiB are free at {full.folder}): {found.detail}"
    return Judgement(Outcome.FAILED, "environment", FailureClass.ENVIRONMENT, said)


def _stopped_by_person(facts: Facts) -> Judgement | None:
    if facts.stop not in _PERSON:
        return None
    return Judgement(Outcome.CANCELLED, facts.stop, FailureClass.CANCELLED, f"{facts.stop} by a person")


def _troubled(facts: Facts) -> Judgement | None:
    if facts.trouble is None:
        return None
    return Judgement(Outcome.FAILED, "environment", FailureClass.ENVIRONMENT, facts.trouble)


def _refused(facts: Facts) -> Judgement | None:
    if facts.refused is None:
        return None
    if facts.unread:
        return Judgement(Outcome.FAILED, "environment", FailureClass.ENVIRONMENT, facts.refused)
    return Judgement(Outcome.FAILED, "import_refused", FailureClass.AGENT, facts.refused)


def _stopped_by_limit(facts: Facts) -> Judgement | None:
    if facts.stop is None or (facts.stop == "budget" and facts.end.error is False):
        # what it had finished when the budget was used up is finished
        return None
    if facts.stop in _TIME:
        return Judgement(Outcome.TIMEOUT, facts.stop, FailureClass.TIMEOUT, facts.said or "it took too long")
    cause = FailureClass.BUDGET if facts.stop == "budget" else FailureClass.LIMIT
    return Judgement(Outcome.FAILED, facts.stop, cause, facts.said or "it exceeded its limit")


def _said_error(facts: Facts) -> Judgement | None:
    if facts.end.error is not True:
        return None
    if _killed_from_outside(facts):
        return _killed()
    code = f"exit code {facts.exit_code}" if facts.exit_code else ""
    detail = ": ".join(part for part in (code, facts.end.text) if part)
    fault = facts.end.fault
    return Judgement(Outcome.FAILED, _ERRORS[fault], FailureClass(fault), detail or "it reported an error")


def _ended_badly(facts: Facts) -> Judgement | None:
    """A stream that says it went well outweighs an exit code; one that says nothing does not."""
    if facts.end.error is False or facts.exit_code == 0:
        return None
    if _killed_from_outside(facts):
        return _killed()
    said = "it could not be ended" if facts.exit_code is None else f"exit code {facts.exit_code}"
    return Judgement(Outcome.FAILED, "exit_code", FailureClass.AGENT, f"{said}, and nothing said about the end")


def _killed_from_outside(facts: Facts) -> bool:
    return facts.exit_code == -signal.SIGKILL and not facts.killed


def _killed() -> Judgement:
    said = "it was killed from outside, as by a system short of memory"
    return Judgement(Outcome.FAILED, "killed", FailureClass.ENVIRONMENT, said)


def _without_commits(facts: Facts) -> Judgement | None:
    if facts.admitted + facts.carried > 0:
        return None
    parts = ["it ended without a commit"]
    if facts.astray is not None:
        parts = [f"it ended {facts.astray}, and without a commit on the package's branch: only what is there counts"]
    if facts.uncommitted:
        parts.append(f"{_were(facts.uncommitted, 'changed path')} left uncommitted")
    if facts.end.denials:
        parts.append(f"{_were(len(facts.end.denials), 'call')} denied, the last: {facts.end.denials[-1]}")
    return Judgement(Outcome.FAILED, "no_commits", FailureClass.AGENT, "; ".join(parts))


def _were(count: int, what: str) -> str:
    return f"1 {what} was" if count == 1 else f"{count} {what}s were"
