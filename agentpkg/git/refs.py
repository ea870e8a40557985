"""The commit that a ref is at, asked so often that no process is started for the usual case; and a commit's tree."""

import re

from agentpkg.git.discover import read_small
from agentpkg.git.repo import Git

_ID = re.compile(rb"(?:[0-9a-f]{40}|[0-9a-f]{64})\n?", re.ASCII)
_LIMIT = 256


def tip(git: Git, ref: str) -> str | None:
    """The commit id that a ref is at, None when there is no such ref.

    A loose ref is read as the file that it is (gitrepository-layout(5)): it stands before a packed one, and a reftable
    has none. For all else (packed, symbolic, damaged) git is asked.

    Args:
        git: on the git dir that has the ref; not one of a linked worktree, whose refs lie elsewhere.
        ref: the full name, below ``refs/heads/`` or wherever refs are of commits: no tags.
    """
    loose = read_small(git.git_dir / ref, _LIMIT) if ".." not in ref else None
    if loose is not None and _ID.fullmatch(loose):
        return loose.decode().rstrip("\n")
    asked = git.run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}", ok=(0, 1))
    return asked.text or None


def branch_tip(git: Git, branch: str) -> str | None:
    """As :func:`tip`, of a branch by its short name."""
    return tip(git, f"refs/heads/{branch}")


def tree_of(git: Git, commit: str) -> str:
    """The tree of a commit. Raises :class:`GitFailed` when there is no such commit."""
    return git.text("rev-parse", "--verify", "--end-of-options", f"{commit}^{{tree}}")
