"""Looking through a folder that an agent could fill: iterative, links never followed."""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

#: files that git opens on its own in every folder it looks at
_OPENED_BY_GIT = frozenset({".gitignore", ".gitattributes"})

#: bytes of a file that is read to see whether it has changed, or to keep it; holes cost an agent nothing
LARGEST = 1 << 29


def blocking_files(worktree: Path) -> tuple[str, ...]:
    """Pipes, devices and sockets in places where git opens a file unasked and would wait for ever.

    Returns:
        Paths relative to ``worktree``, sorted. As long as there are any, no git command should look at its files.
    """
    return tuple(
        sorted(
            os.path.relpath(entry.path, worktree)
            for entry in entries(worktree)
            if entry.name.lower() in _OPENED_BY_GIT and not _harmless(entry)
        )
    )


def large_files(worktree: Path, size: int) -> tuple[str, ...]:
    """Files that say that they have more than ``size`` bytes, holes included.

    Returns:
        Paths relative to ``worktree``, sorted.
    """
    return tuple(
        sorted(
            os.path.relpath(entry.path, worktree)
            for entry in entries(worktree)
            if entry.is_file(follow_symlinks=False) and _size(entry) > size
        )
    )


def _size(entry: "os.DirEntry[str]") -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except OSError:
        return 0


def entries(root: Path) -> Iterator["os.DirEntry[str]"]:
    """Everything below ``root``, folders before what is in them; what cannot be read is left out."""
    waiting = [str(root)]
    while waiting:
        try:
            found = os.scandir(waiting.pop())
        except OSError:
            continue
        with found:
            for entry in found:
                yield entry
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)


def open_closed(root: Path) -> None:
    """Lets the owner read every file and folder below ``root`` that is the caller's; others stay as they are."""
    waiting = [str(root)]
    while waiting:
        try:
            found = list(os.scandir(waiting.pop()))
        except OSError:
            continue
        for entry in found:
            folder = entry.is_dir(follow_symlinks=False)
            if folder or entry.is_file(follow_symlinks=False):
                with suppress(OSError):
                    _open(entry, 0o500 if folder else 0o400)
            if folder:
                waiting.append(entry.path)


def _open(entry: "os.DirEntry[str]", wanted: int) -> None:
    mode = stat.S_IMODE(entry.stat(follow_symlinks=False).st_mode)
    if mode & wanted == wanted:
        return
    if os.chmod in os.supports_follow_symlinks:
        os.chmod(entry.path, mode | wanted, follow_symlinks=False)
        return
    # by a handle that is no link, whatever has become of the name meanwhile
    handle = os.open(entry.path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISLNK(os.fstat(handle).st_mode):
            os.chmod(f"/proc/self/fd/{handle}", mode | wanted)
    finally:
        os.close(handle)


def _harmless(entry: "os.DirEntry[str]") -> bool:
    return entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False) or entry.is_symlink()
