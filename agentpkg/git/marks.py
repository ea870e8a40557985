"""The mark in a worktree's admin dir that says "made by agentpkg", with what agentpkg must know of it later.

Git ignores the file and removes it with the admin dir.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from agentpkg.files import write_atomic
from agentpkg.git.discover import MARK, read_small

_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class Mark:
    """What is known of a package worktree.

    Attributes:
        branch: its branch, without ``refs/heads/``.
        made: False until its files are all there.
        provided: paths that ``worktree.copy`` and ``worktree.link`` put there, relative to it.
    """

    branch: str
    made: bool = False
    provided: tuple[str, ...] = ()


def read_mark(admin: Path) -> Mark | None:
    """The mark of an admin dir; None if there is none that can be read."""
    data = read_small(admin / MARK, _LIMIT)
    try:
        said = json.loads(data or b"")
        return Mark(str(said["branch"]), said["made"] is True, tuple(str(p) for p in said["provided"]))
    except (ValueError, KeyError, TypeError):
        return None


def write_mark(admin: Path, mark: Mark) -> None:
    """Replaces the mark of an admin dir."""
    # all but what was provided can be found out again after a power cut
    write_atomic(admin / MARK, json.dumps(asdict(mark)) + "\n", sync=bool(mark.provided))
