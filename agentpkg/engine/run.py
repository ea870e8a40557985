"""``run``: dispatch every ready package, review and land what finishes, go on with what that unblocks.

The loop takes bounded steps: look at the ledger, start what may start, hand what waits to the landing lane, record,
sleep until something happens. What may happen next is always read from the ledger, so a run that is killed loses
nothing, and a run that starts later goes on where the ledger stands. Sessions belong to their supervisors; reviews
and landings go through one lane, because each is judged on the target that the one before it made.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from agentpkg import files
from agentpkg.core import graph, schedule
from agentpkg.core.errors import AgentpkgError, BadInput, NotAllowed
from agentpkg.core.model import (
    EventRow,
    FailureClass,
    Feature,
    PackageRow,
    SessionRow,
    State,
    Verdict,
)
from agentpkg.engine import control, dispatch, frozen, merging, recovery, review
from agentpkg.engine.lane import Lane
from agentpkg.engine.plan import config_digest
from agentpkg.engine.project import Project
from agentpkg.engine.refusals import Refusals
from agentpkg.engine.transition import REVIEWER

#: seconds between two looks at the ledger while nothing wakes the run
LOOK = 0.5


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
    """

    jobs: int
    agent: str | None = None
    until: str | None = None


@dataclass(frozen=True, slots=True)
class Stuck:
    """A package that cannot move, and why."""

    wp: str
    state: State
    reason: str


@dataclass(frozen=True, slots=True)
class Finished:
    """How a run ended: ``stuck`` is empty when all that was asked for is done."""

    feature: str
    stuck: tuple[Stuck, ...]
    interrupted: bool = False


@dataclass
class _Watch:
    """What this run remembers beside the ledger: only what it may forget when it is killed."""

    #: tries after failures that were nobody's fault, by package
    again: dict[str, int] = field(default_factory=dict)
    refusals: Refusals = field(default_factory=Refusals)
    #: what the files were like when they were last read
    files: object = None
    #: why nothing may start or land: files that cannot be read
    trouble: str | None = None


