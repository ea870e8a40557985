"""The starting side of a run: which packages may start now, which later, and starting them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from agentpkg.core import schedule
from agentpkg.core.errors import AgentpkgError
from agentpkg.core.model import FailureClass, State
from agentpkg.core.records import PackageRow
from agentpkg.engine import retries
from agentpkg.engine.asking import budgets
from agentpkg.engine.dispatching import dispatch
from agentpkg.engine.running import ordering, persisting
from agentpkg.engine.running.scene import Scene
from agentpkg.engine.supervising import fulldisk


@dataclass(frozen=True, slots=True)
class Starts:
    """What one look has started, and what it left for later.

    Attributes:
        started: how many sessions.
        later: seconds until something else may start by itself; None when nothing will.
        full: a folder on a disk on which packages have failed for want of room, and would again.
    """

    started: int = 0
    later: float | None = None
    full: str | None = None


def preflight(scene: Scene) -> None:
    """Finds what would stop a package from starting before the first one does."""
    over = {row.wp for row in scene.rows() if row.state in (State.DONE, State.CANCELLED)}
    until = scene.options.until
    wanted = scene.needed_by(until) if until else set(scene.feature.packages)
    warnings: dict[str, None] = {}
    for package in scene.feature.packages.values():
        if package.id in wanted - over and package.lane is State.PLANNED:
            found = dispatch.preflight(scene.project, scene.feature, package.id, scene.options.agent)
            warnings |= dict.fromkeys(found)
    for warning in warnings:
        scene.warn(warning)


def start(scene: Scene, rows: Sequence[PackageRow]) -> Starts:
    """Starts what may start in the free slots; while the run is held one session at most, to see whether it is over."""
    running = sum(row.state is State.DOING for row in rows)
    ledger, feature = scene.project.ledger, scene.feature.id
    closed = retries.parked(scene.project, ledger.sessions(feature), ledger.noted(feature, budgets.REVIEWED))
    found = {row.wp: (row, again) for row in rows if (again := may_start(scene, row, closed)) is not None}
    full = _take_out_without_room(scene, found)
    behind = ordering.held(scene, {row.wp: row for row in rows}, found)
    starts = _start(scene, running, {wp: start for wp, start in found.items() if wp not in behind})
    if full is None:
        return starts
    return replace(starts, full=full, later=min(fulldisk.PAUSE, starts.later or fulldisk.PAUSE))


def _take_out_without_room(scene: Scene, found: dict[str, tuple[PackageRow, retries.Again]]) -> str | None:
    """Leaves out what waits for room; gives the folder that has none."""
    without = {wp: full for wp, (row, _) in found.items() if (full := _full(scene, row)) is not None}
    for wp in without:
        del found[wp]
    return next(iter(without.values()), None)


def _full(scene: Scene, row: PackageRow) -> str | None:
    if row.state is not State.BLOCKED or row.reason_class is not FailureClass.ENVIRONMENT or row.session is None:
        return None
    return retries.full_disk(scene.project, row.session)


def _start(scene: Scene, running: int, found: dict[str, tuple[PackageRow, retries.Again]]) -> Starts:
    rests = {wp: scene.patience.rest(again) for wp, (_, again) in found.items()}
    scene.patience.keep({again.session for _, again in found.values()})
    rested = [scene.candidate(row) for wp, (row, _) in found.items() if rests[wp] <= 0]
    later = min((rest for rest in rests.values() if rest > 0), default=None)
    held = scene.patience.hold(scene.project.settings)
    if held is not None:
        return _probe(scene, found, rested, held, later)
    chosen = schedule.choose(rested, running, scene.options.jobs)
    return Starts(sum(_dispatch(scene, *found[wp]) is not None for wp in chosen), later)


def _probe(
    scene: Scene, found: dict[str, tuple[PackageRow, retries.Again]], rested: Sequence[schedule.Candidate],
    held: float, later: float | None,
) -> Starts:  # fmt: skip
    patience = scene.patience
    if patience.given_up(scene.project.settings) or not found:
        return Starts()
    if patience.breaker.probing is not None:
        return Starts(0, None)
    if held > 0 or not rested:
        return Starts(0, max(held, 0.0 if rested else (later or 0.0)))
    chosen = schedule.choose(rested, 0, 1)
    sessions = [session for wp in chosen if (session := _dispatch(scene, *found[wp])) is not None]
    for session in sessions:
        patience.breaker = patience.breaker.probe(session)
    return Starts(len(sessions), later)


def may_start(scene: Scene, row: PackageRow, closed: Mapping[str, str] | None = None) -> retries.Again | None:
    """Who would work on the package next, and after what rest; None when nobody may.

    Args:
        closed: agents whose provider does not serve now, where that is known already.
    """
    if not scene.may_try(row) or not _startable(scene, row):
        return None
    again = retries.again(scene.project, scene.feature, row, scene.options.agent, closed=closed)
    # its own agent first, once more
    return retries.Again(scene.options.agent) if again is None and persisting.granted(scene, row) else again


def _startable(scene: Scene, row: PackageRow) -> bool:
    if row.state is State.PLANNED:
        return not scene.open_dependencies(row) and not scene.progress.waits_for(row.wp)
    if row.state is State.FOR_REVIEW:
        return scene.wants_changes(row)
    return row.state is State.BLOCKED and (_may_retry(scene, row) or persisting.granted(scene, row))


def _may_retry(scene: Scene, row: PackageRow) -> bool:
    cause = row.reason_class
    if cause is None:
        return False
    if cause.shared or cause is FailureClass.CANCELLED:
        return scene.patience.again.get(row.wp, 0) < scene.project.settings.run.environment_retries
    if cause is FailureClass.BUDGET:
        return budgets.over(scene.project, scene.feature, row.wp) is None
    return cause.counted


def _dispatch(scene: Scene, before: PackageRow, again: retries.Again) -> str | None:
    """Starts a session; gives its id, None when that was refused."""
    row = scene.project.row(scene.feature.id, before.wp)
    cause = row.reason_class
    if row.state is State.BLOCKED and cause is not None and not cause.counted:
        scene.patience.again[row.wp] = scene.patience.again.get(row.wp, 0) + 1
    try:
        started = dispatch.start(scene.project, scene.feature, row.wp, dispatch.Wish(agent=again.agent))
    except AgentpkgError as error:
        if fulldisk.is_full(error, scene.project.state):
            raise
        scene.refusals.refuse(scene.project, row, error)
        return None
    return started.session.id
