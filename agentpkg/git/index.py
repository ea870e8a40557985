"""Index files that agentpkg makes for worktrees whose own index it does not trust."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from agentpkg.git.diff import blob_sizes
from agentpkg.git.repo import Git, GitFailed
from agentpkg.git.walk import LARGEST, large_files

#: seconds for writing or looking through all files of a large worktree
SCAN_SECONDS = 1800.0

#: git drops the flag that hides a file from it, as soon as the file is there, only where sparse checkouts are on
_SHOW_HIDDEN = "core.sparseCheckout=true"


def copy_index(source: Path, to: Path) -> None:
    """Copies an index file with its time, by which git tells entries that may be older than their file."""
    # git compares whole seconds only, and reads a file again whose time is not before the index's
    shutil.copyfile(source, to, follow_symlinks=False)
    known = os.lstat(source)
    os.utime(to, ns=(known.st_atime_ns, known.st_mtime_ns))


@dataclass(frozen=True, slots=True)
class Loaded:
    """An index in keeping with a worktree.

    Attributes:
        git: bound to both.
        grown: tracked files that are so large, and of another size than their blob, that nobody reads them to learn
            that they have changed; the index knows nothing of them but their blobs.
    """

    git: Git
    grown: tuple[str, ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        """Pathspecs of all files but those that have grown."""
        return (".", *(f":(exclude,literal){name}" for name in self.grown))

    @property
    def selecting(self) -> Git:
        """Git that understands :attr:`paths`."""
        return self.git.but(environment={**self.git.environment, "GIT_LITERAL_PATHSPECS": "0"})


def load_index(control: Git, index: Path, known: Path | None, worktree: Path, tip: str) -> Loaded:
    """Makes the file ``index`` that of commit ``tip``, refreshed against the worktree.

    Args:
        known: an index file to take over what it knows of unchanged files; flags in it hide no change.
    """
    if known is not None and known.is_file():
        copy_index(known, index)
    git = control.but(work_tree=worktree, index=index, config=(*control.config, _SHOW_HIDDEN))
    _read(git, index, tip)
    loaded = Loaded(git, _grown(git, worktree))
    if loaded.grown:
        _refresh_the_others(loaded, index, tip)
    else:
        git.run("update-index", "-q", "--really-refresh", ok=(0, 1), timeout=SCAN_SECONDS)
    return loaded


def _read(git: Git, index: Path, tip: str) -> None:
    try:
        git.run("read-tree", "--reset", tip, timeout=SCAN_SECONDS)
    except GitFailed:
        if not index.exists():
            raise
        # one that a power cut has torn knows nothing, and without it all is read
        index.unlink()
        git.run("read-tree", tip, timeout=SCAN_SECONDS)


def _refresh_the_others(loaded: Loaded, index: Path, tip: str) -> None:
    # this way of refreshing believes flags that hide changes, so there may be none
    index.unlink()
    loaded.git.run("read-tree", tip, timeout=SCAN_SECONDS)
    paths = b"\0".join(map(os.fsencode, loaded.paths))
    add = ("add", "--refresh", "--pathspec-from-file=-", "--pathspec-file-nul")
    loaded.selecting.run(*add, stdin=paths, ok=(0, 1, 128), timeout=SCAN_SECONDS)


def _grown(git: Git, worktree: Path) -> tuple[str, ...]:
    """Large tracked files whose size is not that of their blob, and which no filter makes into what they are."""
    large = large_files(worktree, LARGEST)
    if not large:
        return ()
    listed = git.run("ls-files", "-s", "-z", "--", *large).stdout.split(b"\0")
    blobs = {
        os.fsdecode(path): head.split(b" ")[1].decode()
        for head, _, path in (e.partition(b"\t") for e in listed)
        if path
    }
    asked = git.run("check-attr", "--cached", "-z", "--stdin", "filter", stdin=b"\0".join(map(os.fsencode, blobs)))
    words = asked.stdout.split(b"\0")
    filtered = {
        os.fsdecode(path) for path, value in zip(words[::3], words[2::3], strict=False) if value != b"unspecified"
    }
    sizes = blob_sizes(git, blobs.values())
    return tuple(path for path, blob in blobs.items() if path not in filtered and _size(worktree / path) != sizes[blob])


def _size(path: Path) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:
        return -1
