"""``run --until-done``: when nothing can move any more, what has failed gets another try, a bounded number of times.

Each such round is an entry of the feature (``run_cycle``) that names the packages it lets try again, with the session
each had failed in. A run that is killed goes on in the round it was in.
"""

from collections.abc import Sequence

from agentpkg.core.model import FailureClass, State
from agentpkg.core.records import PackageRow
from agentpkg.engine import transition
from agentpkg.engine.running.scene import Scene
from agentpkg.engine.transition import SYSTEM


def granted(scene: Scene, row: PackageRow) -> bool:
    """The newest round lets the package try once more, and it has not yet."""
    if not scene.options.until_done or row.state is not State.BLOCKED:
        return False
    newest = scene.project.ledger.newest(scene.feature.id, "run_cycle")
    return newest is not None and newest.metadata.get("packages", {}).get(row.wp) == row.session


def next_round(scene: Scene, rows: Sequence[PackageRow]) -> bool:
    """Begins another round when there is something to try again and a cycle left."""
    if not scene.options.until_done or scene.patience.given_up(scene.project.settings):
        return False
    again = {row.wp: row.session for row in rows if _failed(scene, row)}
    used = len(scene.project.ledger.noted(scene.feature.id, "run_cycle"))
    if not again or used >= scene.max_cycles:
        return False
    with scene.project.ledger.write() as tx:
        transition.note(tx, scene.feature.id, "run_cycle", SYSTEM, {"cycle": used + 1, "packages": again})
    scene.project.poke()
    return True


def _failed(scene: Scene, row: PackageRow) -> bool:
    cause = row.reason_class
    if row.state is not State.BLOCKED or cause is None or not scene.may_try(row):
        return False
    return cause.counted or cause is FailureClass.REVIEW
