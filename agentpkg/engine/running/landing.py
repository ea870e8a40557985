"""The landing side of a run: packages that wait for review go through one lane, and land when they are approved."""

from collections.abc import Callable, Sequence

from agentpkg.core import schedule
from agentpkg.core.errors import NotAllowed
from agentpkg.core.model import PackageRow, State, Verdict
from agentpkg.engine import frozen, merging, review
from agentpkg.engine.running.scene import Scene
from agentpkg.engine.transition import REVIEWER


def queue(scene: Scene, rows: Sequence[PackageRow]) -> int:
    """Puts what may be judged or landed into the lane; gives how many."""
    waiting = [row for row in rows if _may_land(scene, row)]
    waiting.sort(key=lambda row: schedule.order(scene.candidate(row)))
    for row in waiting:
        scene.lane.submit(row.wp, _landing(scene, row))
    return len(waiting)


def collect(scene: Scene) -> None:
    """Takes note of what the lane has done since the last call."""
    for wp, error in scene.lane.collect():
        if error is not None:
            scene.refusals.refuse(scene.project, scene.project.row(scene.feature.id, wp), error)
        else:
            # the target has moved: what was in the way of others may no longer be
            scene.refusals.clear()


def needs_person(scene: Scene, row: PackageRow) -> str | None:
    """Why only a person may land the package, None when the run may."""
    package = scene.feature.packages.get(row.wp)
    if package is None or package.approval == "required":
        return "a person must approve it"
    return None if scene.project.settings.merge.auto else "merge.auto is off"


def _may_land(scene: Scene, row: PackageRow) -> bool:
    if row.state is not State.FOR_REVIEW or not scene.may_try(row) or scene.wants_changes(row):
        return False
    return not (row.verdict is Verdict.APPROVED and needs_person(scene, row) and not scene.moved(row))


def _landing(scene: Scene, row: PackageRow) -> Callable[[], None]:
    """What the lane does with a package, by the settings of this moment: judge it, and land what is approved."""
    project, lane = scene.project, scene.lane
    person = needs_person(scene, row)

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
