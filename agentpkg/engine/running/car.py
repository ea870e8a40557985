"""One car of a run's train: the candidates whose checks run at once, and what has come of that."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from agentpkg.core.model import Verdict
from agentpkg.engine.judging import batching
from agentpkg.engine.judging.review import Draft, Made
from agentpkg.engine.project import Project


@dataclass
class Clock:
    """How long something has taken so far."""

    began: float | None = None
    ended: float | None = None

    @property
    def seconds(self) -> float:
        """None of it before it began."""
        return 0.0 if self.began is None else (self.ended or time.monotonic()) - self.began


@dataclass
class Car:
    """One package in the train, or a batch of them.

    Attributes:
        project: the repository with the settings that it is judged by.
        drafts: candidates, each on the one before; the only one may be that there can be none.
        found: what its checks find, once they have.
        clock: when they began and ended (monotonic).
    """

    project: Project
    drafts: Sequence[Draft]
    found: "Future[Made | batching.Outcome]"
    stop: threading.Event = field(default_factory=threading.Event)
    clock: "Clock" = field(default_factory=lambda: Clock())

    @property
    def wp(self) -> str:
        """Its first package."""
        return self.drafts[0].row.wp

    @property
    def wps(self) -> list[str]:
        """Its packages, in order."""
        return [draft.row.wp for draft in self.drafts]

    @property
    def base(self) -> str:
        """What it stands on."""
        return self.drafts[0].blank.base

    @property
    def done(self) -> bool:
        """Its verdict, or why there is none, is known."""
        return self.found.done()

    @property
    def answer(self) -> "Made | batching.Outcome | None":
        """What its checks have found; None as long as they have not, and where there is no verdict."""
        known = self.found.done() and not self.found.cancelled() and self.found.exception() is None
        return self.found.result() if known else None

    @property
    def carries(self) -> str | None:
        """The commit that the next car stands on; None where that stands on what this one does."""
        last = self.drafts[-1]
        if not last.stacks:
            return None
        if not self.done:
            return last.candidate
        answer = self.answer
        if isinstance(answer, batching.Together):
            return last.candidate
        if not isinstance(answer, tuple):
            return None
        return answer[0].candidate if answer[0].verdict is Verdict.APPROVED and not answer[0].needs else None

    @property
    def state(self) -> str:
        """``checking``, ``passed`` or ``failed``."""
        if not self.done:
            return "checking"
        answer = self.answer
        alone = isinstance(answer, tuple) and answer[0].verdict is Verdict.APPROVED
        return "passed" if alone or isinstance(answer, batching.Together) else "failed"

    def together(self) -> "batching.Together | None":
        """What a batch that has ended has found, if it may land.

        Raises:
            AgentpkgError: there is no verdict.
        """
        found = self.found.result()
        return found if isinstance(found, batching.Together) else None

    def drop(self) -> None:
        """Ends its checks; nobody wants to know any more."""
        self.stop.set()
        self.found.cancel()
