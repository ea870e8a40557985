"""What an agent's program wrote down of its conversation in a home of the session's own, kept for the next session.

Without it the program could not go on: that home is gone with its session. The agent could write there what it liked,
so no link is followed, secret values are taken out, and what is kept only comes into the home of the same agent's next
session of the same package.
"""

import fnmatch
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from agentpkg.engine.supervising.conversation import KEPT, of
from agentpkg.files import write_atomic
from agentpkg.isolation.inner import in_home, require_plain
from agentpkg.secrets.redact import Redactor

#: files of a conversation, and their bytes together
_MOST, _LARGEST = 8, 64 << 20

#: a conversation's id that may stand in a pattern
_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{7,127}")

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def keep(folder: Path, patterns: Sequence[str], redactor: Redactor) -> None:
    """Keeps the files of a session's conversation in its folder; nothing where they are not there, or too large.

    Args:
        folder: of the session.
        patterns: see :attr:`agentpkg.harnesses.base.Launch.conversations`.
    """
    told, home = of(folder), folder / "home"
    if told is None or not _ID.fullmatch(told.id) or not home.is_dir():
        return
    left = _LARGEST
    for pattern in patterns:
        parts = in_home(pattern, os.path.expanduser("~")).replace("{conversation}", told.id).split(os.sep)
        for number, (name, data) in enumerate(_matching(home, parts)):
            left -= len(data)
            if left < 0 or number >= _MOST:
                return
            target = folder / KEPT / name
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomic(target, redactor.redact(data.decode("utf-8", "replace")))


def put_back(kept: Path, home: Path) -> None:
    """Puts what an earlier session kept into a session's home, before its agent starts.

    Raises:
        Lacking: something that is no plain folder stands in the way.
    """
    for source in sorted(kept.rglob("*")):
        if source.is_file() and not source.is_symlink():
            name = source.relative_to(kept)
            require_plain(str(home), *name.parts)
            target = home / name
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomic(target, source.read_bytes())


def _matching(home: Path, parts: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """The plain files below a folder whose path fits: their paths from there, and their content."""
    with suppress(OSError):
        handle = os.open(home, _FOLDER)
        try:
            yield from _below(handle, parts, "")
        finally:
            os.close(handle)


def _below(folder: int, parts: Sequence[str], above: str) -> Iterator[tuple[str, bytes]]:
    pattern, *rest = parts
    for name in sorted(fnmatch.filter(os.listdir(folder), pattern)):
        try:
            handle = os.open(name, _FOLDER if rest else _FILE, dir_fd=folder)
        except OSError:
            # a link, or something else than it should be
            continue
        try:
            if rest:
                yield from _below(handle, rest, os.path.join(above, name))
            elif stat.S_ISREG(os.fstat(handle).st_mode):
                with os.fdopen(os.dup(handle), "rb") as file:
                    yield os.path.join(above, name), file.read(_LARGEST + 1)
        finally:
            os.close(handle)
