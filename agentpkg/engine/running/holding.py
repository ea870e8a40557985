"""The hold of a run after shared failures in a row: recorded when it begins, at every failed probe, and at its end."""

from agentpkg.core.records import SessionRow
from agentpkg.engine import transition
from agentpkg.engine.running.scene import Scene
from agentpkg.engine.transition import SYSTEM


def heard(scene: Scene, session: SessionRow) -> None:
    """Takes note of a session's end, and records what that means for the run."""
    settings, patience = scene.project.settings, scene.patience
    limit = settings.run.breaker_failures
    was_open = patience.breaker.open(limit)
    counted = patience.heard(session)
    if counted and patience.breaker.open(limit):
        _record(scene, "run_held", {
            "reason": session.reason, "reason_class": session.reason_class, "failures": patience.breaker.failures,
            "probes": patience.breaker.probes, "until": patience.until(settings),
        })  # fmt: skip
    elif was_open and not patience.breaker.open(limit):
        _record(scene, "run_released", {})


def _record(scene: Scene, kind: str, said: dict[str, object]) -> None:
    known = {key: value for key, value in said.items() if value is not None}
    with scene.project.ledger.write() as tx:
        transition.note(tx, scene.feature.id, kind, SYSTEM, known)
    scene.project.poke()
