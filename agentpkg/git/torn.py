"""What a power cut has emptied of the files by which git knows packages' worktrees and branches.

Git makes the files of a worktree's admin dir without waiting for the disk. One that is empty afterwards keeps git from
working there; an empty ``commondir`` keeps it from listing any worktree, the user's own git too. What such a file said
is known, so it is written again; an empty ref, of which that is known too, likewise.
"""

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agentpkg.files import write_atomic
from agentpkg.git.audit import PREFIX
from agentpkg.git.discover import MARK, Repository, admin_dirs
from agentpkg.git.marks import Mark, read_mark, write_mark
from agentpkg.git.private import rebuild_index
from agentpkg.git.repo import Git, GitFailed
from agentpkg.git.worktrees import refs_lock

_INDEX = "index"
_WRITTEN = ("gitdir", "commondir", "HEAD")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a package works, as it has to be.

    Attributes:
        worktree: its folder.
        branch: its branch, without ``refs/heads/``.
        tip: the commit that the branch is known to be at.
        at_work: a session works there, whose end makes the index anew.
    """

    worktree: Path
    branch: str
    tip: str
    at_work: bool


def torn(repo: Repository, branches: Iterable[str] = ()) -> list[Path]:
    """Files of packages' worktrees, refs of their branches and anchors that are empty; a few looks at each.

    Args:
        branches: further ones; those of worktrees are known from their marks.
    """
    admins = [admin for admin in admin_dirs(repo.common_dir) if (admin / MARK).is_file()]
    marks = [mark for admin in admins if (mark := read_mark(admin)) is not None]
    files = [admin / name for admin in admins for name in (*_WRITTEN, MARK, _INDEX)]
    refs = [repo.common_dir / "refs" / "heads" / name for name in {*branches, *(mark.branch for mark in marks)}]
    return [path for path in (*refs, *_anchors(repo), *files) if _is_empty(path)]


def mend(repo: Repository, control: Git, places: Mapping[str, Place]) -> list[str]:
    """Makes again what :func:`torn` finds; gives what was done, one sentence each.

    An anchor is only removed: its chain is in the ledger, from which the relay makes it again.

    Args:
        places: the packages' places by the names of their worktrees; what belongs to none of them is left.
    """
    with refs_lock(repo):
        # looked at again: nobody is just making one of them now
        found = torn(repo, (place.branch for place in places.values()))
        done = [path for path in found if _mend(repo, control, path, places)]
    return [f"{path.relative_to(repo.common_dir)} was empty, as after a power cut, and was made again" for path in done]


def _mend(repo: Repository, control: Git, path: Path, places: Mapping[str, Place]) -> bool:
    if repo.common_dir / PREFIX == path.parent:
        path.unlink()
        return True
    name = path.parent.name
    heads = repo.common_dir / "refs" / "heads"
    place = next((one for one in places.values() if heads / one.branch == path), None) or places.get(name)
    if place is None:
        return False
    if heads in path.parents:
        return _mend_branch(repo, path, place)
    return _mend_file(control, path, place)


def _mend_branch(repo: Repository, path: Path, place: Place) -> bool:
    path.unlink()
    # a commit that was lost too leaves nothing to point at
    with suppress(GitFailed):
        zero = "0" * len(place.tip)
        repo.git.run("update-ref", "-m", "agentpkg: mended", f"refs/heads/{place.branch}", place.tip, zero)
    return True


def _mend_file(control: Git, path: Path, place: Place) -> bool:
    if path.name == MARK:
        write_mark(path.parent, Mark(place.branch, made=True))
    elif path.name != _INDEX:
        write_atomic(path, _content(path.name, place), mode=stat.S_IMODE(path.stat().st_mode))
    elif place.at_work:
        return False
    else:
        path.unlink()
        rebuild_index(control, path.parent, place.worktree, place.tip)
    return True


def _content(name: str, place: Place) -> bytes:
    if name == "commondir":
        return b"../..\n"
    if name == "gitdir":
        return os.fsencode(os.path.realpath(place.worktree)) + b"/.git\n"
    return os.fsencode(f"ref: refs/heads/{place.branch}\n")


def _anchors(repo: Repository) -> Iterator[Path]:
    folder = repo.common_dir / PREFIX
    return folder.iterdir() if folder.is_dir() else iter(())


def _is_empty(path: Path) -> bool:
    try:
        seen = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(seen.st_mode) and seen.st_size == 0
