"""Trees that a few small objects make endless: a folder that holds one folder ten times, and so on, eight deep.

Whatever lists the files of such a tree never ends, or takes all memory. How many files a tree has can be known without
listing them: each object is read once, however often it occurs.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import IO

from agentpkg.git.repo import TIMEOUT, Git, GitFailed

#: files of one commit; the largest repositories of people have a few hundred thousand
MOST_FILES = 2_000_000

#: what is said of a git that somebody, or its time, ended while it was talked to
ENDED = "it ended in the middle"

#: mode, name, a zero byte (git-ls-tree(1), "raw" tree format); the object's id follows
_ENTRY = re.compile(rb"([0-7]{5,6}) [^\0]+\0", re.S)


def require_finite(git: Git, commits: Iterable[str], timeout: float = TIMEOUT) -> None:
    """Makes sure that the files of these commits can be listed.

    Raises:
        GitFailed: one has more than :data:`MOST_FILES`, git has not all of its folders, or was killed.
    """
    args = ("cat-file", "--batch")
    with git.process(*args, timeout=timeout) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        trees = _Trees(child.stdin, child.stdout)
        try:
            for commit in commits:
                if trees.files(f"{commit}^{{tree}}") > MOST_FILES:
                    raise GitFailed(args, 1, f"{commit} has more files than can be looked at".encode())
        except (BrokenPipeError, EOFError):
            raise GitFailed(args, child.wait(), ENDED.encode()) from None


@dataclass
class _Trees:
    """A conversation with ``cat-file --batch``; ``known`` has the files of each tree that was read."""

    ask: IO[bytes]
    answer: IO[bytes]
    known: dict[str, int] = field(default_factory=dict)

    def files(self, root: str) -> int:
        """The files of a tree, counted as often as they occur."""
        root, folders, own = self._read(root)
        #: the way down: each tree with its own files and the folders that are still to be counted
        way = [(root, own, folders, list(folders))]
        while way:
            tree, own, folders, left = way[-1]
            while left and left[-1] in self.known:
                left.pop()
            if left:
                oid, inner, count = self._read(left[-1])
                way.append((oid, count, inner, list(inner)))
            else:
                way.pop()
                self.known[tree] = min(MOST_FILES + 1, own + sum(map(self.known.__getitem__, folders)))
        return self.known[root]

    def _read(self, name: str) -> tuple[str, list[str], int]:
        """The id of a tree, the folders in it and how many other entries it has."""
        self.ask.write(name.encode() + b"\n")
        self.ask.flush()
        line = self.answer.readline()
        if not line:
            raise EOFError
        words = line.split()
        if len(words) != 3 or words[1] != b"tree":
            raise GitFailed(("cat-file", "--batch"), 1, f"the folder {name} is missing".encode())
        raw = self.answer.read(int(words[2]) + 1)[:-1]
        return words[0].decode(), *_entries(raw, len(words[0]) // 2)


def _entries(raw: bytes, length: int) -> tuple[list[str], int]:
    folders, others, at = list[str](), 0, 0
    while found := _ENTRY.match(raw, at):
        at = found.end() + length
        if found[1] in (b"40000", b"040000"):
            folders.append(raw[found.end() : at].hex())
        else:
            others += 1
    return folders, others
