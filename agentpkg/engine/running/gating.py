"""The gates of a run: entry conditions and done checks are run when they are due, and what fails is fixed.

They have a lane of their own, so that a long check holds up no landing. A gate that has failed is not asked again until
the target has moved; with ``--until-done`` its failure makes a package that mends it (:mod:`agentpkg.engine.fixing`).
"""

from collections.abc import Callable, Iterator

from agentpkg.core.errors import AgentpkgError, Interrupted
from agentpkg.core.records import PackageRow
from agentpkg.core.stages import Checked, Gate
from agentpkg.engine import fixing, transition
from agentpkg.engine.dispatching import gatekeeping, gates
from agentpkg.engine.judging import frozen
from agentpkg.engine.running.scene import Scene
from agentpkg.engine.running.values import Stuck
from agentpkg.engine.supervising import fulldisk


def look(scene: Scene) -> None:
    """Reads how far the gates are, and takes note of checks that gave no verdict.

    Raises:
        AgentpkgError, OSError: a full disk stopped some of them, which are to be done again.
    """
    project, feature = scene.project, scene.feature
    rows = {row.wp: row for row in project.ledger.packages(feature.id)}
    scene.progress = gates.progress(project.ledger, feature, rows)
    full: AgentpkgError | OSError | None = None
    for name, error in scene.checks.collect():
        if error is not None and fulldisk.is_full(error, project.state):
            full = error
        elif isinstance(error, OSError):
            raise error
        elif error is not None and not isinstance(error, Interrupted):
            scene.unjudged[name] = (_tip(scene), error.message)
    if full is not None:
        raise full


def step(scene: Scene) -> bool:
    """Has due checks run, and failed ones fixed; True when something of it is under way."""
    if not scene.progress.gates:
        return False
    for stage, gate in scene.progress.gates.items():
        if not _wanted(scene, gate):
            continue
        if stage is not None and scene.progress.entry_due(stage):
            if scene.progress.entry_fails_at(stage, _tip(scene)) is None:
                _submit(scene, f"entry {stage}", gate, gatekeeping.check_entry)
        elif scene.progress.due(stage):
            failed = scene.progress.fails_at(stage, _tip(scene))
            if failed is None:
                _submit(scene, f"done {stage}", gate, gatekeeping.check)
            elif _may_fix(scene, stage):
                _fix(scene, gate, failed)
                return True
    return bool(scene.checks)


def stuck(scene: Scene) -> Iterator[Stuck]:
    """The gates that are due and not passed, and why; those that wait for packages are not told beside them."""
    for stage, gate in scene.progress.gates.items():
        if _wanted(scene, gate) and scene.progress.due(stage):
            yield Stuck(None, "failed", _why(scene, gate), gate.stage or "done_check")


def why_waiting(scene: Scene, row: PackageRow) -> str | None:
    """What a package's stage waits for, in words; None when it waits for nothing."""
    still = scene.progress.waits_for(row.wp)
    stage = scene.progress.stage_of(row.wp)
    if not still or stage is None:
        return None
    if still != [stage]:
        return f"waits for {', '.join(still)}"
    last, trouble = scene.progress.entered.get(stage), scene.unjudged.get(f"entry {stage}")
    said = trouble[1] if trouble else (last.detail if last is not None else "not checked yet")
    return f"the entry condition of {stage} is not met: {said}"


def _wanted(scene: Scene, gate: Gate) -> bool:
    """It is about what the run was asked for."""
    until = scene.options.until
    if until is None:
        return True
    return gate.stage is not None and bool(set(gate.packages) & scene.needed_by(until))


def _tip(scene: Scene) -> str:
    return scene.project.target_tip(scene.project.target(scene.feature))


def _submit(scene: Scene, name: str, gate: Gate, check: Callable[..., None]) -> None:
    project, feature, lane = scene.project, scene.feature, scene.checks
    known = scene.unjudged.get(name)
    if name in lane or (known is not None and known[0] == _tip(scene)):
        return
    lane.submit(lambda: check(project, feature, gate, lane.stopped, scene.warn), name)


def _may_fix(scene: Scene, stage: str | None) -> bool:
    options = scene.options
    used = gates.fixes(scene.project.ledger, scene.feature.id).get(stage, [])
    return options.until_done and options.until is None and len(used) < scene.max_cycles


def _fix(scene: Scene, gate: Gate, failed: Checked) -> None:
    project, feature = scene.project, scene.feature
    store = frozen.store(project)
    known = gates.fixes(project.ledger, feature.id)
    cycle = len(known.get(gate.stage, [])) + 1
    text = fixing.text(gate, failed, store, cycle)
    wp = fixing.package_id(sum(map(len, known.values())) + 1)
    with project.ledger.write() as tx:
        transition.register_fix(tx, feature.id, wp, f"Get {gate.name} to pass", {
            "stage": gate.stage, "text": store.put(text), "cycle": cycle, "commit": failed.commit,
        })  # fmt: skip
    project.poke()
    scene.reload()


def _why(scene: Scene, gate: Gate) -> str:
    last, trouble = scene.progress.checked.get(gate.stage), scene.unjudged.get(f"done {gate.stage}")
    if trouble is not None:
        return trouble[1]
    if last is None or last.passed:
        return f"{gate.name} was not run: the run was stopped"
    used = len(gates.fixes(scene.project.ledger, scene.feature.id).get(gate.stage, []))
    if used >= scene.max_cycles and scene.options.until_done:
        return f"fails after {used} fixes, no cycle is left: {last.detail}"
    hint = "" if scene.options.until_done else "; `agentpkg run --until-done` has it mended"
    return f"fails: {last.detail}{hint}"
