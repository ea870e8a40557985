"""Package worktrees: made and looked at; never re-targeted.

A worktree is a real ``git worktree`` whose files are written through the control dir, so that no hook, filter or
configuration of the repository runs. Refs and admin dirs change under the repository's lock; writing the files, which
takes long in a large repository, does not hold it.
"""

import hashlib
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from agentpkg.core.errors import NotAllowed
from agentpkg.files import lock, remove_tree, write_atomic
from agentpkg.git import refs
from agentpkg.git.discover import MARK, Repository, admin_dir_of, admin_dirs, read_path
from agentpkg.git.index import SCAN_SECONDS, load_index
from agentpkg.git.marks import Mark, read_mark, write_mark
from agentpkg.git.repo import Git, GitFailed, NoRoom
from agentpkg.git.walk import blocking_files

#: seconds to wait for another command that changes worktrees or branches
LOCK_SECONDS = 60.0


#: git writes files with as many processes as there are cores, where there are more than a hundred
_ALL_CORES = "checkout.workers=0"


@dataclass(frozen=True, slots=True)
class Worktree:
    """One line of ``git worktree list``.

    Attributes:
        branch: full ref name, None when HEAD is detached or the repository is bare.
        head: commit id, None when there is none.
        locked: the reason it is locked for, ``""`` without one; None when it is not locked.
    """

    path: Path
    head: str | None = None
    branch: str | None = None
    bare: bool = False
    locked: str | None = None
    prunable: bool = False


@dataclass(frozen=True, slots=True)
class Changes:
    """What in a worktree differs from a commit; paths relative to it, sorted; a whole new folder ends in ``/``."""

    tracked: tuple[str, ...] = ()
    untracked: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.tracked or self.untracked)


def create(repo: Repository, control: Git, path: Path, branch: str, base: str, start: str | None = None) -> Path:
    """Makes the worktree ``path`` on ``branch``, or takes up the one that is there; gives its admin dir.

    A branch that exists is continued. What an interrupted call left half made is made anew. A worktree that a fallen
    session had must have been given back first (:func:`agentpkg.git.private.leave`).

    Args:
        path: absolute; the folder must not exist, be empty, or be this very worktree.
        branch: the name without ``refs/heads/``.
        base: commit id where a new branch begins.
        start: commit id where it begins instead, when the branch is gone but its tip is known.

    Raises:
        NotAllowed: something of the user's is in the way: the folder, the branch in another worktree, a ref name.
        Busy: another command held the lock for a minute.
    """
    with hold(repo, path):
        with refs_lock(repo):
            admin = _take_up(repo, path, branch)
            if admin is not None:
                return admin
            head = _begin_branch(repo, branch, start or base)
            admin = _add(repo, path, branch)
        _fill(control, admin, path, head)
        write_mark(admin, Mark(branch, made=True))
    return admin


def require_free(repo: Repository, path: Path, branch: str) -> None:
    """Raises :class:`NotAllowed` where :func:`create` would find something of the user's in the way; makes nothing."""
    admin = admin_dir_of(repo.common_dir, path)
    if admin is None:
        _require_room(path)
    elif not _half_made(admin, path):
        _require_branch(admin, path, branch)
    for other in list_worktrees(repo):
        if other.branch == f"refs/heads/{branch}" and other.path.exists() and not _same(other.path, path):
            raise _checked_out(branch, other.path)


def head_of(admin: Path) -> str | None:
    """The full ref name that HEAD of a worktree is at, None when it is detached; ``admin`` is its admin dir."""
    return Git(admin).run("symbolic-ref", "-q", "HEAD", ok=(0, 1)).text or None


def list_worktrees(repo: Repository) -> list[Worktree]:
    """All worktrees git knows, the main one first (``git worktree list --porcelain -z``)."""
    listed = repo.git.run("worktree", "list", "--porcelain", "-z").stdout
    main, *linked = [_worktree(block) for block in listed.split(b"\0\0") if block]
    # git guesses the main one's place from the git dir's, which is wrong where that lies elsewhere
    return [replace(main, path=repo.work_tree), *linked]


