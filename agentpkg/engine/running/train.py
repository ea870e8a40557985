"""The merge train of a run: candidates stacked on each other, judged side by side before their turn has come.

Each car is a package that waits for review, with the candidate that would land if all before it had. Only the checks
run ahead. What they found is recorded, and the package lands, when what it stands on *is* the target, through the same
review and the same landing as without a train: a verdict on anything else is forgotten. So a run that is killed loses
nothing but the time of some checks, and no package is ever judged by what is not the target.

A car whose checks fail leaves: those behind it are made anew without it, at once. Whether it really fails is known when
all before it have landed; should one of these fail as well, it gets another chance.
"""

import threading
from collections import Counter
from collections.abc import Callable, Container, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from agentpkg.core.errors import AgentpkgError
from agentpkg.core.model import Verdict
from agentpkg.core.records import PackageRow, ReviewRow
from agentpkg.engine import review
from agentpkg.engine.project import Project
from agentpkg.engine.review import Draft, Made


@dataclass
class Car:
    """One package in the train.

    Attributes:
        project: the repository with the settings that it is judged by.
        draft: its candidate, or that there can be none, on ``draft.blank.base``.
        found: what its checks find, once they have.
    """

    project: Project
    draft: Draft
    found: "Future[Made]"
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def wp(self) -> str:
        """Its package."""
        return self.draft.row.wp

    @property
    def done(self) -> bool:
        """Its verdict, or why there is none, is known."""
        return self.found.done()

    @property
    def carries(self) -> str | None:
        """The commit that the next car stands on; None where that stands on what this one does."""
        if self.draft.candidate is None or not self.draft.stacks:
            return None
        if not self.found.done():
            return self.draft.candidate
        if self.found.cancelled() or self.found.exception() is not None:
            return None
        verdict, needs = self.found.result()[0].verdict, self.found.result()[0].needs
        return self.draft.candidate if verdict is Verdict.APPROVED and not needs else None

    @property
    def state(self) -> str:
        """``checking``, ``passed`` or ``failed``."""
        if not self.found.done():
            return "checking"
        if self.found.cancelled() or self.found.exception() is not None:
            return "failed"
        return "passed" if self.found.result()[0].verdict is Verdict.APPROVED else "failed"

    def stands(self, row: PackageRow, base: str, tip: str | None) -> bool:
        """It is still about this session's branch tip, on this base."""
        blank = self.draft.blank
        return (self.draft.row.session, blank.base, blank.head) == (row.session, base, tip)

    def drop(self) -> None:
        """Ends its checks; nobody wants to know any more."""
        self.stop.set()
        self.found.cancel()


#: how often in a row others may be faster before a car is judged while nobody else lands
_MISSES = 3

#: gives the tip of a package's branch
Tip = Callable[[PackageRow], str | None]


class Train:
    """The cars, in the order in which they land.

    Args:
        wake: called when the checks of a car have ended.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._pool: ThreadPoolExecutor | None = None
        self._size = 0
        #: where the first car stands whose turn has not come
        self._front = ""
        self.cars: list[Car] = []
        self._missed: Counter[str] = Counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._pool is not None:
            self._pool.shutdown()

    def __contains__(self, wp: object) -> bool:
        return any(car.wp == wp for car in self.cars)

    def stop(self) -> None:
        """Drops all cars."""
        for car in self.cars:
            car.drop()
        self.cars = []

    def make(
        self, project: Project, target: str, rows: Sequence[PackageRow], landing: Container[str], tip: Tip
    ) -> list[tuple[PackageRow, AgentpkgError]]:  # fmt: skip
        """Makes the train anew: who stands where, keeping each car that still stands on what it stood on.

        Args:
            target: the target's tip.
            rows: the packages in the order in which they land; as many as the train may have find a place.
            landing: the packages whose turn has come: they are at the front, and stay as they are.
            tip: the tip of a package's branch.

        Returns:
            The packages that cannot be judged, and why.
        """
        cars = [car for car in self.cars if car.wp in landing]
        self._front = base = _end(cars, target)
        troubles = []
        for row in rows[: 2 * project.settings.merge.parallel]:
            try:
                car = self._car(project, row, base, tip(row))
            except AgentpkgError as error:
                troubles.append((row, error))
                continue
            cars.append(car)
            base = car.carries or base
        self._drop_all_but(cars)
        self.cars = cars
        return troubles

    def ready(self, landing: Container[str]) -> list[Car]:
        """Those behind ``landing`` whose turn comes next: what they stand on is the target, or will be by then."""
        found, base = [], self._front
        for car in self.cars:
            if car.wp in landing:
                continue
            if not car.done or car.draft.blank.base != base:
                break
            found.append(car)
            base = car.carries or base
        return found

    def forget(self, wp: str) -> None:
        """Has a package judged anew: what kept its checks from a verdict may be over."""
        for car in self.cars:
            if car.wp == wp:
                car.drop()
        self.cars = [car for car in self.cars if car.wp != wp]

    def overtaken(self, wp: str) -> bool:
        """Counts that a car came to a target that was elsewhere; True when that has happened too often."""
        self._missed[wp] += 1
        return self._missed[wp] % _MISSES == 0

    def told(self, landing: Container[str]) -> list[dict[str, Any]]:
        """How far each car is, as ``queue`` shows it."""
        carried = {car.draft.candidate: car.wp for car in self.cars if car.draft.candidate}
        return [
            {
                "wp": car.wp, "state": "landing" if car.wp in landing else car.state, "base": car.draft.blank.base,
                "candidate": car.draft.candidate, "behind": carried.get(car.draft.blank.base),
            }
            for car in self.cars
        ]  # fmt: skip

    def take(self, blank: ReviewRow) -> Made | None:
        """What the checks of exactly this review have found already; None when they were not run ahead.

        A conflict is looked at again: now whom it is with has landed.

        Raises:
            AgentpkgError: they gave no verdict.
        """
        for car in self.cars:
            known = car.done and not car.found.cancelled() and car.draft.candidate is not None
            if known and review.same(car.draft.blank, blank):
                return car.found.result()
        return None

    def _car(self, project: Project, row: PackageRow, base: str, tip: str | None) -> Car:
        old = next((car for car in self.cars if car.wp == row.wp), None)
        if old is not None and old.project is project and old.stands(row, base, tip):
            return old
        draft = review.draft(project, row, base)
        stop = threading.Event()
        found = self._workers(project.settings.merge.parallel).submit(review.judge, project, draft, stop.is_set)
        found.add_done_callback(lambda _: self._wake())
        return Car(project, draft, found, stop)

    def _drop_all_but(self, cars: Sequence[Car]) -> None:
        for old in self.cars:
            if not any(old is car for car in cars):
                old.drop()

    def _workers(self, size: int) -> ThreadPoolExecutor:
        if self._pool is None or self._size != size:
            if self._pool is not None:
                self._pool.shutdown(wait=False)
            self._pool, self._size = ThreadPoolExecutor(size, "train"), size
        return self._pool


def _end(landing: Sequence[Car], target: str) -> str:
    """What the target will be at when those have landed whose turn has come; where it is now if it has left them."""
    if not landing:
        return target
    steps = [landing[0].draft.blank.base]
    for car in landing:
        steps.append(car.carries or steps[-1])
    return steps[-1] if target in steps else target
