"""From a folder to the repository it belongs to.

A package worktree's own ``.git`` is written by agentpkg but lies in the agent's reach. So a worktree is mapped to
its repository by what the *repository* (the mark in its admin dir) or the *session* (the back-pointer beside the
private git dir) says about it; its ``.git`` alone is believed only for worktrees that are the user's own.
"""

import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from agentpkg.core.errors import BadInput, Lacking
from agentpkg.files import read_bounded
from agentpkg.git.repo import Git, as_user

#: the oldest git that has ``merge-tree --write-tree``
OLDEST_GIT = (2, 38)

#: file in a worktree's admin dir that says "made by agentpkg" (its content: :mod:`agentpkg.git.worktrees`)
MARK = "agentpkg"

#: file in a session's folder that names the git common dir of its repository
BACK_POINTER = "repository"

_LIMIT = 1 << 16


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository with a work tree, all paths absolute and resolved.

    Attributes:
        work_tree: the *main* work tree, wherever discovery started.
        common_dir: the git common dir, usually ``<work_tree>/.git``.
        state: agentpkg's own folder, ``<common_dir>/agentpkg``; see :meth:`make_state`.
        object_format: ``sha1`` or ``sha256``.
        shallow: True for a shallow clone.
    """

    work_tree: Path
    common_dir: Path
    state: Path
    object_format: str = "sha1"
    shallow: bool = False

    @property
    def git(self) -> Git:
        """Git on the real repository: for refs, worktrees and plumbing that looks at no content."""
        return Git(self.common_dir)

    @property
    def objects(self) -> Path:
        """The repository's object folder."""
        return self.common_dir / "objects"

    def make_state(self) -> Path:
        """Makes the state folder (0700) if it is missing, and gives it."""
        self.state.mkdir(mode=0o700, exist_ok=True)
        return self.state

    def lock_file(self, name: str = "repo") -> Path:
        """The file to lock for changes of worktrees, branches and admission (``repo``), or for another purpose."""
        locks = self.make_state() / "locks"
        locks.mkdir(mode=0o700, exist_ok=True)
        return locks / f"{name}.lock"


def discover(start: Path) -> Repository:
    """The repository that ``start`` lies in: its main work tree, a linked or a package worktree, or a folder below.

    Raises:
        Lacking: no repository, no work tree, a partial clone, an unreadable one, or a git that is too old.
    """
    check_git_version()
    here = Path(os.path.realpath(start))
    found = _nearest(here)
    claimed = _claimed_by_enclosing(here)
    work_tree, common = claimed or _resolve(found)
    return _inspect(work_tree, common)


@cache
def check_git_version() -> tuple[int, ...]:
    """The version of git, as far as its numbers go. Raises :class:`Lacking` when it is too old or missing."""
    said = as_user("version", cwd=Path("/")).text
    numbers = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", said)
    version = tuple(int(n or 0) for n in numbers.groups()) if numbers else ()
    if version < OLDEST_GIT:
        raise Lacking(f"{said} is too old", "install git 2.38 or newer", code="old_git")
    return version


def read_small(path: Path, limit: int = _LIMIT) -> bytes | None:
    """A small regular file's bytes, never through a link or a pipe; None if it is anything else or too big."""
    try:
        return read_bounded(path, limit)
    except (OSError, BadInput):
        return None


def read_path(file: Path) -> Path | None:
    """The path that a one-path file (``gitdir``, ``commondir``, a back-pointer) holds; relative to its folder."""
    data = read_small(file)
    text = os.fsdecode(data).rstrip("\n") if data else ""
    return file.parent / text if text and "\0" not in text else None


def read_gitfile(file: Path) -> Path | None:
    """The git dir that a ``.git`` *file* names, or None if it is no such file."""
    data = read_small(file)
    if data is None or not data.startswith(b"gitdir: ") or b"\0" in data:
        return None
    return file.parent / os.fsdecode(data[8:]).rstrip("\n")


def admin_dirs(common: Path) -> Iterator[Path]:
    """The admin dirs of a repository's linked worktrees, sorted by name."""
    try:
        names = sorted(os.listdir(common / "worktrees"))
    except OSError:
        return
    for name in names:
        yield common / "worktrees" / name


def admin_dir_of(common: Path, worktree: Path) -> Path | None:
    """The admin dir whose ``gitdir`` names ``worktree``, asked of the repository and not of the worktree."""
    wanted = os.path.realpath(worktree)
    likely = common / "worktrees" / os.path.basename(wanted)
    if _is_admin_of(likely, wanted):
        return likely
    return next((admin for admin in admin_dirs(common) if _is_admin_of(admin, wanted)), None)


def _is_admin_of(admin: Path, worktree: str) -> bool:
    named = read_path(admin / "gitdir")
    return named is not None and os.path.realpath(named.parent) == worktree


def _nearest(here: Path) -> Path:
    for folder in (here, *here.parents):
        if os.path.lexists(folder / ".git"):
            return folder
        if _is_git_dir(folder) and ".git" not in folder.parts:
            raise Lacking(
                f"{folder} is a bare repository: it has no work tree",
                "clone it without --bare and work in the clone", code="bare_repository",
            )  # fmt: skip
    raise Lacking(
        f"no git repository at {here} or above", "go to your repository, or make one: git init", code="no_repository"
    )


def _is_git_dir(folder: Path) -> bool:
    return (folder / "HEAD").is_file() and (folder / "objects").is_dir() and (folder / "refs").is_dir()


