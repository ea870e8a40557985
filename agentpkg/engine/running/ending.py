"""The end of a run: stopping its sessions, and saying of every package that is not done why it cannot move."""

from collections.abc import Iterator, Sequence

from agentpkg.core.model import State, Verdict
from agentpkg.core.records import PackageRow
from agentpkg.engine.running import gating, landing, starting
from agentpkg.engine.running.scene import Scene
from agentpkg.engine.running.values import Stuck
from agentpkg.engine.supervising import control


def stop_sessions(scene: Scene, rows: Sequence[PackageRow]) -> None:
    """Asks every session that runs to stop for now."""
    for row in rows:
        if row.state is State.DOING and row.session:
            control.interrupt(scene.project.state, row.session, scene.project.actor)


def stuck(scene: Scene) -> Iterator[Stuck]:
    """What is not done, and why."""
    scene.refusals.new_step()
    for row in scene.rows():
        if row.state not in (State.DONE, State.CANCELLED):
            yield Stuck(row.wp, row.state, _why(scene, row))
    gating.look(scene)
    yield from gating.stuck(scene)


def _why(scene: Scene, row: PackageRow) -> str:
    """Why a package cannot move, in words a person can act on."""
    if row.wp not in scene.feature.packages:
        return "its file has vanished"
    refused = scene.refusals.why(scene.project, row) or scene.trouble
    if refused:
        return refused
    if scene.paused and row.state is not State.BLOCKED:
        return f"the run is paused: `agentpkg resume {row.feature}`"
    return _held(scene, row) or _by_state(scene, row)


def _held(scene: Scene, row: PackageRow) -> str | None:
    """What is said of a package that could start, had the run not given up."""
    settings, patience = scene.project.settings, scene.patience
    if not patience.given_up(settings) or starting.may_start(scene, row) is None:
        return None
    last = patience.last
    why = f" ({last.wp}: {last.reason})" if last is not None and last.reason else ""
    fault = last.reason_class if last is not None else "machine"
    return f"the run gave up: {patience.breaker.failures} failures of the {fault} in a row{why}"


def _by_state(scene: Scene, row: PackageRow) -> str:
    if row.state is State.PLANNED:
        still = scene.open_dependencies(row)
        waits = f"waits for {', '.join(still)}" if still else gating.why_waiting(scene, row)
        return waits or "not started: the run was stopped"
    if row.state is State.FOR_REVIEW and row.verdict is Verdict.APPROVED:
        stopped = f"approved; the run was stopped: `agentpkg move {row.feature} {row.wp} --to done`"
        return landing.needs_person(scene, row) or stopped
    if row.state is State.FOR_REVIEW and row.verdict is None:
        return "not judged: the run was stopped"
    return row.reason or f"it is {row.state}"
