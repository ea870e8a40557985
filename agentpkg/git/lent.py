"""Folders of objects that a repository borrows from others (gitrepository-layout(5), ``objects/info/alternates``)."""

import os
from pathlib import Path

from agentpkg.git.discover import read_small

#: folders that are followed
_MOST = 50


def lent(objects: Path) -> tuple[Path, ...]:
    """What a folder of objects borrows from, and what that borrows from; resolved, each once."""
    found: dict[Path, None] = {}
    waiting = [objects]
    while waiting and len(found) < _MOST:
        folder = waiting.pop()
        for line in (read_small(folder / "info" / "alternates") or b"").splitlines():
            path = Path(os.path.realpath(folder / os.fsdecode(line)))
            if line and not line.startswith(b"#") and path not in found:
                found[path] = None
                waiting.append(path)
    return tuple(found)