def _claimed_by_enclosing(here: Path) -> tuple[Path, Path] | None:
    """The outermost repository around ``here`` that made one of the folders on the way as a package worktree."""
    on_the_way = [here, *here.parents]
    for number in range(len(on_the_way) - 1, 0, -1):
        outer = on_the_way[number]
        common = _main_git_dir(outer)
        if common is None or not (common / "worktrees").is_dir():
            continue
        inner = {str(folder) for folder in on_the_way[:number]}
        for admin in admin_dirs(common):
            named = read_path(admin / "gitdir")
            if named is not None and os.path.realpath(named.parent) in inner and (admin / MARK).is_file():
                return outer, common
    return None


def _main_git_dir(folder: Path) -> Path | None:
    """The git dir of a *main* work tree: a ``.git`` folder, or what a ``.git`` file names if it has no commondir."""
    dot_git = folder / ".git"
    named = read_gitfile(dot_git)
    git_dir = Path(os.path.realpath(named if named is not None else dot_git))
    return git_dir if _is_git_dir(git_dir) and not (git_dir / "commondir").exists() else None


def _resolve(work_tree: Path) -> tuple[Path, Path]:
    common = _main_git_dir(work_tree)
    if common is not None:
        return work_tree, common
    named = read_gitfile(work_tree / ".git")
    admin = Path(os.path.realpath(named)) if named is not None else None
    if admin is None or not (admin / "commondir").is_file():
        raise _broken(work_tree, "its .git names no git dir")
    common = _common_of_session(work_tree, admin) or _common_of_admin(work_tree, admin)
    return _main_work_tree(common), common


def _common_of_session(work_tree: Path, admin: Path) -> Path | None:
    """The common dir by a session's back-pointer, if ``admin`` lies in a private git dir."""
    session = admin.parent.parent.parent
    recorded = read_path(session / BACK_POINTER)
    if recorded is None:
        return None
    common = Path(os.path.realpath(recorded))
    if session.parent != common / "agentpkg" / "sessions" or admin_dir_of(common, work_tree) is None:
        raise _broken(work_tree, "its .git names a private git dir that is not of this worktree")
    return common


def _common_of_admin(work_tree: Path, admin: Path) -> Path:
    common = Path(os.path.realpath(read_path(admin / "commondir") or admin))
    back = read_path(admin / "gitdir")
    if back is None or os.path.realpath(back.parent) != str(work_tree) or admin.parent != common / "worktrees":
        raise _broken(work_tree, "the repository it names knows another place for it", "git worktree repair")
    return common


def _main_work_tree(common: Path) -> Path:
    if _main_git_dir(common.parent) == common:
        return common.parent
    named = Git(common).run("config", "--file", str(common / "config"), "-z", "core.worktree", ok=(0, 1)).stdout
    work_tree = Path(os.path.realpath(common / os.fsdecode(named.rstrip(b"\0")))) if named else None
    if work_tree is None or _main_git_dir(work_tree) != common:
        raise Lacking(
            f"the repository {common} has no main work tree that can be found from here",
            "run agentpkg in its main work tree; a bare repository needs a clone that is not bare",
            code="bare_repository",
        )
    return work_tree


def _inspect(work_tree: Path, common: Path) -> Repository:
    """Asks git itself, as the user: is it readable, does it belong to the user, which format."""
    asked = as_user(
        "rev-parse", "--show-object-format", "--is-shallow-repository", "--is-bare-repository", "--git-common-dir",
        cwd=work_tree, ok=(0, 128),
    )  # fmt: skip
    lines = asked.text.split("\n", 3)
    if asked.returncode or len(lines) < 4 or os.path.realpath(work_tree / lines[3]) != str(common):
        raise _unreadable(work_tree, common, asked.stderr)
    if lines[2] == "true":
        raise Lacking(f"{work_tree} is a bare repository", "git config core.bare false", code="bare_repository")
    _refuse_partial_clone(common)
    return Repository(work_tree, common, common / "agentpkg", lines[0], lines[1] == "true")


def _refuse_partial_clone(common: Path) -> None:
    config = read_small(common / "config", 1 << 20)
    if config is None or not re.search(rb"promisor|partialclone", config, re.IGNORECASE):
        return
    keys = r"^(extensions\.partialclone|remote\..*\.promisor)$"
    found = Git(common).run("config", "--file", str(common / "config"), "--get-regexp", keys, ok=(0, 1))
    if any(not line.lower().endswith(" false") for line in found.text.splitlines()):
        raise Lacking(
            f"{common} is a partial clone: objects are missing that only the network has",
            "clone it again without --filter", code="partial_clone",
        )  # fmt: skip


def _unreadable(work_tree: Path, common: Path, said: bytes) -> Lacking:
    owner = min((p for p in (work_tree, common) if os.stat(p).st_uid != os.geteuid()), default=None)
    if owner is not None:
        trust = f"git config --global --add safe.directory {shlex.quote(str(work_tree))}"
        return Lacking(
            f"{owner} belongs to another user, and git does not trust it", f"if you do: {trust}",
            code="foreign_repository",
        )  # fmt: skip
    tail = (said.decode("utf-8", "backslashreplace").strip().splitlines() or ["git reads another one there"])[-1]
    return _broken(work_tree, tail)


def _broken(work_tree: Path, why: str, hint: str = "see what `git status` says there") -> Lacking:
    return Lacking(f"{work_tree} is no repository that git can read: {why}", hint, code="broken_repository")
