"""What ``doctor`` tells and ``doctor --fix`` puts right: what killed commands, and hands that moved things, left.

Each step says what it finds, with the function that mends it: what is told is what would be done. Nothing with work in
it is removed: what may hold some is named, and left.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from agentpkg.checks.copy import abandoned, sweep
from agentpkg.core.errors import AgentpkgError
from agentpkg.engine.project import Project
from agentpkg.engine.upkeep import recovery
from agentpkg.files import remove_tree, temporary_folder
from agentpkg.git import torn
from agentpkg.git.relocation import follow, moved_from
from agentpkg.git.stale import remove_stale_locks, stale_locks
from agentpkg.git.worktrees import drop_admin, ensure_excluded, is_excluded, refs_lock, vanished

#: seconds after which a session's folder that no ledger knows belongs to no dispatch that is under way
_UNDER_WAY = 600.0


@dataclass(frozen=True, slots=True)
class Repair:
    """What one step has found.

    Attributes:
        found: what is amiss and can be mended, one sentence each.
        kept: what is amiss and is a person's to judge, one sentence each.
        mend: mends what was found; gives what was done, one sentence each.
    """

    found: list[str]
    mend: Callable[[], list[str]]
    kept: tuple[str, ...] = ()


def look(project: Project) -> Iterator[Repair]:
    """What :func:`mend` would mend now; changes nothing.

    Raises:
        Lacking: the ledger is gone, or cannot be read; :func:`mend` makes it again.
    """
    if project.ledger_if_any is None and not project.state.is_dir():
        # no command has changed anything yet
        return
    for step in _STEPS:
        yield step(project)


def mend(project: Project) -> list[str]:
    """Mends what can be mended; gives what was done, and what could not be, one sentence each."""
    project.require_person_without_ledger("mend the repository")
    try:
        done = _ledger(project)
    except AgentpkgError as error:
        # nothing else can be told without one
        return [f"not done: {error.message}"]
    project = replace(project, _existing=None)
    for step in _STEPS:
        try:
            repair = step(project)
            done += [*repair.mend(), *(f"kept {what}" for what in repair.kept)]
        except (AgentpkgError, OSError) as error:
            done.append(f"not done: {error.message if isinstance(error, AgentpkgError) else error}")
    if project.ledger_or_none is not None:
        project.poke()
    return done


def _ledger(project: Project) -> list[str]:
    """Makes a lost or damaged ledger again; nothing for a sound one."""
    from agentpkg.engine.upkeep import rebuilding

    done = rebuilding.rebuild(project)
    if done.why is None:
        return []
    kept = f"; the damaged file is kept in {done.kept}" if done.kept else ""
    entries = ", ".join(f"{one.entries} entries of {one.feature}" for one in done.chains) or "no entries"
    made = f"the ledger was made again with {entries}, because {done.why}{kept}"
    return [made, *(f"not known: {what}" for what in done.unknown), *done.finished]


def _place(project: Project) -> Repair:
    old = moved_from(project.repository)
    found = [f"the repository was moved from {old}, which worktrees and sessions still name"] if old else []
    return Repair(found, lambda: follow(project.repository))


def _locks(project: Project) -> Repair:
    repo = project.repository
    found = [f"a killed git process left {lock.relative_to(repo.common_dir)}" for lock in stale_locks(repo)]
    return Repair(found, lambda: remove_stale_locks(repo))


def _torn(project: Project) -> Repair:
    repo = project.repository
    if project.ledger_or_none is None:
        return Repair([], list)
    found = [f"{path.relative_to(repo.common_dir)} is empty, as after a power cut" for path in torn.torn(repo)]
    return Repair(found, lambda: recovery.mend_torn(project))


def _sessions(project: Project) -> Repair:
    if project.ledger_or_none is None:
        return Repair([], list)
    return Repair(recovery.pending(project), lambda: recovery.reconcile(project))


def _worktrees(project: Project) -> Repair:
    """Admin dirs of package worktrees that were deleted by hand."""
    repo = project.repository

    def drop() -> list[str]:
        done = []
        with refs_lock(repo):
            for path in vanished(repo):
                drop_admin(repo, path)
                done.append(f"git no longer lists {path}, which is gone")
        return done

    return Repair([f"git lists the worktree {path}, which is gone" for path in vanished(repo)], drop)


def _excluded(project: Project) -> Repair:
    folder = project.settings.project.worktrees_dir
    line = f"/{folder}/"
    if not (project.work_tree / folder).is_dir() or is_excluded(project.repository, line):
        return Repair([], list)

    def exclude() -> list[str]:
        return [f"{line} is in info/exclude again"] if ensure_excluded(project.repository, line) else []

    return Repair([f"{line} is missing from info/exclude, so that git status shows it"], exclude)


def _folders(project: Project) -> Repair:
    """Folders of sessions that were never begun: nothing but a prompt is in them."""
    ledger = project.ledger_or_none
    known = {row.id for row in ledger.sessions()} if ledger else set()
    empty, kept = [], []
    for folder in _children(project.state / "sessions"):
        if folder.name in known or _is_young(folder):
            continue
        held = sorted({"git", "quarantine.git", "worktree", "launch.json"} & {path.name for path in folder.iterdir()})
        if held:
            kept.append(f"{folder}, which no ledger entry knows: it holds {', '.join(held)}")
        else:
            empty.append(folder)
    return _removal(empty, "the folder of a session that was never begun", tuple(kept))


def _copies(project: Project) -> Repair:
    place, what = Path(temporary_folder()), "the copy of a review that was killed"
    found = [f"{folder} is {what}" for folder in abandoned(place)]
    return Repair(found, lambda: [f"removed {folder}, {what}" for folder in sweep(place)])


def _scraps(project: Project) -> Repair:
    """Drafts in the state folder that were never renamed into their place."""
    drafts = [
        path for path in _children(project.state)
        if path.name.startswith(("control.git.", "control.view.")) or path.name == ".rebuild"
    ]  # fmt: skip
    return _removal([path for path in drafts if not _is_young(path)], "a draft")


def _removal(paths: list[Path], what: str, kept: tuple[str, ...] = ()) -> Repair:
    def remove() -> list[str]:
        for path in paths:
            remove_tree(path)
        return [f"removed {path}, {what}" for path in paths]

    return Repair([f"{path} is {what}" for path in paths], remove, kept)


def _children(folder: Path) -> Iterator[Path]:
    return iter(sorted(folder.iterdir()) if folder.is_dir() else ())


def _is_young(path: Path) -> bool:
    # the clock may have been set back: what lies in the future is not old
    return time.time() - path.lstat().st_mtime < _UNDER_WAY


_STEPS: tuple[Callable[[Project], Repair], ...] = (
    _place, _locks, _torn, _sessions, _worktrees, _excluded, _folders, _copies, _scraps,
)  # fmt: skip
