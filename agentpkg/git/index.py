"""Index files that agentpkg makes for worktrees whose own index it does not trust."""

import os
import shutil
from pathlib import Path

from agentpkg.git.repo import Git

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


def load_index(control: Git, index: Path, known: Path | None, worktree: Path, tip: str) -> Git:
    """Makes the file ``index`` that of commit ``tip``, refreshed against the worktree; gives git bound to both.

    Args:
        known: an index file to take over what it knows of unchanged files; flags in it hide no change.
    """
    if known is not None and known.is_file():
        copy_index(known, index)
    git = control.but(work_tree=worktree, index=index, config=(*control.config, _SHOW_HIDDEN))
    git.run("read-tree", "--reset", tip, timeout=SCAN_SECONDS)
    git.run("update-index", "-q", "--really-refresh", ok=(0, 1), timeout=SCAN_SECONDS)
    return git
