"""The loop of a run: look at the ledger, start what may start, hand on what waits, sleep until something happens.

Each step is bounded, and what may happen next is always read from the ledger. A run that is killed loses nothing, and
one that starts later goes on where the ledger stands. Sessions belong to their supervisors; reviews and landings go
through one lane, because each is judged on the target that the one before it made.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from agentpkg.core.errors import AgentpkgError
from agentpkg.core.model import Feature, State
from agentpkg.core.records import EventRow, PackageRow, SessionRow
from agentpkg.engine.dispatching import gatekeeping
from agentpkg.engine.project import Project
from agentpkg.engine.running import ending, gating, holding, landing, owner, persisting, starting, steering
from agentpkg.engine.running.lane import Lane
from agentpkg.engine.running.owner import Owner
from agentpkg.engine.running.scene import Scene
from agentpkg.engine.running.starting import Starts
from agentpkg.engine.running.train import Train
from agentpkg.engine.running.values import Finished, Options, Stop
from agentpkg.engine.running.waiting import Patience
from agentpkg.engine.supervising import fulldisk
from agentpkg.engine.upkeep import recovery

#: seconds between two looks at the ledger while nothing wakes the run
LOOK = 0.5

#: seconds between two tries of what a full disk stops, at most
_LONGEST = 30.0


class Run:
    """One run of one feature.

    Args:
        project: the repository.
        feature: read without problems.
        options: what the command line said.
        tell: gets every event of the feature as it is recorded.
        stop: how a person ends it early.
        warn: gets what a person should know and no event says.
    """

    def __init__(
        self, project: Project, feature: Feature, options: Options, tell: Callable[[EventRow], None], stop: Stop,
        warn: Callable[[str], None] = lambda text: None,
    ) -> None:  # fmt: skip
        self._tell, self._warn = tell, warn
        #: what of it is full, whether that was said, and the pause before the next try
        self._full: str | None = None
        self._warned, self._pause = False, 0.0
        self._seen = 0
        lane, checks = Lane(stop.wake.set), Lane(stop.wake.set)
        self._scene = Scene(project, feature, options, stop, lane, Patience(), checks, Train(stop.wake.set), warn=warn)

    def to_the_end(self) -> Finished:
        """Runs until the feature is done, nothing can move, or a person stops it.

        Raises:
            Busy: another run works on this feature.
            BadInput: an agent or a secret that the packages need is missing.
        """
        scene = self._scene
        options = scene.options
        running = owner.running(scene.project, scene.feature.id, options.jobs, options.detached)
        with running as me, scene.train, scene.lane, scene.checks:
            self._seen = scene.project.ledger.last_rowid()
            gating.look(scene)
            starting.preflight(scene)
            scene.project.ensure_registered(scene.feature)
            gatekeeping.ensure_tags(scene.project, scene.feature.id, scene.warn)
            with self._woken():
                while (pause := self._step(me)) is not None:
                    scene.stop.wake.wait(pause)
                    scene.stop.wake.clear()
            self._tell_new()
            return Finished(scene.feature.id, tuple(ending.stuck(scene)), scene.stop.presses > 0)

    def _step(self, me: Owner) -> float | None:
        """As :meth:`_tick`; a full disk holds the run until there is room, or a person stops it."""
        self._full = None
        try:
            pause = self._tick(me)
        except (AgentpkgError, OSError) as error:
            if self._scene.stop.presses or not fulldisk.is_full(error, self._scene.project.state):
                raise
            shown = error if isinstance(error, AgentpkgError) else fulldisk.shown(error)
            self._full = shown.message
            # what is tried again may cost much, such as the copies of a review
            self._pause = pause = min(2 * self._pause, _LONGEST) if self._pause else fulldisk.PAUSE
        else:
            self._pause = 0.0
        self._warn_once()
        return pause

    def _warn_once(self) -> None:
        """Says that the disk is full when it has become so."""
        if self._full and not self._warned:
            self._warn(f"{self._full}; the run goes on when there is room")
        self._warned = bool(self._full)

    def _tick(self, me: Owner) -> float | None:
        """One bounded step; gives the seconds until the next look, None when there is nothing left to wait for."""
        scene, stop = self._scene, self._scene.stop
        recovery.reconcile(scene.project)
        self._tell_new()
        self._obey(me)
        scene.follow_files()
        scene.refusals.new_step()
        landing.collect(scene)
        gating.look(scene)
        rows = self._rows()
        if stop.presses >= 2:
            scene.train.stop()
            scene.lane.stop()
            scene.checks.stop()
            ending.stop_sessions(scene, rows)
        idle = scene.trouble or scene.paused
        starts = Starts() if stop.presses or idle else starting.start(scene, rows)
        if starts.full:
            self._full = f"the disk of {starts.full} is full"
        reviews = None if stop.presses or idle else landing.put_off(scene, rows)
        queued = 0 if stop.presses >= 2 or idle else landing.queue(scene, rows)
        checking = gating.step(scene) if not (stop.presses or idle) else bool(scene.checks)
        running = any(row.state is State.DOING for row in rows)
        # a paused run waits to be resumed, whatever is left to do
        held = stop.presses == 0 and (bool(scene.refusals.held) or (scene.paused and _unfinished(rows)))
        later = min((rest for rest in (starts.later, reviews) if rest is not None), default=None)
        if running or starts.started or queued or scene.lane or checking or held or later is not None:
            return LOOK if later is None else min(LOOK, later)
        return 0.0 if not (stop.presses or idle) and persisting.next_round(scene, rows) else None

    def _obey(self, me: Owner) -> None:
        """Takes note of what people have asked of this run in the ledger."""
        scene = self._scene
        scene.paused = steering.paused(scene.project.ledger, me.feature) is not None
        while scene.stop.presses < steering.presses(scene.project.ledger, me):
            scene.stop.press()

    def _rows(self) -> list[PackageRow]:
        scene = self._scene
        rows = scene.rows()
        scene.refusals.held.keep(
            {row.wp for row in rows if row.state not in (State.DOING, State.DONE, State.CANCELLED)}
        )
        return rows

    # ----------------------------------------------------------------- events

    def _tell_new(self) -> None:
        for event in self._scene.project.ledger.events(self._seen):
            self._seen = event.rowid
            if self._mine(event):
                self._tell(event)

    def _mine(self, event: EventRow) -> bool:
        parts = event.subject.split(".")
        if parts[0] == "feature":
            return parts[1] == self._scene.feature.id
        session: SessionRow | None = self._scene.project.ledger.session(parts[2])
        if session is None or session.feature != self._scene.feature.id:
            return False
        if parts[3] == "completed":
            holding.heard(self._scene, session)
        return True

    @contextmanager
    def _woken(self) -> Iterator[None]:
        """Events of the feature wake the loop while the block runs; without a server it looks twice a second."""
        scene = self._scene
        wakeups = scene.project.wakeups(scene.feature.id, scene.stop.wake.set)
        try:
            yield
        finally:
            wakeups.stop()


def _unfinished(rows: list[PackageRow]) -> bool:
    return any(row.state not in (State.DONE, State.CANCELLED) for row in rows)
