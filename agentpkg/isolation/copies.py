"""Small files of the system that a sandbox gets as copies: each mount takes longer than all of them together."""

import os
import stat
from collections.abc import Iterator

#: bytes of a file, and things in a folder, that are rather copied than mounted
_LARGEST, _MOST = 512 << 10, 6


def copies(path: str) -> "list[tuple[str, str | bytes]] | None":
    """What a path holds: a link's target or a file's content, by place; None for what is not small or not readable."""
    try:
        found = list(_below(path, os.stat(path).st_mode))
    except (OSError, _TooMuch):
        return None
    return found if len(found) <= _MOST else None


class _TooMuch(Exception):
    pass


def _below(path: str, mode: int) -> Iterator[tuple[str, str | bytes]]:
    if stat.S_ISREG(mode):
        yield path, _content(path)
        return
    if not stat.S_ISDIR(mode):
        raise _TooMuch(path)
    names = os.listdir(path)
    # an empty folder is nothing that could be copied
    if not 0 < len(names) <= _MOST:
        raise _TooMuch(path)
    for inner in (os.path.join(path, name) for name in names):
        if os.path.islink(inner):
            yield inner, os.readlink(inner)
        else:
            yield from _below(inner, os.stat(inner).st_mode)


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        data = file.read(_LARGEST + 1)
    if len(data) > _LARGEST:
        raise _TooMuch(path)
    return data


def sealed(data: bytes) -> int:
    """A descriptor of a file in memory that holds these bytes, at its beginning."""
    handle = os.memfd_create("copy")
    os.write(handle, data)
    os.lseek(handle, 0, os.SEEK_SET)
    return handle