def changes(
    control: Git, worktree: Path, head: str, *, index: Path | None = None, provided: Sequence[str] = (),
    excludes: Path | None = None,
) -> Changes:  # fmt: skip
    """What differs between a worktree and ``head``, looked at through the control dir; changes nothing.

    Args:
        index: an index file to start from, for what it knows of unchanged files.
        provided: paths that agentpkg put there itself; not reported as untracked.
        excludes: the user's own ignore file, honoured beside ``.gitignore`` and ``info/exclude``.

    Returns:
        The changes. A pipe where git would wait for ever counts as the only, tracked one; a tracked file of more than
        :data:`agentpkg.git.walk.LARGEST` bytes, and not as many as its blob has, is changed without being read.
    """
    blocking = blocking_files(worktree)
    if blocking:
        return Changes(tracked=blocking)
    draft = control.git_dir / f"index.{secrets.token_hex(8)}"
    try:
        loaded = load_index(control, draft, index, worktree, head)
        differing = ("diff-files", "--name-only", "-z", "--ignore-submodules=all", "--", *loaded.paths)
        tracked = tuple(sorted((*_names(loaded.selecting, *differing), *loaded.grown)))
        own = (f"core.excludesFile={excludes}",) if excludes is not None else ()
        git = loaded.git.but(config=(*loaded.git.config, *own))
        ignoring = ("ls-files", "-z", "--others", "--exclude-standard", "--directory", "--no-empty-directory")
        untracked = set(_names(git, *ignoring)) - {name + end for name in provided for end in ("", "/")}
        return Changes(tracked, tuple(sorted(untracked)))
    finally:
        draft.unlink(missing_ok=True)


def ensure_excluded(repo: Repository, pattern: str) -> bool:
    """Puts an ignore pattern into ``info/exclude``, once; what is there stays. Gives whether it was missing."""
    with refs_lock(repo):
        if is_excluded(repo, pattern):
            return False
        file = _exclude_file(repo)
        before = file.read_bytes() if file.exists() else b""
        file.parent.mkdir(exist_ok=True)
        gap = b"" if before.endswith(b"\n") or not before else b"\n"
        # the user's own lines are in it
        write_atomic(file, before + gap + os.fsencode(pattern) + b"\n", mode=0o644, sync=True)
    return True


def is_excluded(repo: Repository, pattern: str) -> bool:
    """Whether an ignore pattern stands in ``info/exclude``."""
    file = _exclude_file(repo)
    return file.exists() and os.fsencode(pattern) in file.read_bytes().splitlines()


def _exclude_file(repo: Repository) -> Path:
    return Path(os.path.realpath(repo.common_dir / "info" / "exclude"))


def vanished(repo: Repository) -> list[Path]:
    """Worktrees of packages that git lists, and whose folders were deleted by hand."""
    found = []
    for admin in admin_dirs(repo.common_dir):
        named = read_path(admin / "gitdir")
        if named is not None and (admin / MARK).is_file() and not (admin / "locked").exists():
            found += [] if os.path.lexists(named.parent) else [named.parent]
    return found


def record_provided(repo: Repository, worktree: Path, paths: Sequence[str]) -> None:
    """Remembers paths that ``worktree.copy`` and ``worktree.link`` put into a worktree."""
    admin = admin_dir_of(repo.common_dir, worktree)
    mark = read_mark(admin) if admin is not None else None
    if admin is not None and mark is not None:
        write_mark(admin, replace(mark, provided=tuple(sorted({*mark.provided, *paths}))))


def provided(repo: Repository, worktree: Path) -> tuple[str, ...]:
    """The paths that :func:`record_provided` was told of."""
    admin = admin_dir_of(repo.common_dir, worktree)
    mark = read_mark(admin) if admin is not None else None
    return mark.provided if mark is not None else ()


# --------------------------------------------------------------------------- locks


@contextmanager
def hold(repo: Repository, path: Path) -> Iterator[None]:
    """Holds the lock for making, removing and filling the worktree at a path; not re-entrant."""
    name = "worktree-" + hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    with lock(repo.lock_file(name), LOCK_SECONDS, what=f"the worktree {path}"):
        yield


@contextmanager
def refs_lock(repo: Repository) -> Iterator[None]:
    """Holds the lock for changes of worktrees and branches; not re-entrant."""
    with lock(repo.lock_file(), LOCK_SECONDS, what="the repository's worktrees and branches"):
        yield


# --------------------------------------------------------------------------- making


