"""Where two sides of a merge contradict each other: files, lines, and what each side has there."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agentpkg.git.repo import Git

#: places that are told of all files together
_MOST = 40
#: bytes of a file that is looked at
_LARGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class Place:
    """One contradiction in a file.

    Attributes:
        ours: its first and last line in the target's version; the last is before the first where that has none.
        theirs: the same in the package's.
        target: the target's lines there; ``branch`` the package's.
    """

    path: str
    ours: tuple[int, int]
    theirs: tuple[int, int]
    target: tuple[str, ...]
    branch: tuple[str, ...]

    def __str__(self) -> str:
        first, last = self.theirs if self.branch else self.ours
        return f"{self.path}:{first}" + (f"-{last}" if last > first else "")


def places(git: Git, tree: str, paths: Sequence[str], ours: str, theirs: str) -> tuple[Place, ...]:
    """The contradictions in a tree that ``merge-tree`` wrote.

    Args:
        paths: the files in conflict; those that one side has deleted, and binary ones, have no places.
        ours: the commit that was merged into, as it was named to git; ``theirs`` the one that was merged.
    """
    found: list[Place] = []
    for path in paths:
        if len(found) >= _MOST:
            break
        blob = git.run("cat-file", "blob", f"{tree}:{path}", ok=(0, 128))
        if blob.returncode == 0 and len(blob.stdout) <= _LARGEST:
            lines = blob.stdout.decode("utf-8", "backslashreplace").split("\n")
            found += _places(path, lines, f"<<<<<<< {ours}", f">>>>>>> {theirs}")
    return tuple(found[:_MOST])


def _places(path: str, lines: Sequence[str], begin: str, end: str) -> Iterator[Place]:
    """The marked places of a merged file. The marks name the commits, so that no text of the file is taken for one."""
    ours = theirs = 0
    at = 0
    while at < len(lines):
        if lines[at].rstrip("\r") != begin:
            ours, theirs, at = ours + 1, theirs + 1, at + 1
            continue
        close = next((i for i in range(at, len(lines)) if lines[i].rstrip("\r") == end), len(lines))
        inside = lines[at + 1 : close]
        middle = next((i for i, line in enumerate(inside) if line.rstrip("\r") == "======="), len(inside))
        target, branch = tuple(inside[:middle]), tuple(inside[middle + 1 :])
        yield Place(
            path, (ours + 1, ours + len(target)), (theirs + 1, theirs + len(branch)), target, branch
        )  # fmt: skip
        ours, theirs, at = ours + len(target), theirs + len(branch), close + 1
