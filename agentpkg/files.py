"""Small file operations done right once: atomic writes, locks, bounded reads, removal that never follows links.

Everything takes and gives plain paths and bytes; nothing here knows what the files mean.
"""

import errno
import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agentpkg.core.errors import BadInput, Busy

#: seconds between two looks at a lock somebody else holds
_POLL = 0.02

_READ_CHUNK = 1 << 16


def write_atomic(path: Path, data: bytes | str, mode: int = 0o600, *, sync: bool = False) -> None:
    """Writes a whole file so that readers see the old bytes or the new ones, never a part.

    The bytes go to a file of another name in the same folder, which is then renamed over ``path``; a symbolic link
    at ``path`` is replaced, not followed.

    Args:
        path: the file; its folder must exist.
        data: the content; text is written as UTF-8, lone surrogates as the bytes they stand for.
        mode: the permissions of the new file, whatever the umask is.
        sync: also wait until the file and its name are on the disk.

    Raises:
        OSError: when the disk is full or the folder is missing or closed; the old file is then untouched.
    """
    raw = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name[:40]}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as out:
            os.fchmod(out.fileno(), mode)
            out.write(raw)
            out.flush()
            if sync:
                os.fsync(out.fileno())
        os.replace(temporary, path)
    except BaseException:
        _unlink_quietly(temporary)
        raise
    if sync:
        sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Waits until the names in a folder are on the disk."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def lock(path: Path, timeout: float | None = None, *, shared: bool = False, what: str = "") -> Iterator[int]:
    """Holds an advisory lock (``flock``) on a file for the block.

    The file is made (0600) with the folder it lies in, and stays: removing a lock file would let two holders in.
    Folders above that one are not made: where they are gone, so is what the lock is about.
    The kernel drops the lock with its holder's death. Not re-entrant: a second ``lock`` of the same file in the same
    process waits like any other. Child processes do not inherit it.

    Args:
        path: the lock file.
        timeout: seconds to wait for the lock; 0 tries once; None waits for ever.
        shared: let other shared holders in at the same time.
        what: what the lock guards, for the error's text; the file's name otherwise.

    Yields:
        The open file descriptor.

    Raises:
        Busy: when somebody else still holds it after ``timeout`` seconds.
        FileNotFoundError: when the place is gone.
    """
    path.parent.mkdir(exist_ok=True, mode=0o700)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        _acquire(handle, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, timeout, what or path.name)
        if not shared:
            _sign(handle)
        yield handle
    finally:
        _let_go(handle)


