"""Starting a session: everything that can be refused is refused before anything is made.

Order: read and check (files, agent, secrets, dependencies, prompt); then one ledger transaction that makes the
lease; then worktree, private git dir and supervisor. A step that fails after the lease ends the session as a failure
of the environment, so that no package is left ``doing`` with nobody at work.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agentpkg import proc
from agentpkg.core import states
from agentpkg.core.errors import Busy, Lacking, NotAllowed
from agentpkg.core.model import Feature
from agentpkg.core.records import PackageRow, SessionRow
from agentpkg.engine import transition
from agentpkg.engine.asking import budgets
from agentpkg.engine.dispatching import launching, preparing, prompting, room
from agentpkg.engine.dispatching.gates import require_open
from agentpkg.engine.dispatching.preparing import Ready, Wish
from agentpkg.engine.judging import frozen
from agentpkg.engine.project import Project
from agentpkg.engine.supervising import conclude, lease, tampering
from agentpkg.engine.supervising.plan import new_session_id, read_plan
from agentpkg.files import remove_tree
from agentpkg.git import private, worktrees
from agentpkg.git.identity import agent_identity
from agentpkg.harnesses.base import Launch
from agentpkg.prompts import Bundle
from agentpkg.secrets.redact import Redactor
from agentpkg.sessions.judge import Facts

__all__ = ["Started", "Wish", "preflight", "start"]


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


def preflight(project: Project, feature: Feature, wp: str, agent: str | None) -> list[str]:
    """Raises what would keep a package's agent from starting, without making anything; gives warnings."""
    return preparing.about_fallbacks(project, preparing.prepare(project, feature, wp, Wish(agent=agent)).agent)


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
    ready = preparing.prepare(project, feature, wp, wish)
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
        launch = launching.write_folder(project, folder, ready, session, bundle)
        _take_lease(project, ready, session, branch, bundle)
    except BaseException:
        remove_tree(folder)
        raise
    project.poke()
    with _blamed_on_environment(project, session.id, path, folder):
        with lease.acting(project.ledger, session.id):
            copied = _make_room(project, ready, session, branch, folder, launch, wish.fresh)
        supervisor = launching.spawn(project, folder, ready.secrets, copied)
    _hand_over(project, session.id, supervisor, folder)
    about_walls = [ready.walls.warning] if ready.walls.warning else []
    warnings = (*behind, *bundle.warnings, *preparing.about_fallbacks(project, ready.agent), *about_walls)
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


def _startable(project: Project, feature: str, wp: str) -> PackageRow:
    """The package's row, once a first look finds nothing against a dispatch; the transaction looks again."""
    with project.ledger.write() as tx:
        row = transition.require(tx, feature, wp)
        states.decide_dispatch(row, "agent:any", transition.open_dependencies(tx, row))
    return row


def _new_session(project: Project, ready: Ready, old_head: str) -> SessionRow:
    before = project.ledger.sessions(ready.feature.id, ready.package.id)
    me = proc.identity(os.getpid())
    assert me is not None
    return SessionRow(
        id=new_session_id(os.urandom(10)), feature=ready.feature.id, wp=ready.package.id, agent=ready.agent.name,
        harness=ready.agent.harness, epoch=max((s.epoch for s in before), default=0) + 1, started_at="",
        isolation=ready.walls.level, model=ready.effective.model, base=ready.base, old_head=old_head, pid=me.pid,
        pid_started=me.started, boot_id=me.boot_id,
    )  # fmt: skip


def _take_lease(project: Project, ready: Ready, session: SessionRow, branch: str, bundle: Bundle) -> None:
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
    project: Project, ready: Ready, session: SessionRow, branch: str, folder: Path, launch: Launch, fresh: bool
) -> frozenset[str]:
    """Makes worktree and private git dir, and writes the plan; gives values of copied files, for redaction."""
    repo, path = project.repository, project.worktree(session.feature, session.wp)
    values = room.make(project, path, branch, session, fresh, folder)
    made = private.make_private(
        repo, folder, path, branch, session.old_head, agent_identity(session.agent), covering=ready.walls.covers_git
    )
    launch = launch.placed(str(private.git_dir(repo, path, made)))
    launching.plan(project, ready, session, branch, folder, launch, made).write(folder)
    tampering.remember(repo, path, folder)
    if not ready.walls.covers_git:
        private.enter(repo, path, made)
    return values
