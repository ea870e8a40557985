"""Starting a session: everything that can be refused is refused before anything is made.

Order: read and check (files, agent, secrets, dependencies, prompt); then one ledger transaction that makes the
lease; then worktree, private git dir and supervisor. A step that fails after the lease ends the session as a failure
of the environment, so that no package is left ``doing`` with nobody at work.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from agentpkg import proc
from agentpkg.config import AgentSettings, Effective, agent_named, effective, fallbacks
from agentpkg.config.policy import package_scope
from agentpkg.core import states
from agentpkg.core.errors import BadInput, Busy, Lacking, NotAllowed
from agentpkg.core.model import FailureClass, Feature, Problem, WorkPackage
from agentpkg.core.records import PackageRow, SessionRow
from agentpkg.engine import actors, transition
from agentpkg.engine.asking import budgets
from agentpkg.engine.dispatching import prompting, room
from agentpkg.engine.dispatching.gates import require_open
from agentpkg.engine.enclosing import vault, walls
from agentpkg.engine.judging import frozen
from agentpkg.engine.project import Project
from agentpkg.engine.supervising import conclude, conversation, lease, tampering
from agentpkg.engine.supervising.plan import SessionPlan, new_session_id, read_plan
from agentpkg.files import remove_tree, write_atomic
from agentpkg.git import private, worktrees
from agentpkg.git.diff import commit_ids
from agentpkg.git.discover import BACK_POINTER
from agentpkg.git.identity import agent_identity
from agentpkg.harnesses import harness_named
from agentpkg.harnesses.base import Fault, Job, Launch
from agentpkg.isolation import Walls
from agentpkg.prompts import Bundle
from agentpkg.secrets.redact import Redactor
from agentpkg.secrets.resolve import Resolved, referenced, resolve_environment
from agentpkg.sessions.judge import Facts

#: where in a session's folder the files of its harness lie
_HARNESS_FOLDER = "harness"

#: the folders that hold features by convention
FEATURE_DIRS = ("features", "kitty-specs")


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line asked for; None means as configured."""

    agent: str | None = None
    timeout: int | None = None
    #: start at the target's tip; the old branch is kept under ``refs/agentpkg/abandoned/``
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Started:
    """A session that runs.

    Attributes:
        isolation: one line on what it runs in.
    """

    session: SessionRow
    branch: str
    worktree: Path
    bundle: Bundle
    warnings: tuple[str, ...] = ()
    isolation: str = ""


@dataclass(frozen=True, slots=True)
class _Ready:
    """All that was found out before anything is made."""

    feature: Feature
    package: WorkPackage
    effective: Effective
    agent: AgentSettings
    secrets: Resolved
    walls: Walls
    #: the target's tip
    base: str
    #: nothing of earlier sessions goes on
    fresh: bool


def preflight(project: Project, feature: Feature, wp: str, agent: str | None) -> list[str]:
    """Raises what would keep a package's agent from starting, without making anything; gives warnings."""
    return _about_fallbacks(project, _prepare(project, feature, wp, Wish(agent=agent)).agent)


def start(project: Project, feature: Feature, wp: str, wish: Wish) -> Started:
    """Starts a session on a package.

    Raises:
        BadInput: bad files, no such agent, an unresolved secret; nothing was made.
        NotAllowed: dependencies are open or the state has no way to ``doing``; nothing was made.
        Busy: another session holds the package; nothing was made.
        Lacking: the agent's program is missing, or the isolation level cannot be had; nothing was made.
    """
    project.require_person(f"start {wp}")
    behind = _catch_up(project, feature)
    ready = _prepare(project, feature, wp, wish)
    project.ensure_registered(feature)
    row = _startable(project, feature.id, wp)
    require_open(project, feature, wp)
    budgets.require_room(project, feature, wp)
    branch = row.branch or project.branch_name(feature.id, wp)
    path = project.worktree(feature.id, wp)
    try:
        worktrees.require_free(project.repository, path, branch)
        room.require_own_branch(project, row, branch)
        old_head = room.starting_point(project, path, branch, ready.base, wish.fresh)
    except NotAllowed:
        # what is in the way may be what another command, which won the package since, is making
        _startable(project, feature.id, wp)
        raise
    session = _new_session(project, ready, old_head)
    bundle = prompting.bundle(project, feature, ready.package, ready.agent.name)
    session = replace(session, prompt_sha256=bundle.sha256)
    folder = project.state / "sessions" / session.id
    try:
        launch = _write_folder(project, folder, ready, session, bundle)
        _take_lease(project, ready, session, branch, bundle)
    except BaseException:
        remove_tree(folder)
        raise
    project.poke()
    with _blamed_on_environment(project, session.id, path, folder):
        with lease.acting(project.ledger, session.id):
            copied = _make_room(project, ready, session, branch, folder, launch, wish.fresh)
        supervisor = _spawn(project, folder, ready.secrets, copied)
    _hand_over(project, session.id, supervisor, folder)
    about_walls = [ready.walls.warning] if ready.walls.warning else []
    warnings = (*behind, *bundle.warnings, *_about_fallbacks(project, ready.agent), *about_walls)
    return Started(session, branch, project.worktree(feature.id, wp), bundle, warnings, ready.walls.detail)