def temporary_folder() -> str:
    """The folder for temporary files, by the environment alone.

    ``tempfile.gettempdir()`` looks by writing, and says that there is none where the disk is full: an error that
    nobody takes for a full disk.
    """
    named = (*(os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP")), "/tmp", "/var/tmp")
    good = (folder for folder in named if folder and os.access(folder, os.W_OK | os.X_OK))
    return next(good, os.curdir)


def is_locked(path: Path) -> bool:
    """Whether somebody holds the lock on a file; a look that makes nothing, and keeps others out for a moment only."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        _let_go(handle)
    return False


@contextmanager
def hold_folder(path: Path) -> Iterator[None]:
    """Holds an advisory lock on a folder itself for the block: for making or exchanging what has a fixed name there."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        _let_go(folder)


def _acquire(handle: int, kind: int, timeout: float | None, what: str) -> None:
    if timeout is None:
        fcntl.flock(handle, kind)
        return
    deadline = time.monotonic() + timeout
    while not _try_lock(handle, kind):
        left = deadline - time.monotonic()
        if left <= 0:
            raise Busy(f"{what} is held by {_holder(handle)}", "wait for it to end, then try again", code="locked")
        time.sleep(min(_POLL, left))


def _let_go(handle: int) -> None:
    """Drops a lock by name: a process that another thread is starting has the descriptor too, until it is a program."""
    try:
        fcntl.flock(handle, fcntl.LOCK_UN)
    finally:
        os.close(handle)


def _sign(handle: int) -> None:
    """Leaves the holder's pid in the lock file, for the words of those who wait."""
    os.pwrite(handle, f"{os.getpid():<12}\n".encode(), 0)


def _holder(handle: int) -> str:
    pid = os.pread(handle, 13, 0).decode("ascii", "replace").strip()
    return f"process {pid}" if pid.isdigit() else "another command"


def _try_lock(handle: int, kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def read_bounded(path: Path, limit: int, *, follow: bool = False) -> bytes:
    """Reads a regular file that somebody else may have made.

    Pipes, devices and folders are refused without being read, so that nothing can make the reader wait.

    Args:
        path: the file.
        limit: the most bytes it may have.
        follow: read through a symbolic link as the last part of the path; off by default.

    Raises:
        BadInput: when it is larger than ``limit`` bytes, not a regular file, or a symbolic link that is not followed.
        OSError: when it is missing or unreadable.
    """
    with open_regular(path, follow=follow) as handle:
        if os.fstat(handle).st_size > limit:
            raise _too_large(path, limit)
        parts: list[bytes] = []
        room = limit + 1
        # the size may grow while it is read, and is 0 for files of /proc
        while room > 0 and (chunk := os.read(handle, min(_READ_CHUNK, room))):
            parts.append(chunk)
            room -= len(chunk)
    if room <= 0:
        raise _too_large(path, limit)
    return b"".join(parts)


@contextmanager
def open_regular(path: Path, *, follow: bool = False) -> Iterator[int]:
    """A read-only descriptor of a regular file, for the block.

    Raises:
        BadInput: when it is not a regular file, or a symbolic link that is not followed.
        OSError: when it is missing or unreadable.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    try:
        handle = os.open(path, flags)
    except OSError as error:
        if error.errno == errno.ELOOP and not follow:
            raise _not_regular(path, "a symbolic link") from error
        raise
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise _not_regular(path, "not a regular file")
        yield handle
    finally:
        os.close(handle)


def stamp(folder: Path) -> tuple[tuple[str, int, int, int], ...]:
    """What tells whether any file below a folder has changed: names, times (ns), sizes and inodes, sorted.

    Links to files are followed, links to folders are not. A folder that is not there is empty.
    """
    found: list[tuple[str, int, int, int]] = []
    for where, folders, names in os.walk(folder):
        folders.sort()
        for name in names:
            path = os.path.join(where, name)
            try:
                seen = os.stat(path)
            except OSError:
                found.append((path, 0, 0, 0))
                continue
            found.append((path, seen.st_mtime_ns, seen.st_size, seen.st_ino))
    return tuple(sorted(found))


def _too_large(path: Path, limit: int) -> BadInput:
    return BadInput(f"{path} is larger than {limit} bytes", "make the file smaller", code="file_too_large")


def _not_regular(path: Path, what: str) -> BadInput:
    return BadInput(f"{path} is {what}", "put a plain file in its place", code="not_a_file")


def remove_tree(path: Path) -> list[Path]:
    """Removes a file, a link or a whole folder, opening closed folders on the way; links are removed, not followed.

    Walks by descriptor and holds only one at a time, so that neither depth (of folders that an agent may have made)
    nor a folder exchanged for a link meanwhile leads astray. What is already gone is no error.

    Returns:
        The paths that could not be removed; empty when nothing is left.
    """
    try:
        parent = os.open(path.parent, _FOLDER & ~os.O_NOFOLLOW)
    except FileNotFoundError:
        return []
    removal = _Removal(parent, path)
    try:
        removal.run()
    finally:
        os.close(removal.here)
    return removal.kept


_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class _Removal:
    """One walk: the folder it stands in (a descriptor) and, for each folder above, the names still to do there."""

    def __init__(self, parent: int, path: Path) -> None:
        self.here = parent
        self.top = path.parent
        self.levels: list[tuple[str, tuple[int, int], list[str]]] = [("", _key(parent), [path.name])]
        self.kept: list[Path] = []

    def run(self) -> None:
        while True:
            _, _, names = self.levels[-1]
            if names:
                self._remove(names.pop())
            elif len(self.levels) == 1 or not self._leave():
                return

    def _remove(self, name: str) -> None:
        try:
            if stat.S_ISDIR(os.lstat(name, dir_fd=self.here).st_mode):
                self._enter(name)
            else:
                os.unlink(name, dir_fd=self.here)
        except FileNotFoundError:
            pass
        except OSError:
            self.kept.append(self._shown(name))

    def _enter(self, name: str) -> None:
        try:
            child = os.open(name, _FOLDER, dir_fd=self.here)
        except PermissionError:
            # a link put here meanwhile would at most have the mode of a file of ours changed
            os.chmod(name, 0o700, dir_fd=self.here)
            child = os.open(name, _FOLDER, dir_fd=self.here)
        try:
            mode = stat.S_IMODE(os.fstat(child).st_mode)
            if mode & 0o700 != 0o700:
                os.fchmod(child, mode | 0o700)
            names = os.listdir(child)
        except OSError:
            os.close(child)
            raise
        os.close(self.here)
        self.here = child
        self.levels.append((name, _key(child), names))

    def _leave(self) -> bool:
        name, _, _ = self.levels.pop()
        above = os.open("..", _FOLDER, dir_fd=self.here)
        os.close(self.here)
        self.here = above
        if _key(above) != self.levels[-1][1]:
            # somebody moved the folder while it was emptied: where it is now is none of our business
            self.kept.append(self._shown(name))
            return False
        try:
            os.rmdir(name, dir_fd=above)
        except FileNotFoundError:
            pass
        except OSError:
            # only the innermost path is named, not every folder above it
            if not any(self._shown(name) in inner.parents for inner in self.kept):
                self.kept.append(self._shown(name))
        return True

    def _shown(self, name: str) -> Path:
        return self.top.joinpath(*(level[0] for level in self.levels[1:]), name)


def _key(folder: int) -> tuple[int, int]:
    facts = os.fstat(folder)
    return facts.st_dev, facts.st_ino


def _unlink_quietly(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
