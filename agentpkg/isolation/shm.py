"""Names in ``/dev/shm`` that stand for memory of one session: what is behind them is never a file of the real folder.

For :mod:`agentpkg.isolation.deputy`, outside the walls; nothing of agentpkg is imported.
"""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

#: names, and bytes of a path
_MOST, _PATH = 1000, 256
_FOLDER = b"/dev/shm/"


class Question(Protocol):
    """See :class:`agentpkg.isolation.deputy.Question`."""

    args: "list[int]"

    def memory(self, place: int, size: int) -> bytes:
        """What is in its memory."""


def calls() -> "dict[str, Callable[[Question], bool | tuple[int, int] | None]]":
    """What the calls about paths do with those in the folder, by name; with any other path the kernel goes on."""
    names = Names()

    def openat(asked: Question) -> "bool | tuple[int, int]":
        name, flags = _name(asked, 1), asked.args[2]
        return True if name is None else (names.open(name, flags), flags & os.O_CLOEXEC)

    def link(asked: Question, old: int = 0, new: int = 1) -> bool:
        first, second = _name(asked, old), _name(asked, new)
        if first is None or second is None:
            return True
        names.link(first, second)
        return False

    def unlink(asked: Question, at: int = 0) -> bool:
        name = _name(asked, at)
        if name is not None:
            names.unlink(name)
        return name is None

    return {
        "openat": openat, "link": link, "linkat": lambda asked: link(asked, 1, 3),
        "unlink": unlink, "unlinkat": lambda asked: unlink(asked, 1),
    }  # fmt: skip


def _name(asked: Question, argument: int) -> "bytes | None":
    """What a path names below the folder."""
    with suppress(OSError):
        path = asked.memory(asked.args[argument], _PATH).partition(b"\0")[0]
        name = path[len(_FOLDER) :]
        if path.startswith(_FOLDER) and name and b"/" not in name and len(path) < _PATH:
            return name
    return None


class Names:
    """The names there are, as shm_open(3), sem_open(3) and those who write in ``/dev/shm`` themselves use them.

    Each method raises the :class:`OSError` that the kernel would.
    """

    def __init__(self) -> None:
        self._files: dict[bytes, int] = {}

    def open(self, name: bytes, flags: int) -> int:
        """A new descriptor of what the name stands for, made if ``flags`` (open(2)) say so."""
        there = self._files.get(name)
        if there is None:
            if not flags & os.O_CREAT:
                raise OSError(errno.ENOENT, "it is not there")
            self._add(name, os.memfd_create("shm"))
        elif flags & os.O_CREAT and flags & os.O_EXCL:
            raise OSError(errno.EEXIST, "it is there")
        return os.open(f"/proc/self/fd/{self._files[name]}", os.O_RDWR | os.O_CLOEXEC | (flags & os.O_TRUNC))

    def link(self, old: bytes, new: bytes) -> None:
        """A second name."""
        self._require(old)
        if new in self._files:
            raise OSError(errno.EEXIST, "it is there")
        self._add(new, os.dup(self._files[old]))

    def unlink(self, name: bytes) -> None:
        """Gives a name up."""
        self._require(name)
        os.close(self._files.pop(name))

    def _add(self, name: bytes, file: int) -> None:
        if len(self._files) >= _MOST:
            os.close(file)
            raise OSError(errno.ENOSPC, "too many names")
        self._files[name] = file

    def _require(self, name: bytes) -> None:
        if name not in self._files:
            raise OSError(errno.ENOENT, "it is not there")
