"""What ``doctor --fix`` puts right: what commands that were killed, and hands that moved things, left behind.

Nothing with work in it is removed: what may hold some is named, and left.
"""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from agentpkg.checks.copy import sweep
from agentpkg.core.errors import AgentpkgError
from agentpkg.engine import recovery
from agentpkg.engine.project import Project
from agentpkg.files import remove_tree
from agentpkg.git.discover import MARK, admin_dirs, read_path
from agentpkg.git.relocation import follow
from agentpkg.git.stale import remove_stale_locks
from agentpkg.git.worktrees import drop_admin, ensure_excluded, refs_lock

#: seconds after which a session's folder that no ledger knows belongs to no dispatch that is under way
_UNDER_WAY = 600.0


def mend(project: Project) -> list[str]:
    """Mends what can be mended; gives what was done, and what could not be, one sentence each."""
    project.require_person("mend the repository")
    if project.ledger_is_lost:
        return ["nothing was done: the ledger is gone; `agentpkg rebuild` makes it again first"]
    done: list[str] = []
    for step in _STEPS:
        try:
            done += step(project)
        except (AgentpkgError, OSError) as error:
            done.append(f"not done: {error.message if isinstance(error, AgentpkgError) else error}")
    if project.ledger_or_none is not None:
        project.poke()
    return done


def _places(project: Project) -> list[str]:
    return follow(project.repository)


def _locks(project: Project) -> list[str]:
    return remove_stale_locks(project.repository)


def _sessions(project: Project) -> list[str]:
    return recovery.reconcile(project) if project.ledger_or_none is not None else []


def _worktrees(project: Project) -> list[str]:
    """Admin dirs of package worktrees that were deleted by hand."""
    done = []
    repo = project.repository
    with refs_lock(repo):
        for admin in list(admin_dirs(repo.common_dir)):
            named = read_path(admin / "gitdir")
            if named is None or not (admin / MARK).is_file() or (admin / "locked").exists():
                continue
            if not os.path.lexists(named.parent):
                drop_admin(repo, named.parent)
                done.append(f"git no longer lists {named.parent}, which is gone")
    return done


def _excluded(project: Project) -> list[str]:
    folder = project.settings.project.worktrees_dir
    if not (project.work_tree / folder).is_dir():
        return []
    changed = ensure_excluded(project.repository, f"/{folder}/")
    return [f"/{folder}/ is in info/exclude again"] if changed else []


def _folders(project: Project) -> list[str]:
    """Folders of sessions that were never begun: nothing but a prompt is in them."""
    ledger = project.ledger_or_none
    known = {row.id for row in ledger.sessions()} if ledger else set()
    done = []
    for folder in _children(project.state / "sessions"):
        if folder.name in known or _is_young(folder):
            continue
        held = sorted({"git", "quarantine.git", "worktree", "launch.json"} & {path.name for path in folder.iterdir()})
        if held:
            done.append(f"kept {folder}, which no ledger entry knows: it holds {', '.join(held)}")
        else:
            remove_tree(folder)
            done.append(f"removed {folder}, the folder of a session that was never begun")
    return done


def _copies(project: Project) -> list[str]:
    import tempfile

    return [f"removed {folder}, the copy of a review that was killed" for folder in sweep(Path(tempfile.gettempdir()))]


def _scraps(project: Project) -> list[str]:
    """Drafts in the state folder that were never renamed into their place."""
    done = []
    for path in _children(project.state):
        draft = path.name.startswith(("control.git.", "control.view.")) or path.name == ".rebuild"
        if draft and not _is_young(path):
            remove_tree(path)
            done.append(f"removed {path}, a draft")
    return done


def _children(folder: Path) -> Iterator[Path]:
    return iter(sorted(folder.iterdir()) if folder.is_dir() else ())


def _is_young(path: Path) -> bool:
    # the clock may have been set back: what lies in the future is not old
    return time.time() - path.lstat().st_mtime < _UNDER_WAY


_STEPS: tuple[Callable[[Project], list[str]], ...] = (
    _places, _locks, _sessions, _worktrees, _excluded, _folders, _copies, _scraps,
)  # fmt: skip
