"""What a person asks of a run: pause, resume, stop. Recorded in the ledger, where the run sees it within a second."""

from dataclasses import dataclass
from typing import Any

from agentpkg.core.errors import NotAllowed
from agentpkg.core.records import Entry
from agentpkg.engine import transition
from agentpkg.engine.project import Project
from agentpkg.engine.running import owner
from agentpkg.engine.running.owner import Owner
from agentpkg.ledger.reading import Reader


@dataclass(frozen=True, slots=True)
class Steered:
    """What was asked, and of whom.

    Attributes:
        changed: False when it was so already.
        runner: who runs the feature now.
    """

    feature: str
    paused: bool
    changed: bool
    runner: Owner | None


def paused(ledger: Reader, feature: str) -> Entry | None:
    """The entry by which a person has paused a feature's runs; None while they may go on."""
    found = ledger.newest(feature, "run_paused", "run_resumed")
    return found if found is not None and found.metadata.get("kind") == "run_paused" else None


def pause(project: Project, feature: str, reason: str | None) -> Steered:
    """Has runs of a feature start and land nothing until :func:`resume`; sessions go on to their end."""
    return _steer(project, feature, True, {"reason": reason} if reason else {})


def resume(project: Project, feature: str) -> Steered:
    """Lets runs of a feature go on."""
    return _steer(project, feature, False, {})


def _steer(project: Project, name: str, wanted: bool, said: dict[str, Any]) -> Steered:
    actor = project.require_person(f"{'pause' if wanted else 'resume'} a run")
    feature = project.feature_id(name)
    if project.ledger.feature(feature) is None:
        project.ensure_registered(project.good_feature(feature))
    with project.ledger.write() as tx:
        changed = (paused(tx, feature) is not None) != wanted
        if changed:
            transition.note(tx, feature, "run_paused" if wanted else "run_resumed", actor, said)
    project.poke()
    return Steered(feature, wanted, changed, owner.current(project.state, feature))


def stop(project: Project, feature: str, now: bool) -> Owner:
    """Asks the run of a feature to end: after its sessions, or ``now`` with them.

    Raises:
        NotAllowed: nobody runs the feature.
    """
    actor = project.require_person("stop a run")
    runner = owner.current(project.state, feature)
    if runner is None:
        raise NotAllowed(f"nobody runs {feature}", f"start a run with `agentpkg run {feature}`", code="no_run")
    with project.ledger.write() as tx:
        transition.note(
            tx, feature, "run_stop", actor, {"pid": runner.pid, "process": runner.started, "at_once": now}
        )  # fmt: skip
    project.poke()
    return runner


def presses(ledger: Reader, me: Owner) -> int:
    """How often, in Ctrl-C, this very run was asked to end: 0, 1, or 2 when its sessions are to end as well."""
    asked = ledger.newest(me.feature, "run_stop")
    if asked is None or (asked.metadata.get("pid"), asked.metadata.get("process")) != (me.pid, me.started):
        return 0
    return 2 if asked.metadata.get("at_once") else 1


def the_running(project: Project) -> list[str]:
    """The features that somebody runs now, by id."""
    return [ref.id for ref in project.refs if owner.current(project.state, ref.id) is not None]
