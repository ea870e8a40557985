"""Throw-away copies of a candidate, one for each command check.

A copy lies outside the repository, has a ``.git`` of its own at the candidate, shares no file with any other copy, and
is gone when its block ends. Its folder holds a lock for as long as its maker lives; what a killed maker left behind is
found by a lock that nobody holds (:func:`sweep`).

Files that decide how tests run come from the target, unless the package owns them (:mod:`agentpkg.checks.runconfig`).
"""

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from agentpkg import proc
from agentpkg.checks.base import ReviewContext
from agentpkg.checks.tree import Blob
from agentpkg.core.errors import DISK_FULL, Interrupted, Lacking
from agentpkg.files import remove_tree, temporary_folder
from agentpkg.git.repo import Git
from agentpkg.proc import kill_marked

PREFIX = "agentpkg-check-"

#: variable that processes in a copy carry; its value is the name of the copy's folder
MARK = "AGENTPKG_CHECK"

_LOCK = "lock"

#: bytes; a copy that fails where less is free has failed for that
_FULL = 1 << 20

#: seconds for the largest trees
_CHECKOUT = 900.0


@dataclass(frozen=True, slots=True)
class Copy:
    """A copy while it lives.

    Attributes:
        root: the candidate's files.
        temporary: an empty folder beside them, for ``TMPDIR``.
        home: another, for the home where commands get one of their own.
        seen_as: the path that commands know the files by.
    """

    root: Path
    temporary: Path
    home: Path
    seen_as: Path


@dataclass(frozen=True, slots=True)
class Override:
    """A path whose content in the copy is not the candidate's: the target's, or nothing.

    Attributes:
        shown: what the copy gets; None removes it.
        own: what the candidate has; None when it has nothing there.
    """

    path: str
    shown: Blob | None
    own: Blob | None


