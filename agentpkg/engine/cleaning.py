"""Worktrees and branches that nothing needs any more."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agentpkg.core.model import State
from agentpkg.core.records import PackageRow
from agentpkg.engine.project import Project
from agentpkg.git.removal import Kept, Removed, hindrance, remove
from agentpkg.git.worktrees import list_worktrees

_OVER = (State.DONE, State.CANCELLED)

#: the folder, in the state's, where reviewing agents' logs are: ``FEATURE-WP-CANDIDATE``
REVIEWS = "agent-reviews"


@dataclass(frozen=True, slots=True)
class Left:
    """Something that stays, and why."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What ``clean`` did, or would do: paths and branch names that went, and what stays."""

    removed: tuple[str, ...]
    kept: tuple[Left, ...]


def after_landing(project: Project, row: PackageRow) -> Left | None:
    """Removes a landed package's worktree and branch; gives what stays where something would be lost."""
    done = _remove(project, row)
    return None if isinstance(done, Removed) else _left(project, done)


def clean(project: Project, dry_run: bool) -> Cleaned:
    """Removes what done and cancelled packages left over, and looks at what lies beside it.

    Args:
        dry_run: only tell what would go.
    """
    removed: list[str] = []
    kept: list[Left] = []
    rows = {str(project.worktree(row.feature, row.wp)): row for row in project.ledger.packages()}
    present = _present(project)
    for path, row in sorted(rows.items()):
        if path not in present and not _branch_left(project, row):
            continue
        if row.state not in _OVER:
            kept.append(Left(_shown(project, Path(path)), f"{row.wp} is {row.state}"))
        else:
            done = _would_remove(project, row) if dry_run else _remove(project, row)
            if isinstance(done, Removed):
                removed += [*([_shown(project, Path(path))] if path in present else []), *filter(None, [done.branch])]
            else:
                kept.append(_left(project, done))
    removed += _reviews(project, [row for row in rows.values() if row.state in _OVER], dry_run)
    strangers = sorted(present - set(rows))
    kept += [Left(_shown(project, Path(path)), "it belongs to no work package") for path in strangers]
    return Cleaned(tuple(removed), tuple(kept))


def _reviews(project: Project, rows: Sequence[PackageRow], dry_run: bool) -> list[str]:
    """The logs of agents that reviewed these packages; what they found is kept as evidence."""
    folder = project.state / REVIEWS
    names = {f"{row.feature}-{row.wp}" for row in rows}
    found = (
        sorted(path for path in folder.iterdir() if path.name.rpartition("-")[0] in names) if folder.is_dir() else []
    )
    for path in () if dry_run else found:
        shutil.rmtree(path)
    return [_shown(project, path) for path in found]


def _present(project: Project) -> set[str]:
    """Everything below the worktrees folder, and worktrees of it that git still lists."""
    folder = project.work_tree / project.settings.project.worktrees_dir
    found = {str(child) for child in folder.iterdir()} if folder.is_dir() else set()
    listed = {str(tree.path) for tree in list_worktrees(project.repository)}
    return found | {path for path in listed if Path(path).parent == folder}


def _branch_left(project: Project, row: PackageRow) -> bool:
    return bool(row.branch) and project.branch_tip(row.branch or "") is not None


def _remove(project: Project, row: PackageRow) -> Removed | Kept:
    return remove(
        project.repository, project.control, project.worktree(row.feature, row.wp), _branch(project, row),
        _landed(project, row), excludes=project.user.excludes_file,
    )  # fmt: skip


def _would_remove(project: Project, row: PackageRow) -> Removed | Kept:
    """What :func:`_remove` would give; changes nothing."""
    path, branch = project.worktree(row.feature, row.wp), _branch(project, row)
    kept = hindrance(
        project.repository, project.control, path, branch, _landed(project, row), excludes=project.user.excludes_file
    )
    return kept or Removed(path, branch if _branch_left(project, row) else None)


def _branch(project: Project, row: PackageRow) -> str:
    return row.branch or project.branch_name(row.feature, row.wp)


def _landed(project: Project, row: PackageRow) -> list[str]:
    """Commits whose history is safe."""
    feature = project.ledger.feature(row.feature)
    assert feature is not None
    landed = [project.target_tip(feature.target)]
    # what a squash or rebase landed keeps nothing of the branch's own commits, but everything they said
    if row.state is State.DONE and row.head:
        landed.append(row.head)
    return landed


def _left(project: Project, kept: Kept) -> Left:
    paths = f": {', '.join(kept.paths[:5])}" if kept.paths else ""
    return Left(_shown(project, kept.path), kept.reason + paths)


def _shown(project: Project, path: Path) -> str:
    try:
        return str(path.relative_to(project.work_tree))
    except ValueError:
        return str(path)
