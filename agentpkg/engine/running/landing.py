"""The landing side of a run: packages that wait for review board the train, and land in its order when approved."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from agentpkg.core.errors import AgentpkgError, NotAllowed
from agentpkg.core.model import State, Verdict
from agentpkg.core.queue import Placed, order, passing
from agentpkg.core.records import PackageRow
from agentpkg.engine.asking import approvals
from agentpkg.engine.judging import batching, frozen, review
from agentpkg.engine.judging.reviewers import RESTS
from agentpkg.engine.landing import merging
from agentpkg.engine.running import queueing, steering
from agentpkg.engine.running.car import Car
from agentpkg.engine.running.scene import Scene
from agentpkg.engine.supervising import fulldisk
from agentpkg.engine.transition import REVIEWER


def queue(scene: Scene, rows: Sequence[PackageRow]) -> int:
    """Makes the train of what may be judged or landed, and hands the lane those whose turn has come; gives how many.

    What is in the lane keeps its place, at the front.
    """
    waiting = {row.wp: row for row in rows if may_land(scene, row)}
    if not waiting and not scene.lane:
        scene.train.stop()
        # what people were asked about an older target may be asked anew now
        waiting = {row.wp: row for row in rows if may_land(scene, row)}
    if not waiting and not scene.lane:
        _tell(scene)
        return 0
    project = scene.project
    target = project.target_tip(project.target(scene.feature))
    _let_through(scene, waiting)
    ordered = [waiting[place.wp] for place in order_of(scene, waiting.values())]
    troubles = scene.train.make(
        project, target, ordered, scene.lane, lambda row: scene.refusals.tip(project, row), _batch(scene)
    )
    for row, trouble in troubles:
        scene.refusals.refuse(project, row, trouble)
    for car in scene.train.ready(scene.lane):
        job = _landing_together(scene, car) if len(car.wps) > 1 else _landing(scene, waiting[car.wp], car)
        scene.lane.submit(job, *car.wps)
    _tell(scene)
    return len(waiting)


def _let_through(scene: Scene, waiting: Mapping[str, PackageRow]) -> None:
    """Has packages that are done pass a slow one at the front with which they have nothing to do."""
    found = scene.train.held_up(scene.lane, scene.project.settings.merge.passing)
    if found is None or found[0] not in waiting:
        return
    slow, done = found
    paths = {wp: queueing.paths(scene.project, scene.feature, waiting[wp]) for wp in (slow, *done) if wp in waiting}
    needs = {wp: package.dependencies for wp, package in scene.feature.packages.items()}
    others = passing(slow, paths, needs, paths)
    # nobody is passed twice; one that nobody may pass is not asked about again
    scene.train.passed_by[slow] = others


def _batch(scene: Scene) -> int:
    """How many packages are judged together: one, unless checks are slow, or nobody knows yet how long they take."""
    merge = scene.project.settings.merge
    if merge.batch > 1:
        known = batching.seconds(scene.project, scene.feature.id)
        scene.seconds = scene.seconds if known is None else known
    return 1 if scene.seconds is not None and scene.seconds < merge.batch_seconds else merge.batch


def _tell(scene: Scene) -> None:
    """Writes down how far the train is, where that has changed."""
    told = scene.train.told(scene.lane)
    if told != scene.told:
        queueing.tell(scene.project, scene.feature.id, told)
        scene.told = told


def order_of(scene: Scene, rows: Iterable[PackageRow]) -> list[Placed]:
    """The packages of the queue in their order."""
    needs = {wp: package.dependencies for wp, package in scene.feature.packages.items()}
    under_way = {wp for car in scene.train.cars for wp in car.wps}
    return order([scene.candidate(row) for row in rows], needs, under_way, scene.train.passed_by)


def collect(scene: Scene) -> None:
    """Takes note of what the lane has done since the last call.

    Raises:
        AgentpkgError, OSError: a full disk stopped some of it, which is to be done again.
    """
    full: AgentpkgError | OSError | None = None
    for wp, error in scene.lane.collect():
        if error is not None and fulldisk.is_full(error, scene.project.state):
            full = error
            scene.train.forget(wp)
        elif isinstance(error, OSError):
            raise error
        elif error is not None and _put_off(scene, wp, error):
            scene.train.forget(wp)
        elif error is not None:
            scene.refusals.refuse(scene.project, scene.project.row(scene.feature.id, wp), error)
        else:
            scene.refusals.held.let_go(wp)
            scene.patience.reviews.pop(wp, None)
            # the target has moved: what was in the way of others may no longer be
            scene.refusals.clear()
    if full is not None:
        raise full


def _put_off(scene: Scene, wp: str, error: AgentpkgError) -> bool:
    """The reviewer's provider refuses, and the run waits until it is to be asked again."""
    if error.code != RESTS or not scene.patience.put_off(wp, error.details["until"], scene.project.settings):
        return False
    scene.warn(f"{error.message}: the run waits for it")
    return True


def put_off(scene: Scene, rows: Iterable[PackageRow]) -> float | None:
    """Seconds until the first review that waits for a reviewer's provider is due; None when none does."""
    rests = [scene.patience.reviewable_in(row.wp) for row in rows if row.state is State.FOR_REVIEW]
    return min((rest for rest in rests if rest > 0), default=None)


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
    if scene.patience.reviewable_in(row.wp) > 0:
        return False
    if row.verdict is not Verdict.APPROVED or scene.moved(row):
        return True
    # each landing makes new candidates of those that wait: asked anew once nothing else lands
    free = row.wp in scene.train or not (scene.lane or scene.train.cars)
    return needs_person(scene, row, may_ask_anew=free) is None


def _landing(scene: Scene, row: PackageRow, car: Car) -> Callable[[], None]:
    """What the lane does with a package whose turn has come: records the verdict, and lands what is approved."""
    project, lane, train = scene.project, scene.lane, scene.train

    def land() -> None:
        # a verdict there is was asked for by a person, who has accepted the changed configuration with it
        if row.verdict is None and frozen.config_changed(project, row):
            raise NotAllowed(
                f"the configuration changed while its session ran: `agentpkg review {row.feature} {row.wp}`",
                f"judge it yourself with `agentpkg review {row.feature} {row.wp}`",
                code="config_changed",
            )
        merging.catch_up(project, project.target(scene.feature))
        # a person may have paused the run while the checks ran
        lands = project.settings.merge.auto and not steering.paused(project.ledger, row.feature)
        if review.tips(project, row) == (car.drafts[0].blank.head, car.base):
            judged = review.review(project, row.feature, row.wp, lane.stopped, train.take)
            lands = lands and judged.review.verdict is Verdict.APPROVED
        elif not train.overtaken(row.wp):
            # the one before it did not land, or somebody else was faster: the train is made anew
            return
        # who is overtaken again and again is judged in there, where nobody else may land meanwhile
        if lands:
            merging.land(project, row.feature, row.wp, REVIEWER, lane.stopped, warn=scene.warn)

    return land


def _landing_together(scene: Scene, car: Car) -> Callable[[], None]:
    """What the lane does with a batch whose turn has come: records its reviews and lands it."""
    project, train = scene.project, scene.train

    def land() -> None:
        judged = car.together()
        paused = steering.paused(project.ledger, scene.feature.id)
        if judged is not None and not paused and not merging.land_together(project, judged.made, REVIEWER):
            train.scattered(car)

    return land
