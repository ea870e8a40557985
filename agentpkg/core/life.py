"""Whether a session lives, derived from facts at the time of looking; never stored. Pure.

What cannot be known is ``unknown``, and unknown is never read as dead.
"""

from dataclasses import dataclass
from enum import StrEnum

#: seconds without a word after which a session counts as silent
SILENT = 60.0

#: seconds without a sign of its supervisor after which that does not answer
UNANSWERED = 5.0


class LifeState(StrEnum):
    """What a live session is at."""

    #: its worktree is made, or ``worktree.setup`` runs
    STARTING = "starting"
    RUNNING = "running"
    #: its agent has said nothing for a minute
    SILENT = "silent"
    #: its agent asked whether it may do something, and waits
    WAITING = "waiting_for_permission"
    #: it was asked to stop
    STOPPING = "stopping"
    #: the agent has ended; what it made is taken in
    ENDING = "ending"
    #: its supervisor lives, and is stopped or hangs
    NOT_ANSWERING = "not_answering"
    #: its supervisor is dead; the next command that changes state ends the session
    LOST = "lost"
    #: nothing can be said of its supervisor from here
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Facts:
    """What was found out about a live session.

    Attributes:
        alive: the process that owns it runs; None: that cannot be known from here.
        pid: of that process.
        stopped: that process was told to stop (SIGSTOP).
        phase: what its supervisor last said it was at: ``setup``, ``running``, ``ending``; None: nothing so far.
        unanswered: seconds since it said so; None: that cannot be known.
        stopping: why it is being stopped, if it is.
        heard_at: when the last event in its log was (RFC 3339), None: there is none.
        silence: seconds since then.
        asking: the question that its agent waits with, None: it does not wait for anybody.
        asked_at: since when (RFC 3339).
    """

    alive: bool | None
    pid: int | None = None
    stopped: bool = False
    phase: str | None = None
    unanswered: float | None = None
    stopping: str | None = None
    heard_at: str | None = None
    silence: float = 0.0
    asking: str | None = None
    asked_at: str | None = None


@dataclass(frozen=True, slots=True)
class Life:
    """What is shown of a live session.

    Attributes:
        since: since when, where that is known (RFC 3339).
        heard_at: when it was last heard of.
        detail: one line for people; empty when there is nothing to add.
    """

    state: LifeState
    since: str | None = None
    heard_at: str | None = None
    detail: str = ""

    @property
    def well(self) -> bool:
        """Nobody has to look after it."""
        return self.state not in (LifeState.NOT_ANSWERING, LifeState.LOST, LifeState.UNKNOWN)


def derive(facts: Facts) -> Life:
    """What the facts say."""
    state, detail = _state(facts)
    since = {LifeState.SILENT: facts.heard_at, LifeState.WAITING: facts.asked_at}
    return Life(state, since.get(state), facts.heard_at, detail)


def _state(facts: Facts) -> tuple[LifeState, str]:
    process = f"process {facts.pid}" if facts.pid else "its process"
    if facts.alive is None:
        return LifeState.UNKNOWN, f"{process} is on another machine or in another pid namespace, or may not be seen"
    if not facts.alive:
        return LifeState.LOST, f"{process} is dead"
    if facts.stopped:
        return LifeState.NOT_ANSWERING, f"{process} is stopped; `kill -CONT {facts.pid}` lets it go on"
    if facts.phase is None:
        return LifeState.STARTING, ""
    if facts.phase == "ending":
        return LifeState.ENDING, ""
    if facts.unanswered is not None and facts.unanswered > UNANSWERED:
        return LifeState.NOT_ANSWERING, f"{process} gives no sign of life"
    if facts.phase == "setup":
        return LifeState.STARTING, ""
    if facts.stopping:
        return LifeState.STOPPING, facts.stopping
    if facts.asking:
        return LifeState.WAITING, facts.asking
    return (LifeState.SILENT if facts.silence > SILENT else LifeState.RUNNING), ""
