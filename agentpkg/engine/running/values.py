"""What a run is asked for, how a person ends it early, and how it ended."""

import threading
from dataclasses import dataclass
from typing import Any

from agentpkg.core.model import State


class Stop:
    """How a person ends a run early; every call of :meth:`press` is one Ctrl-C."""

    def __init__(self) -> None:
        self.presses = 0
        self.wake = threading.Event()

    def press(self) -> None:
        """Counts one Ctrl-C: the first stops starting, the second stops the sessions."""
        self.presses += 1
        self.wake.set()


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line said.

    Attributes:
        jobs: sessions at once.
        agent: overrides every package's agent.
        until: only this package and what it needs.
        until_done: what failed is tried again, and failed done checks are mended, until the feature is done.
        max_cycles: how often; as configured when None.
        detached: there is no terminal; only the record of the run says so.
    """

    jobs: int
    agent: str | None = None
    until: str | None = None
    until_done: bool = False
    max_cycles: int | None = None
    detached: bool = False


@dataclass(frozen=True, slots=True)
class Stuck:
    """A package that cannot move, or (``wp`` None) a stage or done check that is not passed, and why."""

    wp: str | None
    state: State | str
    reason: str
    stage: str | None = None

    def as_json(self) -> dict[str, Any]:
        """As the last line of ``run --json`` has it."""
        about = {"stage": self.stage} if self.stage else {}
        return {"wp": self.wp, **about, "state": self.state, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Finished:
    """How a run ended: ``stuck`` is empty when all that was asked for is done."""

    feature: str
    stuck: tuple[Stuck, ...]
    interrupted: bool = False