# --------------------------------------------------------------------------- before anything is made


def _catch_up(project: Project, feature: Feature) -> list[str]:
    """Brings the target to where its remote is, so that the agent sees what others landed; gives why that failed."""
    if project.settings.merge.remote is None:
        return []
    from agentpkg.engine.landing import merging

    try:
        merging.catch_up(project, project.target(feature))
    except (Busy, Lacking, NotAllowed) as error:
        return [f"{error.message}; the agent begins with what is here"]
    return []


def _prepare(project: Project, feature: Feature, wp: str, wish: Wish) -> _Ready:
    package = feature.packages.get(wp)
    if package is None:
        raise BadInput(
            f"{feature.id} has no {wp}", f"it has {', '.join(feature.packages) or 'no work packages'}",
            code="unknown_package",
        )  # fmt: skip
    project.require_good_policy()
    chosen = effective(project.loaded, feature, replace(package, agent=wish.agent) if wish.agent else package)
    agent = agent_named(project.settings, wish.agent or chosen.agent)
    if wish.timeout is not None:
        chosen = replace(chosen, timeout_seconds=wish.timeout)
    _require_program(project, agent)
    chosen_walls = walls.of(project)
    _require_known_secrets(package, agent)
    secrets = resolve_environment(
        agent.environment, vault.providers(project), package.secrets, project.loaded.variable_places(agent.name)
    )
    base = project.target_tip(chosen.target_branch)
    return _Ready(feature, package, chosen, agent, secrets, chosen_walls, base, wish.fresh)


def _require_known_secrets(package: WorkPackage, agent: AgentSettings) -> None:
    known = referenced(agent.environment)
    unknown = [name for name in package.secrets or () if name not in known]
    if unknown:
        raise BadInput(
            f"{package.path}: no variable of agent.environment refers to the secret {', '.join(unknown)}",
            f"it refers to {', '.join(sorted(known)) or 'none'}; correct `secrets`, or the configuration",
            code="unresolved_secret",
            details={"problems": [Problem(package.path, 1, n, "names no secret of agent.environment").as_json()
                                  for n in unknown]},
        )  # fmt: skip


def _require_program(project: Project, agent: AgentSettings) -> None:
    problem = harness_named(agent.harness).problem(agent, str(project.work_tree))
    if problem:
        raise Lacking(
            f"agent {agent.name} cannot be started: {problem}",
            f"install it, or correct agents.{agent.name} in .kittify/config.yaml; `agentpkg agents list` shows all",
            code="agent_not_ready",
        )


def _about_fallbacks(project: Project, agent: AgentSettings) -> list[str]:
    """Agents that are to take over from this one, and could not be started; now is the time to say so."""
    found = []
    for name in fallbacks(project.settings, agent.name)[1:]:
        other = agent_named(project.settings, name)
        problem = harness_named(other.harness).problem(other, str(project.work_tree))
        if problem:
            found.append(f"{name}, the fallback of {agent.name}, cannot be started: {problem}")
    return found


def _startable(project: Project, feature: str, wp: str) -> PackageRow:
    """The package's row, once a first look finds nothing against a dispatch; the transaction looks again."""
    with project.ledger.write() as tx:
        row = transition.require(tx, feature, wp)
        states.decide_dispatch(row, "agent:any", transition.open_dependencies(tx, row))
    return row