class Run:
    """One run of one feature.

    Args:
        project: the repository.
        feature: read without problems.
        options: what the command line said.
        tell: gets every event of the feature as it is recorded.
        stop: how a person ends it early.
    """

    def __init__(
        self, project: Project, feature: Feature, options: Options, tell: Callable[[EventRow], None], stop: Stop
    ) -> None:
        self.project = project
        self.feature = feature
        self.options = options
        self.tell = tell
        self.stop = stop
        self._watch = _Watch()
        self._seen = 0
        self._lane = Lane(stop.wake.set)
        self._paths: dict[str, graph.Length] = {}

    # ----------------------------------------------------------------- the loop

    def to_the_end(self) -> Finished:
        """Runs until the feature is done, nothing can move, or a person stops it.

        Raises:
            Busy: another run works on this feature.
            BadInput: an agent or a secret that the packages need is missing.
        """
        lock = self.project.state / "locks" / f"run-{self.feature.id}.lock"
        with files.lock(lock, timeout=0, what=f"a run of {self.feature.id}"), self._lane:
            self._seen = self.project.ledger.last_rowid()
            self._watch.files = self._files()
            self._preflight()
            self.project.ensure_registered(self.feature)
            with self._woken():
                while self._tick():
                    self.stop.wake.wait(LOOK)
                    self.stop.wake.clear()
            self._tell_new()
            return Finished(self.feature.id, tuple(self._stuck()), self.stop.presses > 0)

    def _tick(self) -> bool:
        """One bounded step. False when there is nothing left to wait for."""
        recovery.reconcile(self.project)
        self._tell_new()
        self._follow_files()
        self._watch.refusals.new_step()
        self._collect_lane()
        rows = self._rows()
        running = [row for row in rows if row.state is State.DOING]
        if self.stop.presses >= 2:
            self._lane.stop()
            self._stop_sessions(running)
        started = 0 if self.stop.presses or self._watch.trouble else self._start(rows, len(running))
        queued = 0 if self.stop.presses >= 2 or self._watch.trouble else self._queue(rows)
        held = self.stop.presses == 0 and bool(self._watch.refusals.held)
        return bool(running or started or queued or self._lane or held)

    def _rows(self) -> list[PackageRow]:
        """The packages this run is about: all, also those whose file has vanished, or one and what it needs."""
        rows = self.project.ledger.packages(self.feature.id)
        if self.options.until is not None:
            wanted = self._needed_by(self.options.until)
            rows = [row for row in rows if row.wp in wanted]
        self._watch.refusals.held.keep(
            {row.wp for row in rows if row.state not in (State.DOING, State.DONE, State.CANCELLED)}
        )
        return rows

    def _needed_by(self, until: str) -> set[str]:
        """A package and all that it needs."""
        packages = self.feature.packages
        wanted, left = set(), [until]
        while left:
            wp = left.pop()
            if wp in packages and wp not in wanted:
                wanted.add(wp)
                left += packages[wp].dependencies
        return wanted

    # ----------------------------------------------------------------- the files

    def _files(self) -> object:
        """What tells whether the configuration or the feature's files have changed."""
        return config_digest(self.project.work_tree), files.stamp(self.project.work_tree / self.feature.path)

    def _follow_files(self) -> None:
        """Goes on with what the files say now; while they say nonsense, nothing starts and nothing lands."""
        now = self._files()
        if now == self._watch.files:
            return
        self._watch.files = now
        try:
            project = self.project.reread()
            feature = project.good_feature(self.feature.id)
            project.ensure_registered(feature)
        except BadInput as error:
            self._watch.trouble = error.message
            return
        self._watch.trouble = None
        self.project, self.feature, self._paths = project, feature, {}

    # ----------------------------------------------------------------- starting

    def _preflight(self) -> None:
        """Finds what would stop a package from starting before the first one does."""
        over = {row.wp for row in self._rows() if row.state in (State.DONE, State.CANCELLED)}
        wanted = self._needed_by(self.options.until) if self.options.until else set(self.feature.packages)
        for package in self.feature.packages.values():
            if package.id in wanted - over and package.lane is State.PLANNED:
                dispatch.preflight(self.project, self.feature, package.id, self.options.agent)

    def _start(self, rows: Sequence[PackageRow], running: int) -> int:
        if running >= self.options.jobs:
            return 0
        candidates = [self._candidate(row) for row in rows if self._may_start(row)]
        chosen = schedule.choose(candidates, running, self.options.jobs)
        return sum(self._dispatch(wp) for wp in chosen)

    def _may_start(self, row: PackageRow) -> bool:
        if not self._may_try(row):
            return False
        if row.state is State.PLANNED:
            return not self._open(row)
        if row.state is State.FOR_REVIEW:
            return row.verdict is Verdict.CHANGES_REQUESTED and not self._moved(row)
        return row.state is State.BLOCKED and self._may_retry(row)

    def _may_try(self, row: PackageRow) -> bool:
        """The package has its file, is in nobody's hands, and was not refused as it is."""
        free = (
            row.wp in self.feature.packages and row.wp not in self._lane and self._watch.refusals.held.may_try(row.wp)
        )
        return free and self._watch.refusals.why(self.project, row) is None

    def _may_retry(self, row: PackageRow) -> bool:
        if row.reason_class in (FailureClass.AGENT, FailureClass.TIMEOUT):
            return row.failures <= dispatch.retries(self.project, self.feature, row.wp)
        if row.reason_class in (FailureClass.ENVIRONMENT, FailureClass.CANCELLED):
            limit = dispatch.retries(self.project, self.feature, row.wp)
            return self._watch.again.get(row.wp, 0) < max(1, limit) and self.stop.presses == 0
        return False

    def _candidate(self, row: PackageRow) -> schedule.Candidate:
        if not self._paths:
            needs = {wp: p.dependencies for wp, p in self.feature.packages.items()}
            known = {wp: p.estimate_seconds for wp, p in self.feature.packages.items() if p.estimate_seconds}
            self._paths = graph.remaining_paths(needs, known, ())
        remaining = self._paths.get(row.wp, graph.Length(0, 0))
        return schedule.Candidate(row.wp, self.feature.packages[row.wp].priority, remaining)

    def _dispatch(self, wp: str) -> bool:
        row = self.project.row(self.feature.id, wp)
        if row.state is State.BLOCKED and row.reason_class in (FailureClass.ENVIRONMENT, FailureClass.CANCELLED):
            self._watch.again[wp] = self._watch.again.get(wp, 0) + 1
        try:
            dispatch.start(self.project, self.feature, wp, dispatch.Wish(agent=self.options.agent))
        except AgentpkgError as error:
            self._watch.refusals.refuse(self.project, row, error)
            return False
        return True

    def _open(self, row: PackageRow) -> list[str]:
        if not row.dependencies:
            return []
        with self.project.ledger.snapshot() as look:
            found = {name: look.package(name.rpartition("/")[0] or row.feature, name.rpartition("/")[2])
                     for name in row.dependencies}  # fmt: skip
        return [_named(name, found[name]) for name in found if not _is_done(found[name])]

    # ----------------------------------------------------------------- the landing lane

    def _queue(self, rows: Sequence[PackageRow]) -> int:
        waiting = [row for row in rows if self._may_land(row)]
        waiting.sort(key=lambda row: schedule.order(self._candidate(row)))
        for row in waiting:
            self._lane.submit(row.wp, self._landing(row))
        return len(waiting)

    def _may_land(self, row: PackageRow) -> bool:
        if row.state is not State.FOR_REVIEW or not self._may_try(row):
            return False
        if row.verdict is Verdict.CHANGES_REQUESTED and not self._moved(row):
            return False
        return not (row.verdict is Verdict.APPROVED and self._needs_person(row) and not self._moved(row))

    def _moved(self, row: PackageRow) -> bool:
        """Somebody has moved the package's branch since it was last looked at."""
        return self._watch.refusals.tip(self.project, row) != row.head

    def _needs_person(self, row: PackageRow) -> str | None:
        package = self.feature.packages.get(row.wp)
        if package is None or package.approval == "required":
            return "a person must approve it"
        return None if self.project.settings.merge.auto else "merge.auto is off"

    def _landing(self, row: PackageRow) -> Callable[[], None]:
        """What the lane does with a package, by the settings of this moment: judge it, and land what is approved."""
        project, lane = self.project, self._lane
        person = self._needs_person(row)

        def land() -> None:
            # a verdict there is was asked for by a person, who has accepted the changed configuration with it
            if row.verdict is None and frozen.config_changed(project, row):
                raise NotAllowed(
                    f"the configuration changed while its session ran: `agentpkg review {row.feature} {row.wp}`",
                    f"judge it yourself with `agentpkg review {row.feature} {row.wp}`",
                    code="config_changed",
                )
            if person:
                review.review(project, row.feature, row.wp, lane.stopped)
            else:
                merging.land(project, row.feature, row.wp, REVIEWER, lane.stopped)

        return land

    def _collect_lane(self) -> None:
        for wp, error in self._lane.collect():
            if error is not None:
                self._watch.refusals.refuse(self.project, self.project.row(self.feature.id, wp), error)
            else:
                # the target has moved: what was in the way of others may no longer be
                self._watch.refusals.clear()

    # ----------------------------------------------------------------- ending

    def _stop_sessions(self, running: Sequence[PackageRow]) -> None:
        for row in running:
            if row.session:
                control.interrupt(self.project.state, row.session, self.project.actor)

    def _stuck(self) -> Iterator[Stuck]:
        self._watch.refusals.new_step()
        over = (State.DONE, State.CANCELLED)
        for row in self._rows():
            if row.state not in over:
                yield Stuck(row.wp, row.state, self._why(row))

    def _why(self, row: PackageRow) -> str:
        """Why a package cannot move, in words a person can act on."""
        if row.wp not in self.feature.packages:
            return "its file has vanished"
        refused = self._watch.refusals.why(self.project, row) or self._watch.trouble
        if refused:
            return refused
        if row.state is State.PLANNED:
            still = self._open(row)
            return f"waits for {', '.join(still)}" if still else "not started: the run was stopped"
        if row.state is State.FOR_REVIEW and row.verdict is Verdict.APPROVED:
            why = self._needs_person(row) or "the run was stopped"
            return f"approved; {why}: `agentpkg move {row.feature} {row.wp} --to done`"
        if row.state is State.FOR_REVIEW and row.verdict is None:
            return "not judged: the run was stopped"
        return row.reason or f"it is {row.state}"

    # ----------------------------------------------------------------- events

    def _tell_new(self) -> None:
        for event in self.project.ledger.events(self._seen):
            self._seen = event.rowid
            if self._mine(event):
                self.tell(event)

    def _mine(self, event: EventRow) -> bool:
        parts = event.subject.split(".")
        if parts[0] == "feature":
            return parts[1] == self.feature.id
        session: SessionRow | None = self.project.ledger.session(parts[2])
        return session is not None and session.feature == self.feature.id

    @contextmanager
    def _woken(self) -> Iterator[None]:
        """Events of the feature wake the loop while the block runs; without a server it looks twice a second."""
        wakeups = self.project.wakeups(self.feature.id, self.stop.wake.set)
        try:
            yield
        finally:
            wakeups.stop()


def _is_done(row: PackageRow | None) -> bool:
    return row is not None and row.state is State.DONE


def _named(name: str, row: PackageRow | None) -> str:
    """A dependency, with its state where that will not change by itself."""
    return f"{name}, which is cancelled" if row is not None and row.state is State.CANCELLED else name
