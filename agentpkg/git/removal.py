"""Removing package worktrees and branches, unless something in them would be lost."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agentpkg.files import remove_tree
from agentpkg.git import refs
from agentpkg.git.discover import Repository, admin_dir_of, read_gitfile, read_small
from agentpkg.git.repo import Git
from agentpkg.git.worktrees import (
    changes,
    drop_admin,
    head_of,
    hold,
    list_worktrees,
    provided,
    refs_lock,
)

#: where ``--fresh`` keeps the tips it leaves behind
ABANDONED = "refs/agentpkg/abandoned"


@dataclass(frozen=True, slots=True)
class Removed:
    """A worktree that is gone; ``branch`` is the deleted branch's name, None if there was none."""

    path: Path
    branch: str | None


@dataclass(frozen=True, slots=True)
class Kept:
    """A worktree that stays, because of ``reason``; ``paths`` says what would have been lost."""

    path: Path
    reason: str
    paths: tuple[str, ...] = ()


def remove(
    repo: Repository, control: Git, path: Path, branch: str, landed: Sequence[str] = (), *,
    excludes: Path | None = None, force: bool = False,
) -> Removed | Kept:  # fmt: skip
    """Removes a worktree and its branch, unless something in them would be lost. May be repeated.

    Args:
        landed: commit ids that keep their history: the branch goes only if its tip is reachable from one of them
            (the target's tip; with squash and rebase also the branch's tip that landed).
        excludes: the user's own ignore file.
        force: remove it in spite of changes and commits; a running session and a lock still keep it.
    """
    with hold(repo, path):
        kept = hindrance(repo, control, path, branch, landed, excludes=excludes, force=force)
        return kept or _remove(repo, path, branch)


def _remove(repo: Repository, path: Path, branch: str) -> Removed | Kept:
    admin, tip = admin_dir_of(repo.common_dir, path), refs.branch_tip(repo.git, branch)
    left = remove_tree(path)
    if left:
        return Kept(path, "these could not be removed", tuple(map(str, left)))
    with refs_lock(repo):
        if admin is not None:
            drop_admin(repo, path)
        deleted = tip is not None and _delete_branch(repo, branch, tip)
    return Removed(path, branch if deleted else None)


def hindrance(
    repo: Repository, control: Git, path: Path, branch: str, landed: Sequence[str] = (), *,
    excludes: Path | None = None, force: bool = False,
) -> Kept | None:  # fmt: skip
    """Why :func:`remove` would keep a worktree, None if it would not; changes nothing."""
    admin = admin_dir_of(repo.common_dir, path)
    kept = _in_use(path, admin)
    if kept is not None or force:
        return kept
    tip = refs.branch_tip(repo.git, branch)
    return _changed(repo, control, path, admin, branch, tip, excludes) or _unlanded(repo, path, branch, tip, landed)


def _in_use(path: Path, admin: Path | None) -> Kept | None:
    if admin is None:
        return Kept(path, "it is no worktree of this repository") if os.path.lexists(path) else None
    locked = read_small(admin / "locked")
    if locked is not None:
        return Kept(path, f"it is locked: {os.fsdecode(locked).strip()}".rstrip(": "))
    if not os.path.lexists(path):
        return None
    if path.is_symlink() or not path.is_dir():
        return Kept(path, "it is no folder any more")
    named = read_gitfile(path / ".git")
    if named is None or os.path.realpath(named) != str(admin):
        return Kept(path, "a session has it, or did not give it back")
    return None


def _changed(
    repo: Repository, control: Git, path: Path, admin: Path | None, branch: str, tip: str | None,
    excludes: Path | None,
) -> Kept | None:  # fmt: skip
    if admin is None or not path.is_dir():
        return None
    if tip is None or head_of(admin) != f"refs/heads/{branch}":
        return Kept(path, f"its HEAD is not the branch {branch}")
    known = provided(repo, path)
    found = changes(control, path, tip, index=admin / "index", provided=known, excludes=excludes)
    return Kept(path, "it has changes that are not committed", found.tracked + found.untracked) if found else None


def _unlanded(repo: Repository, path: Path, branch: str, tip: str | None, landed: Sequence[str]) -> Kept | None:
    if tip is None or tip in landed:
        return None
    ancestor = ("merge-base", "--is-ancestor", "--end-of-options", tip)
    if any(repo.git.run(*ancestor, commit, ok=(0, 1)).returncode == 0 for commit in landed):
        return None
    return Kept(path, f"{branch} has commits that have not landed", (tip,))


def _checked_out_at(repo: Repository, branch: str) -> Path | None:
    ref = f"refs/heads/{branch}"
    return next((other.path for other in list_worktrees(repo) if other.branch == ref and other.path.exists()), None)


def _delete_branch(repo: Repository, branch: str, tip: str) -> bool:
    """Deletes the branch if it is still at the tip that was looked at, and no other worktree has it."""
    if _checked_out_at(repo, branch) is not None or refs.branch_tip(repo.git, branch) != tip:
        return False
    repo.git.run("update-ref", "-d", "--no-deref", f"refs/heads/{branch}", tip)
    return True