def _new_session(project: Project, ready: _Ready, old_head: str) -> SessionRow:
    before = project.ledger.sessions(ready.feature.id, ready.package.id)
    me = proc.identity(os.getpid())
    assert me is not None
    return SessionRow(
        id=new_session_id(os.urandom(10)), feature=ready.feature.id, wp=ready.package.id, agent=ready.agent.name,
        harness=ready.agent.harness, epoch=max((s.epoch for s in before), default=0) + 1, started_at="",
        isolation=ready.walls.level, model=ready.effective.model, base=ready.base, old_head=old_head, pid=me.pid,
        pid_started=me.started, boot_id=me.boot_id,
    )  # fmt: skip


def _job(project: Project, folder: Path, ready: _Ready, session: SessionRow, prompt: str) -> Job:
    resume, used = (None, {}) if ready.fresh else conversation.last(project, session)
    return Job(
        session=session.id, feature=session.feature, wp=session.wp, attempt=session.epoch,
        repository=str(project.work_tree), worktree=str(project.worktree(session.feature, session.wp)), prompt=prompt,
        prompt_path=str(folder / "prompt.md"), task_path=str(folder / "task.md"), model=session.model,
        folder=str(folder / _HARNESS_FOLDER), private=str(private.place(folder)), isolation=session.isolation,
        scope=package_scope(project.settings, project.policy, ready.package),
        resume=resume, used=used, patience=project.settings.questions.deadline_seconds,
        allowance=budgets.allowance(project, ready.feature, session.wp),
    )  # fmt: skip


def _write_folder(project: Project, folder: Path, ready: _Ready, session: SessionRow, bundle: Bundle) -> Launch:
    folder.mkdir(mode=0o700, parents=True)
    write_atomic(folder / "prompt.md", bundle.prompt)
    write_atomic(folder / "task.md", bundle.task)
    write_atomic(folder / BACK_POINTER, os.fsencode(project.repository.common_dir) + b"\n")
    launch = harness_named(ready.agent.harness).launch(
        ready.agent, _job(project, folder, ready, session, bundle.prompt)
    )
    for name, text in launch.files.items():
        path = folder / _HARNESS_FOLDER / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(path, text)
    return launch


def _take_lease(project: Project, ready: _Ready, session: SessionRow, branch: str, bundle: Bundle) -> None:
    said: dict[str, Any] = {
        "agent": session.agent, "harness": session.harness, "model": session.model, "branch": branch,
        "isolation": session.isolation, "prompt_sha256": bundle.sha256, "dispatched_by": project.actor,
        **frozen.freeze(project, ready.feature, ready.package),
    }  # fmt: skip
    with project.ledger.write() as tx:
        transition.start(tx, session, branch, {k: v for k, v in said.items() if v is not None})


# --------------------------------------------------------------------------- making


@contextmanager
def _blamed_on_environment(project: Project, session: str, path: Path, folder: Path) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        # ended last: from then on the worktree may be the next session's
        with suppress(lease.Fenced), lease.acting(project.ledger, session):
            try:
                room.give_back(project, path, folder)
                remove_tree(folder / "git")
            finally:
                conclude.failed(project, session, f"it could not start: {conclude.said_of(error)}")
        project.poke()
        raise


def _hand_over(project: Project, session: str, supervisor: int, folder: Path) -> None:
    """Makes the supervisor the owner until it has said so itself, so that this process may end at once."""
    mine = lease.owned_by(os.getpid())
    if lease.take(project.ledger, session, supervisor, mine):
        return
    row = project.ledger.session(session)
    if row is not None and row.ended_at is None and mine(row):
        # it is dead already, and nobody else would notice while this process lives
        facts = Facts(trouble=f"its supervisor died before it began, see {folder / 'supervisor.log'}", exit_code=None)
        conclude.conclude(project, read_plan(folder), folder, facts, Redactor({}))
        project.poke()


