"""Runs the gates of a feature: done checks and entry conditions of stages, and the feature's own done check.

Checks run in throw-away copies of the target's tip, as a review's do. What they found becomes an entry of the
feature, which :mod:`agentpkg.engine.dispatching.gates` reads. The tag of a finished stage comes after the entry, and is
made again by whoever finds it missing, since the entry says all that it is made of.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from agentpkg.checks import pipeline
from agentpkg.checks.base import SPECIFICATION, CheckSpec, Definitions, ReviewContext, one_line
from agentpkg.core.errors import Lacking
from agentpkg.core.model import Feature, WorkPackage
from agentpkg.core.records import CheckResult, Entry
from agentpkg.core.stages import Gate
from agentpkg.engine import transition
from agentpkg.engine.dispatching.gates import CHECKED, ENTERED
from agentpkg.engine.enclosing.enclosure import enclosure, went
from agentpkg.engine.judging import frozen
from agentpkg.engine.project import Project
from agentpkg.engine.transition import REVIEWER
from agentpkg.git import tags
from agentpkg.sessions import environment

Warn = Callable[[str], None]


def check(
    project: Project, feature: Feature, gate: Gate, cancelled: Callable[[], bool], warn: Warn = lambda text: None
) -> None:
    """Runs a gate's commands on the target's tip and records what they found; tags a finished stage.

    Args:
        warn: gets what a person should know of a tag that cannot be made.

    Raises:
        Lacking: the machine gave no verdict; nothing is recorded.
        Interrupted: ``cancelled`` said so; nothing is recorded.
    """
    tip = project.target_tip(project.target(feature))
    results = _run(project, feature, gate, gate.commands, tip, cancelled)
    said = _said(gate, tip, gate.commands, results) | {"packages": list(gate.packages)}
    if said["passed"] and gate.stage is not None:
        said["tag"] = f"{feature.id}/{gate.stage}-done"
    _record(project, feature.id, CHECKED, said)
    ensure_tags(project, feature.id, warn)


def check_entry(
    project: Project, feature: Feature, gate: Gate, cancelled: Callable[[], bool], warn: Warn = lambda text: None
) -> None:
    """As :func:`check`, for the entry condition of a stage."""
    tip = project.target_tip(project.target(feature))
    results = _run(project, feature, gate, gate.entry, tip, cancelled)
    _record(project, feature.id, ENTERED, _said(gate, tip, gate.entry, results))


def ensure_tags(project: Project, feature: str, warn: Warn = lambda text: None) -> list[str]:
    """Makes the tags of finished stages that are not there; gives those that somebody else's tag is in the way of."""
    newest = {e.metadata.get("stage"): e for e in project.ledger.noted(feature, CHECKED)}
    wanted = [entry for entry in newest.values() if entry.metadata.get("tag") and entry.metadata.get("passed")]
    git = project.repository.git
    kept = [str(entry.metadata["tag"]) for entry in wanted if not tags.make(git, _tag(project, entry))]
    for name in kept:
        other = tags.in_the_way(git, name)
        warn(
            f"the stage's tag {name} was not made: a tag of yours, {other}, is in its way; once that has another name "
            f"(`git tag NEW {other} && git tag -d {other}`), the next run makes it"
        )
    return kept


def _tag(project: Project, entry: Entry) -> tags.Tag:
    said = entry.metadata
    message = (
        f"{entry.feature_id}: {said['stage']} is done\n\n"
        f"Feature: {entry.feature_id}\nStage: {said['stage']}\nAudit-Hash: {entry.hash}\n"
    )
    when = int(datetime.fromisoformat(entry.timestamp).timestamp())
    return tags.Tag(str(said["tag"]), str(said["commit"]), message, project.user, when)


def _run(
    project: Project, feature: Feature, gate: Gate, commands: tuple[str, ...], tip: str, cancelled: Callable[[], bool]
) -> tuple[CheckResult, ...]:
    if not commands:
        return ()
    context = ReviewContext(
        feature=feature.id, wp=WorkPackage(gate.stage or "DONE", gate.name, feature.id, f"{feature.path}/meta.yaml"),
        control=project.control, outside=(project.work_tree, project.repository.common_dir), base=tip, head=tip,
        candidate=tip, target=project.target(feature),
        definitions=Definitions(setup=project.settings.review.setup),
        environment=environment.inherited(project.environ),
    )  # fmt: skip
    specs = [CheckSpec(one_line(line, 100), SPECIFICATION, line) for line in commands]
    with enclosure(project) as walls:
        inside = replace(context, walls=walls)
        done = pipeline.run_commands(inside, specs, frozen.store(project), cancelled=cancelled)
    if walls.decided and not isinstance(done, pipeline.NoVerdict):
        done += (pipeline.recorded(inside, frozen.store(project), went(walls.decided)),)
    if isinstance(done, pipeline.NoVerdict):
        raise Lacking(f"no verdict on {gate.name}: {done.reason}", done.fix, code=done.code)
    return done


def _said(gate: Gate, tip: str, commands: tuple[str, ...], results: tuple[CheckResult, ...]) -> dict[str, Any]:
    failed = [result for result in results if result.status == "fail"]
    return {
        "stage": gate.stage, "passed": not failed, "commit": tip, "commands": list(commands),
        "detail": "; ".join(f"{one.name}: {one.detail}" for one in failed)[:500],
        "evidence": [result.evidence for result in results if result.evidence],
    }  # fmt: skip


def _record(project: Project, feature: str, kind: str, said: Mapping[str, Any]) -> None:
    with project.ledger.write() as tx:
        transition.note(tx, feature, kind, REVIEWER, said)
    project.poke()