def _take_up(repo: Repository, path: Path, branch: str) -> Path | None:
    """The admin dir of a complete worktree at ``path``; otherwise makes room for a new one."""
    admin = admin_dir_of(repo.common_dir, path)
    if admin is None:
        _require_room(path)
        return None
    if _half_made(admin, path):
        remove_tree(path)
        drop_admin(repo, path)
        return None
    _require_branch(admin, path, branch)
    write_mark(admin, replace(read_mark(admin) or Mark(branch), branch=branch, made=True))
    return admin


def _require_branch(admin: Path, path: Path, branch: str) -> None:
    head = head_of(admin)
    if head != f"refs/heads/{branch}":
        raise NotAllowed(
            f"{path} has {head or 'a detached HEAD'} checked out, not {branch}",
            f"git -C {path} switch {branch}", code="other_branch",
        )  # fmt: skip


def _half_made(admin: Path, path: Path) -> bool:
    mark = read_mark(admin)
    if not path.is_dir():
        return True
    return not mark.made if mark is not None else not (admin / "index").exists() and os.listdir(path) == [".git"]


def _free_branch(repo: Repository, branch: str) -> None:
    """Drops what is known of vanished worktrees that had the branch; refuses where one still has it."""
    for other in list_worktrees(repo):
        if other.branch != f"refs/heads/{branch}":
            continue
        if other.path.exists():
            raise _checked_out(branch, other.path)
        drop_admin(repo, other.path)


def _checked_out(branch: str, at: Path) -> NotAllowed:
    return NotAllowed(
        f"the branch {branch} is checked out at {at}", "switch to another branch there", code="branch_checked_out"
    )


def _same(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _require_room(path: Path) -> None:
    if path.is_symlink() or (os.path.lexists(path) and not (path.is_dir() and not os.listdir(path))):
        raise NotAllowed(
            f"{path} is in the way: it is no worktree of this repository",
            "move it elsewhere; nothing of it was touched", code="path_in_the_way",
        )  # fmt: skip


def drop_admin(repo: Repository, path: Path) -> None:
    """Removes the admin dir of a worktree whose folder is gone; the caller holds :func:`refs_lock`."""
    repo.git.run("worktree", "remove", "--force", "--force", str(path))


def _begin_branch(repo: Repository, branch: str, start: str) -> str:
    """The tip of the branch, which is made at ``start`` if there is none; without upstream configuration."""
    try:
        zero = "0" * len(start)
        repo.git.run("update-ref", "-m", "agentpkg: new package", f"refs/heads/{branch}", start, zero)
    except NoRoom:
        raise
    except GitFailed as error:
        tip = refs.branch_tip(repo.git, branch)
        if tip is None:
            raise NotAllowed(
                f"the branch {branch} cannot be made: {error.message}",
                "if a branch is in the way whose name is a part of it, rename that or set project.branch_prefix",
                code="branch_in_the_way",
            ) from error
        return tip
    return start


def _add(repo: Repository, path: Path, branch: str) -> Path:
    command = ("worktree", "add", "-q", "--no-checkout", "--", str(path), branch)
    try:
        repo.git.run(*command)
    except GitFailed:
        _free_branch(repo, branch)
        repo.git.run(*command)
    admin = admin_dir_of(repo.common_dir, path)
    if admin is None:
        raise FileNotFoundError(path / ".git")
    write_mark(admin, Mark(branch))
    return admin


def _fill(control: Git, admin: Path, path: Path, head: str) -> None:
    """Writes the files through the control dir, in one process, with an index that knows them all."""
    git = control.but(work_tree=path, index=admin / "index", config=(*control.config, _ALL_CORES))
    git.run("read-tree", "-m", "-u", head, timeout=SCAN_SECONDS)


# --------------------------------------------------------------------------- reading


def _worktree(block: bytes) -> Worktree:
    said = dict(os.fsdecode(line).partition(" ")[::2] for line in block.split(b"\0") if line)
    return Worktree(
        path=Path(said["worktree"]), head=said.get("HEAD"), branch=said.get("branch"), bare="bare" in said,
        locked=said.get("locked"), prunable="prunable" in said,
    )  # fmt: skip


def _names(git: Git, *args: str) -> tuple[str, ...]:
    found = git.run(*args, ok=(0, 1), timeout=SCAN_SECONDS).stdout
    return tuple(sorted(os.fsdecode(name) for name in found.split(b"\0") if name))