def _make_room(
    project: Project, ready: _Ready, session: SessionRow, branch: str, folder: Path, launch: Launch, fresh: bool
) -> frozenset[str]:
    """Makes worktree and private git dir, and writes the plan; gives values of copied files, for redaction."""
    repo, path = project.repository, project.worktree(session.feature, session.wp)
    values = room.make(project, path, branch, session, fresh, folder)
    made = private.make_private(
        repo, folder, path, branch, session.old_head, agent_identity(session.agent), covering=ready.walls.covers_git
    )
    launch = launch.placed(str(private.git_dir(repo, path, made)))
    _plan(project, ready, session, branch, folder, launch, made).write(folder)
    tampering.remember(repo, path, folder)
    if not ready.walls.covers_git:
        private.enter(repo, path, made)
    return values


def _plan(
    project: Project, ready: _Ready, session: SessionRow, branch: str, folder: Path, launch: Launch, made: Path
) -> SessionPlan:
    settings = project.settings
    job = {k: v for k, v in asdict(_job(project, folder, ready, session, "")).items() if k != "prompt"}
    return SessionPlan(
        job=job, launch=launch.as_json(), repository=asdict(project.repository), agent_name=session.agent,
        harness=session.harness, private=str(made), branch=branch, old_head=session.old_head, base=session.base,
        target=ready.effective.target_branch, timeout_seconds=ready.effective.timeout_seconds,
        kill_grace_seconds=settings.agent.kill_grace_seconds, isolation=session.isolation,
        walls=ready.walls.facts, mounts=walls.mounts(project),
        network=(*settings.isolation.network.allow, *ready.agent.network, *launch.hosts),
        undecided=project.policy.actions.network,
        environment=ready.secrets.plain,
        secret_names=tuple(ready.secrets.secrets), setup=settings.worktree.setup,
        limits=asdict(settings.limits), run_limits=asdict(settings.run.limits),
        features_dirs=tuple({settings.project.features_dir, *FEATURE_DIRS}), filters=settings.worktree.filters,
        carried=_carried(project, session), snapshot_seconds=settings.agent.snapshot_seconds,
        faults=_faults(ready.agent), asking=_asking(project), budget=budgets.plan(project, ready.feature, session.wp),
    )  # fmt: skip


def _asking(project: Project) -> dict[str, Any]:
    """How what the agent asks is put to people."""
    approvers = [f"human:{login}" for login in project.policy.approval.approvers]
    return {**asdict(project.settings.questions), "approvers": approvers}


def _faults(agent: AgentSettings) -> dict[str, Fault]:
    """Whose a failure is, by the exit codes that the configuration gives a meaning."""
    return {
        **{str(code): "environment" for code in agent.environment_exit_codes},
        **{str(code): "provider" for code in agent.provider_exit_codes},
    }


def _carried(project: Project, session: SessionRow) -> int:
    """Commits on the branch beyond the target that a failure of machine or provider left to be reviewed."""
    before = project.ledger.sessions(session.feature, session.wp)
    earlier = [row for row in before if row.id != session.id]
    cause = earlier[-1].reason_class if earlier else None
    if cause is None or not (cause.shared or cause is FailureClass.BUDGET):
        return 0
    return len(commit_ids(project.repository.git, session.old_head, session.base))


def _without_secrets(project: Project) -> dict[str, str]:
    """The environment without what the configuration calls secrets: agents may read that of their supervisor."""
    settings = project.settings
    known = referenced(settings.agent.environment)
    for agent in settings.agents.values():
        known |= referenced(agent.environment)
    return {name: value for name, value in project.environ.items() if name not in known}


def _spawn(project: Project, folder: Path, secrets: Resolved, copied: frozenset[str]) -> int:
    """Starts the supervisor and gives its pid; secret values go through its standard input and nowhere else."""
    me = proc.identity(os.getpid())
    assert me is not None
    hidden = {
        "held_by": [me.pid, me.started],
        "environment": {name: value.reveal() for name, value in secrets.hidden.items()},
        "secrets": {name: value.reveal() for name, value in secrets.secrets.items()},
        "copied": sorted(copied),
    }
    return proc.spawn_detached(
        [sys.executable, "-P", "-m", actors.SUPERVISOR, str(folder)],
        env=_without_secrets(project), cwd=folder, stdin=json.dumps(hidden).encode(), log=folder / "supervisor.log",
    )  # fmt: skip
