"""The merge train of a run: candidates stacked on each other, judged side by side before their turn has come.

Each car is a package that waits for review, with the candidate that would land if all before it had. Only the checks
run ahead. What they found is recorded, and the package lands, when what it stands on *is* the target, through the same
review and the same landing as without a train: a verdict on anything else is forgotten. So a run that is killed loses
nothing but the time of some checks, and no package is ever judged by what is not the target.

A car whose checks fail leaves: those behind it are made anew without it, at once. Whether it really fails is known when
all before it have landed; should one of these fail as well, it gets another chance.

Where checks are slow, and the configuration wants it, a car is a batch of packages
(:mod:`agentpkg.engine.judging.batching`): one run of the commands at its tip. Of a batch that fails, half is tried,
and so on (:func:`agentpkg.core.queue.batches`); what is left over in the end is judged alone like any other package,
and gets its finding from that.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Container, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

from agentpkg.core.errors import AgentpkgError
from agentpkg.core.queue import Link, batches
from agentpkg.core.records import PackageRow, ReviewRow
from agentpkg.engine.judging import batching, review
from agentpkg.engine.judging.review import Draft, Made
from agentpkg.engine.project import Project
from agentpkg.engine.running.car import Car, Clock

#: how often in a row others may be faster before a car is judged while nobody else lands
_MISSES = 3

#: seconds; waiting for less is no harm
_SHORT = 2.0

#: gives the tip of a package's branch
TipOf = Callable[[PackageRow], str | None]
#: a package, and its branch's tip
Tip = tuple[str, str]


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
        #: whose candidates, in whose repository, are kept as long as they stand on what they stood on
        self._project: Project | None = None
        self._drafts: list[Draft] = []
        #: tips of batches that have failed
        self._red: set[str] = set()
        #: packages that are judged alone, and those of them that fail by themselves
        self._alone: set[Tip] = set()
        self._failing: set[Tip] = set()
        #: slow packages, each with those that are let through before it
        self.passed_by: dict[str, frozenset[str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._pool is not None:
            self._pool.shutdown()

    def __contains__(self, wp: object) -> bool:
        return any(wp in car.wps for car in self.cars)

    def stop(self) -> None:
        """Drops all cars."""
        for car in self.cars:
            car.drop()
        self.cars = []

    def make(
        self, project: Project, target: str, rows: Sequence[PackageRow], landing: Container[str], tip: TipOf,
        batch: int = 1,
    ) -> list[tuple[PackageRow, AgentpkgError]]:  # fmt: skip
        """Makes the train anew: who stands where, keeping each car that still stands on what it stood on.

        Args:
            target: the target's tip.
            rows: the packages in the order in which they land; as many as the train may have find a place.
            landing: the packages whose turn has come: they are at the front, and stay as they are.
            tip: the tip of a package's branch.
            batch: how many may be judged together.

        Returns:
            The packages that cannot be judged, and why.
        """
        self._learn(project)
        cars = [car for car in self.cars if car.wp in landing]
        self._front = _end(cars, target)
        most = 2 * project.settings.merge.parallel * batch
        stack, troubles = self._stack(project, rows[:most], tip)
        drafts = {draft.row.wp: draft for draft, _ in stack}
        for links in batches([self._link(*one) for one in stack], batch, self._red):
            cars.append(self._car(project, [drafts[link.wp] for link in links]))
        self._drop_all_but(cars)
        self.cars, self._drafts = cars, list(drafts.values())
        return troubles

    def _learn(self, project: Project) -> None:
        """Takes note of what batches that did not pass have told; all else is forgotten with other settings."""
        if project is not self._project:
            self._project, self._drafts = project, []
            self._red, self._alone, self._failing = set(), set(), set()
        for car in self.cars:
            answer = car.answer
            if isinstance(answer, batching.Red):
                self._red.add(car.drafts[-1].candidate or "")
            elif isinstance(answer, batching.Apart):
                self._alone |= {_tip(draft) for draft in car.drafts if draft.row.wp in answer.alone}
                self._failing |= {_tip(draft) for draft in car.drafts if draft.row.wp in answer.failing}

    def _stack(
        self, project: Project, rows: Sequence[PackageRow], tip: TipOf
    ) -> tuple[list[tuple[Draft, str | None]], list[tuple[PackageRow, AgentpkgError]]]:
        """A candidate of each package on what those before it carry, with what it carries itself."""
        base, stack, troubles = self._front, list[tuple[Draft, str | None]](), list[tuple[PackageRow, AgentpkgError]]()
        for row in rows:
            try:
                draft = self._draft(project, row, base, tip(row))
            except AgentpkgError as error:
                troubles.append((row, error))
                continue
            stack.append((draft, self._carried(draft)))
            base = stack[-1][1] or base
        return stack, troubles

    def _draft(self, project: Project, row: PackageRow, base: str, tip: str | None) -> Draft:
        """The candidate there is, if it is still about this session's branch tip on this base, or a new one."""
        for old in self._drafts:
            if (old.row.wp, old.row.session, old.blank.base, old.blank.head) == (row.wp, row.session, base, tip):
                return old
        return review.draft(project, row, base)

    def _carried(self, draft: Draft) -> str | None:
        """What the next one stands on, if not on what this one does."""
        car = next((car for car in self.cars if list(car.drafts) == [draft]), None)
        if car is not None and car.done:
            return car.carries
        if self._suspect(draft):
            return None
        return car.carries if car is not None else draft.candidate if draft.stacks else None

    def _suspect(self, draft: Draft) -> bool:
        """It fails by itself, or is all that is left over of a batch that failed."""
        left_over = draft.candidate in self._red and draft.blank.base == self._front
        return left_over or _tip(draft) in self._failing

    def _link(self, draft: Draft, carried: str | None) -> Link:
        # one with a recorded review is not judged any more; the next does not stand on one that carries nothing
        alone = draft.made is None or carried is None or _tip(draft) in self._alone
        return Link(draft.row.wp, draft.candidate, alone)

    def ready(self, landing: Container[str]) -> list[Car]:
        """Those behind ``landing`` whose turn comes next: what they stand on is the target, or will be by then."""
        found, base = [], self._front
        for car in self.cars:
            if car.wp in landing:
                continue
            apart = isinstance(car.answer, batching.Red | batching.Apart)
            if not car.done or car.base != base or apart:
                break
            found.append(car)
            base = car.carries or base
        return found

    def held_up(self, landing: Container[str], times: int) -> tuple[str, list[str]] | None:
        """The first package whose turn has not come, where its checks are that slow, and those that have passed theirs.

        Nobody is passed twice, nor before its checks have run for some seconds.

        Args:
            times: how many times as long as those of the slowest of the others; 0: never.
        """
        left = [car for car in self.cars if car.wp not in landing]
        done = [car for car in left[1:] if car.state == "passed"]
        if not times or not done or len(left[0].drafts) > 1 or left[0].done or left[0].wp in self.passed_by:
            return None
        usual = max(_SHORT, *(car.clock.seconds for car in done))
        return (left[0].wp, [wp for car in done for wp in car.wps]) if left[0].clock.seconds > times * usual else None

    def forget(self, wp: str) -> None:
        """Has a package judged anew: what kept its checks from a verdict may be over."""
        for car in self.cars:
            if wp in car.wps:
                car.drop()
        self.cars = [car for car in self.cars if wp not in car.wps]

    def overtaken(self, wp: str) -> bool:
        """Counts that a car came to a target that was elsewhere; True when that has happened too often."""
        self._missed[wp] += 1
        return self._missed[wp] % _MISSES == 0

    def scattered(self, car: Car) -> None:
        """Counts that a batch came to a target that was elsewhere; after too often its packages go on alone."""
        if self.overtaken(car.wp):
            self._alone |= {_tip(draft) for draft in car.drafts}

    def told(self, landing: Container[str]) -> list[dict[str, Any]]:
        """How far each car is, as ``queue`` shows it."""
        carried = {draft.candidate: draft.row.wp for car in self.cars for draft in car.drafts if draft.candidate}
        return [
            {
                "wp": draft.row.wp, "state": "landing" if car.wp in landing else car.state, "base": draft.blank.base,
                "candidate": draft.candidate, "behind": carried.get(draft.blank.base),
                "batch": car.wps if len(car.wps) > 1 else [],
                "passed_by": sorted(self.passed_by.get(draft.row.wp, ())),
            }
            for car in self.cars
            for draft in car.drafts
        ]  # fmt: skip

    def take(self, blank: ReviewRow) -> Made | None:
        """What the checks of exactly this review have found already; None when they were not run ahead.

        A conflict is looked at again: now whom it is with has landed.

        Raises:
            AgentpkgError: they gave no verdict.
        """
        for car in self.cars:
            known = len(car.drafts) == 1 and car.done and not car.found.cancelled()
            if known and review.same(car.drafts[0].blank, blank):
                found = car.found.result()
                return found if isinstance(found, tuple) and found[0].candidate is not None else None
        return None

    def _car(self, project: Project, drafts: Sequence[Draft]) -> Car:
        old = next((car for car in self.cars if car.project is project and list(car.drafts) == list(drafts)), None)
        if old is not None:
            return old
        stop, clock = threading.Event(), Clock()
        found = self._workers(project.settings.merge.parallel).submit(_judge, project, drafts, stop.is_set, clock)
        found.add_done_callback(lambda _: self._wake())
        return Car(project, drafts, found, stop, clock)

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


def _judge(
    project: Project, drafts: Sequence[Draft], cancelled: review.Cancelled, clock: Clock
) -> "Made | batching.Outcome":
    clock.began = time.monotonic()
    try:
        if len(drafts) == 1:
            return review.judge(project, drafts[0], cancelled)
        return batching.judge(project, drafts, cancelled)
    finally:
        clock.ended = time.monotonic()


def _tip(draft: Draft) -> Tip:
    return draft.row.wp, draft.blank.head


def _end(landing: Sequence[Car], target: str) -> str:
    """What the target will be at when those have landed whose turn has come; where it is now if it has left them."""
    if not landing:
        return target
    steps = [landing[0].base]
    for car in landing:
        steps.append(car.carries or steps[-1])
    return steps[-1] if target in steps else target
