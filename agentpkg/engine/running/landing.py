"""The landing side of a run: packages that wait for review go through one lane, and land when they are approved."""

from collections.abc import Callable, Sequence

from agentpkg.core import schedule
from agentpkg.core.errors import NotAllowed
from agentpkg.core.model import PackageRow, State, Verdict
from agentpkg.engine import approvals, frozen, fulldisk, merging, review
from agentpkg.engine.running import steering
from agentpkg.engine.running.scene import Scene
from agentpkg.engine.transition import REVIEWER


def queue(scene: Scene, rows: Sequence[PackageRow]) -> int:
    """Puts what may be judged or landed into the lane; gives how many."""
    waiting = [row for row in rows if may_land(scene, row)]
    waiting.sort(key=lambda row: schedule.order(scene.candidate(row)))
    for row in waiting:
        scene.lane.submit(row.wp, _landing(scene, row))
    return len(waiting)


def collect(scene: Scene) -> None:
    """Takes note of what the lane has done since the last call.

    Raises:
        AgentpkgError: a full disk stopped some of it, which is to be done again.
    """
    full = None
    for wp, error in scene.lane.collect():
        if error is not None and fulldisk.is_full(error, scene.project.state):
            full = error
        elif error is not None:
            scene.refusals.refuse(scene.project, scene.project.row(scene.feature.id, wp), error)
        else:
            # the target has moved: what was in the way of others may no longer be
            scene.refusals.clear()
    if full is not None:
        raise full


def needs_person(scene: Scene, row: PackageRow, may_ask_anew: bool = False) -> str | None:
    """Why an approved package does not land by itself, and what a person can do; None when the run may land it."""
    if not scene.project.settings.merge.auto:
        return f"approved; merge.auto is off: `agentpkg move {row.feature} {row.wp} --to done`"
    question = approvals.holds_up(scene.project, row, may_ask_anew)
    return None if question is None else f"{approvals.why(question)}: {approvals.hint(question)}"


def may_land(scene: Scene, row: PackageRow) -> bool:
    """The run may judge the package, or land it."""
    if row.state is not State.FOR_REVIEW or not scene.may_try(row) or scene.wants_changes(row):
        return False
    if row.verdict is not Verdict.APPROVED or scene.moved(row):
        return True
    # each landing makes new candidates of those that wait: asked anew once the lane is free
    return needs_person(scene, row, may_ask_anew=not scene.lane) is None


def _landing(scene: Scene, row: PackageRow) -> Callable[[], None]:
    """What the lane does with a package, by the settings of this moment: judge it, and land what is approved."""
    project, lane = scene.project, scene.lane

    def land() -> None:
        # a verdict there is was asked for by a person, who has accepted the changed configuration with it
        if row.verdict is None and frozen.config_changed(project, row):
            raise NotAllowed(
                f"the configuration changed while its session ran: `agentpkg review {row.feature} {row.wp}`",
                f"judge it yourself with `agentpkg review {row.feature} {row.wp}`",
                code="config_changed",
            )
        judged = review.review(project, row.feature, row.wp, lane.stopped)
        # a person may have paused the run while the checks ran
        if (
            not project.settings.merge.auto
            or judged.review.verdict is not Verdict.APPROVED
            or steering.paused(project.ledger, row.feature)
        ):
            return
        merging.land(project, row.feature, row.wp, REVIEWER, lane.stopped)

    return land
