"""Whether git can be let near the objects of a private git dir, which an agent wrote."""

import os
from pathlib import Path

from agentpkg.git.control import alternates_line
from agentpkg.git.discover import read_small
from agentpkg.git.lent import lent
from agentpkg.git.private import BASE

#: folders within each other that git makes there: ``info/commit-graphs``
_DEPTH = 2


def objects_in_doubt(objects: Path, real: Path) -> str | None:
    """What about a private object folder could make git wait, or read something else; None if nothing does.

    Links and pipes have no place in it, and it may borrow objects from the repository only.
    """
    try:
        return _in_folders(objects) or _borrowed(objects, real)
    except OSError as error:
        return f"its object folder cannot be looked through: {error.strerror}"


def _in_folders(objects: Path) -> str | None:
    waiting = [objects]
    while waiting:
        folder = waiting.pop()
        if len(folder.relative_to(objects).parts) > _DEPTH:
            return f"{folder.name} lies too deep in its object folder"
        if folder.is_symlink() or not folder.is_dir():
            return f"{folder.name} is no plain folder"
        with os.scandir(folder) as listed:
            for entry in listed:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(folder / entry.name)
                elif not entry.is_file(follow_symlinks=False):
                    return f"{entry.name} in its object folder is no plain file"
    return None


def _borrowed(objects: Path, real: Path) -> str | None:
    alternates = objects / "info" / "alternates"
    if not os.path.lexists(alternates):
        return None
    data = read_small(alternates)
    expected = alternates_line(real, objects.parent)
    allowed = {os.path.realpath(real), *map(str, lent(real))}
    if _is_empty(objects / BASE):
        allowed |= {os.path.realpath(objects / BASE), os.path.realpath(real / BASE)}
    lines = [line for line in (data or b"?").split(b"\n") if line and not line.startswith(b"#")]
    for line in lines:
        if line + b"\n" != expected and os.path.realpath(objects / os.fsdecode(line)) not in allowed:
            return "its object folder borrows from another place than the repository"
    return None


def _is_empty(folder: Path) -> bool:
    """Whether a mount point is as it was made: what was mounted on it is gone with the session."""
    return not folder.is_symlink() and folder.is_dir() and not any(os.scandir(folder))
