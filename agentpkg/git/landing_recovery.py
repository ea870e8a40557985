"""Finishing or undoing a landing that was cut short: by a crash, a full disk, a power loss.

The target's ref decides. If it moved, the landing has happened, and what is left is to give each checkout its index.
If it did not, the files that were moved go back. Only bytes that are the candidate's, or a beginning of them, are
ever replaced: what the user wrote since stays.
"""

import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agentpkg.git import refs
from agentpkg.git.checkouts import Checkout, folders_above, view
from agentpkg.git.diff import Change, changed_paths
from agentpkg.git.discover import Repository
from agentpkg.git.landing_journal import Journal, journals, stamp
from agentpkg.git.repo import Git

#: seconds to wait for a git process that outlived the landing that started it
_ORPHAN_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Recovered:
    """One landing that was cut short.

    Attributes:
        how: ``finished`` (the target is at ``new``), ``undone`` (it is at ``old``), or ``left``: the target is
            elsewhere by now, and nothing but our own locks was touched.
        kept: paths that were left as they are, because they are neither the old nor the new version.
    """

    ref: str
    old: str
    new: str
    how: Literal["finished", "undone", "left"]
    kept: tuple[str, ...] = ()


def recover(repo: Repository, control: Git) -> list[Recovered]:
    """Finishes or undoes what landings left behind; cheap when there is nothing.

    The caller holds the lock ``landing``.
    """
    if not (repo.state / "landing").is_dir():
        return []
    return [settle(repo, control, journal) for journal in journals(repo)]


def settle(repo: Repository, control: Git, journal: Journal) -> Recovered:
    """Finishes or undoes one landing, by what its ref says, and closes its journal."""
    if not journal.file.exists():
        return Recovered(journal.ref, journal.old, journal.new, "left")
    _wait_for_orphans(control)
    tip = refs.tip(repo.git, journal.ref)
    here = [c for c in journal.checkouts if c.work_tree.is_dir() and c.admin.is_dir()]
    how: Literal["finished", "undone", "left"] = "left"
    kept: list[str] = []
    if tip == journal.new:
        how = "finished"
        for checkout in here:
            _finish(repo, control, journal, checkout)
    elif tip == journal.old:
        how = "undone"
        changes = changed_paths(control, journal.old, journal.new, sizes=False)
        for checkout in here:
            kept += put_back(repo, control, journal, checkout, changes)
    journal.close()
    _sweep(control)
    return Recovered(journal.ref, journal.old, journal.new, how, tuple(sorted(kept)))


def _finish(repo: Repository, control: Git, journal: Journal, checkout: Checkout) -> None:
    """The files are there already: moves the index alone, keeping what the user has staged."""
    with view(control, repo, checkout) as git:
        if git.run("read-tree", "-m", "-i", journal.old, journal.new, ok=(0, 1, 128)).returncode:
            return
        git.run("update-index", "-q", "--refresh", ok=(0, 1))
        # a lock that is gone or another's: somebody has decided for themselves
        if journal.holds(checkout) and git.index is not None:
            os.replace(git.index, checkout.index)


def put_back(
    repo: Repository, control: Git, journal: Journal, checkout: Checkout, changes: Sequence[Change]
) -> list[str]:
    """Gives changed paths their old content back, where what is there is the new one's or a beginning of it.

    Paths that look as they did before the landing, by inode, time and size, are the user's and stay.

    Returns:
        Paths that are neither the old nor the new version, left as they are.
    """
    seen = journal.seen.get(str(checkout.work_tree), {})
    touched = [c for c in changes if stamp(checkout.work_tree / c.path) != seen.get(c.path)]
    if not touched:
        return []
    with (
        _written(control, checkout, journal.old, touched) as before,
        _written(control, checkout, journal.new, touched) as after,
    ):
        # what came goes first, to make room: a folder may have taken the place of a file
        ordered = sorted(touched, key=lambda c: (c.status != "A", c.path))
        kept = [c.path for c in ordered if not _restore(checkout.work_tree, c.path, before, after)]
    with view(control, repo, checkout) as git:
        git.run("update-index", "-q", "--refresh", ok=(0, 1))
        if journal.holds(checkout) and git.index is not None and git.index.exists():
            os.replace(git.index, checkout.index)
    return kept


def _restore(root: Path, path: str, before: Path, after: Path) -> bool:
    here = root / path
    if _same(here, before / path):
        return True
    if any((root / above).is_symlink() for above in folders_above(path)):
        return False
    if not (_same(here, after / path) or _is_beginning(here, after / path)):
        return False
    return _replace(here, before / path, root)


@contextmanager
def _written(control: Git, checkout: Checkout, commit: str, changes: Sequence[Change]) -> Iterator[Path]:
    """The changed paths of ``commit``, written aside as a checkout would write them."""
    folder = control.git_dir.parent / f"control.view.{secrets.token_hex(8)}"
    folder.mkdir(mode=0o700)
    try:
        git = control.but(work_tree=checkout.work_tree, index=folder / "index")
        git.run("read-tree", commit)
        there = set(git.run("ls-files", "-z").stdout.split(b"\0"))
        names = [os.fsencode(c.path) for c in changes]
        wanted = b"".join(name + b"\0" for name in names if name in there)
        git.run("checkout-index", "-q", "-z", "--stdin", f"--prefix={folder}/files/", stdin=wanted)
        yield folder / "files"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _same(one: Path, other: Path) -> bool:
    return _look(one) == _look(other)


def _look(path: Path) -> tuple[str, bytes]:
    """What is at a path, as far as git would store it there: kind and bytes. A folder is stored elsewhere."""
    if path.is_symlink():
        return "link", os.fsencode(os.readlink(path))
    if path.is_file():
        return ("program" if os.access(path, os.X_OK) else "file"), path.read_bytes()
    return ("other" if path.exists() and not path.is_dir() else "none"), b""


def _is_beginning(here: Path, after: Path) -> bool:
    """Whether git was interrupted on the way to ``after``: the old file already gone, the new one not complete."""
    kind, data = _look(here)
    return kind == "none" or (kind in ("file", "program") and after.is_file() and after.read_bytes().startswith(data))


def _replace(here: Path, before: Path, root: Path) -> bool:
    """Puts what was before in place; False when a folder with something of the user's is there now."""
    if here.is_dir() and not here.is_symlink():
        try:
            here.rmdir()
        except OSError:
            return False
    elif os.path.lexists(here):
        here.unlink()
    if not os.path.lexists(before) or (before.is_dir() and not before.is_symlink()):
        _remove_empty_folders(here.parent, root)
        return True
    here.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(before, here, follow_symlinks=False)
    return True


def _remove_empty_folders(folder: Path, root: Path) -> None:
    while folder != root:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent


def _wait_for_orphans(control: Git) -> None:
    """Waits until no git process holds the lock of a copied index: one may still be writing files."""
    deadline = time.monotonic() + _ORPHAN_SECONDS
    while any(control.git_dir.parent.glob("control.view.*/index.lock")) and time.monotonic() < deadline:
        time.sleep(0.05)


def _sweep(control: Git) -> None:
    for folder in control.git_dir.parent.glob("control.view.*"):
        shutil.rmtree(folder, ignore_errors=True)