@contextmanager
def throw_away(
    context: ReviewContext, overrides: Sequence[Override] = (), like: Copy | None = None, *,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[Copy]:  # fmt: skip
    """A fresh copy of the candidate, for the block.

    Args:
        overrides: what comes from the target instead.
        like: a copy to be the same as, home and all, seen under the same path; instead of what the candidate has.
        cancelled: asked several times a second while the copy is made; True gives it up.

    Raises:
        Interrupted: when ``cancelled`` said so.
        Lacking: when there is no room for it, or no place outside the repository.
    """
    parent = place(context.outside)
    with ExitStack() as stack:
        with _errors_for_people(parent):
            folder, handle = _make_folder(parent)
            stack.callback(os.close, handle)
            stack.callback(remove_tree, folder)
            root = folder / "copy"
            copy = Copy(root, folder / "tmp", folder / "home", like.seen_as if like else root)
            copy.temporary.mkdir()
            if like is None:
                copy.home.mkdir()
                _fill(context, copy.root, overrides, cancelled)
            else:
                _clone(like, copy, cancelled)
        yield copy


@contextmanager
def _errors_for_people(parent: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise Lacking(
            f"no copy of the candidate in {parent}: {error.strerror}",
            "make room there, or set TMPDIR to a place that has more", code=DISK_FULL if full else "no_copy",
        ) from error  # fmt: skip


def place(outside: Sequence[Path]) -> Path:
    """The temporary folder that copies are made in: the first of TMPDIR, /tmp, /var/tmp that lies in no ``outside``.

    Raises:
        Lacking: when all of them do.
    """
    barred = [Path(os.path.realpath(path)) for path in outside]
    for name in (temporary_folder(), "/tmp", "/var/tmp"):
        folder = Path(os.path.realpath(name))
        if os.access(folder, os.W_OK | os.X_OK) and not any(folder.is_relative_to(path) for path in barred):
            return folder
    raise Lacking(
        "no temporary folder outside the repository",
        "set TMPDIR to a writable folder that is not in the repository", code="no_copy",
    )  # fmt: skip


def sweep(folder: Path) -> list[Path]:
    """Kills and removes what makers that are dead left of their copies in ``folder``; gives the copies' folders."""
    gone: list[Path] = []
    for found in abandoned(folder):
        kill_marked(f"{MARK}={found.name}")
        remove_tree(found)
        gone.append(found)
    return gone


def abandoned(folder: Path) -> Iterator[Path]:
    """The copies in ``folder`` whose makers are dead; nobody else gets hold of one until the next is asked for."""
    for found in folder.glob(f"{PREFIX}*"):
        try:
            if found.is_symlink() or found.stat().st_uid != os.geteuid():
                continue
            handle = os.open(found / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield found
        except BlockingIOError:
            continue
        finally:
            os.close(handle)


def _make_folder(parent: Path) -> tuple[Path, int]:
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    try:
        return folder, _hold(folder)
    except BaseException:
        remove_tree(folder)
        raise


def _hold(folder: Path) -> int:
    """Makes the lock, held before it has its name: a sweep never sees it free."""
    handle = os.open(folder / "lock.new", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX)
    os.rename(folder / "lock.new", folder / _LOCK)
    return handle


def _fill(context: ReviewContext, root: Path, overrides: Sequence[Override], cancelled: Callable[[], bool]) -> None:
    git_dir = root / ".git"
    _make_git_dir(context, git_dir)
    # measured with 50,000 files and two cores, on an ext4 without a journal that had just lost as many: 18 to 34 s with
    # one worker, 15 with two; no difference in memory
    workers = f"checkout.workers={min(8, max(2, os.cpu_count() or 2))}"
    git = context.control.but(work_tree=root, index=git_dir / "index", config=(*context.control.config, workers))
    git.run("read-tree", context.candidate, timeout=_CHECKOUT)
    _set_entries(git, {item.path: item.shown for item in overrides}, len(context.candidate))
    git.run("checkout-index", "-a", "-u", "-q", timeout=_CHECKOUT, cancelled=cancelled)
    _set_entries(git, {item.path: item.own for item in overrides}, len(context.candidate))
    # the copy's own git then shows no change where the target's version lies
    kept = b"".join(os.fsencode(item.path) + b"\0" for item in overrides if item.own is not None)
    if kept:
        git.run("update-index", "--skip-worktree", "-z", "--stdin", stdin=kept)


def _clone(like: Copy, copy: Copy, cancelled: Callable[[], bool]) -> None:
    for source, to in ((like.root, copy.root), (like.home, copy.home)):
        done = proc.run(
            ["cp", "-a", str(source), str(to)], env={"PATH": os.defpath}, cwd=to.parent, timeout=_CHECKOUT,
            cancelled=cancelled,
        )  # fmt: skip
        if done.cancelled:
            raise Interrupted("the review was stopped while a copy was made", "run it again: agentpkg review")
        if done.exit_code:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
            number = errno.ENOSPC if shutil.disk_usage(to.parent).free < _FULL else 0
            raise OSError(number, said[0] if said else "cp failed")


def _set_entries(git: Git, entries: Mapping[str, Blob | None], length: int) -> None:
    if not entries:
        return
    none = "0" * length
    lines = b"".join(
        (f"0 {none}" if blob is None else f"{blob.mode} {blob.oid}").encode() + b"\t" + os.fsencode(path) + b"\0"
        for path, blob in entries.items()
    )
    git.run("update-index", "-z", "--index-info", stdin=lines)


def _make_git_dir(context: ReviewContext, git_dir: Path) -> None:
    """A git dir by hand: HEAD at the candidate, objects borrowed from the control dir, nobody's settings."""
    for folder in ("objects/info", "objects/pack", "refs/heads", "refs/tags", "info"):
        (git_dir / folder).mkdir(parents=True)
    sha256 = len(context.candidate) == 64
    settings = f"[core]\n\trepositoryformatversion = {int(sha256)}\n\tbare = false\n\tlogAllRefUpdates = false\n"
    extension = "[extensions]\n\tobjectFormat = sha256\n" if sha256 else ""
    (git_dir / "config").write_text(settings + extension)
    (git_dir / "HEAD").write_text(context.candidate + "\n")
    (git_dir / "objects/info/alternates").write_bytes(os.fsencode(context.control.git_dir / "objects") + b"\n")
    refs = {**context.refs, f"refs/heads/{context.target}": context.base}
    lines = [f"{oid} {name}\n" for name, oid in sorted(refs.items())]
    (git_dir / "packed-refs").write_text("# pack-refs with: sorted \n" + "".join(lines))
    shallow = context.control.git_dir / "shallow"
    if shallow.is_file():
        (git_dir / "shallow").write_bytes(shallow.read_bytes())
