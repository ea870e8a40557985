"""Scratch repositories of agentpkg's own: the demo's, and the one an agent is tried in."""

from pathlib import Path

from agentpkg.git.identity import agent_identity
from agentpkg.git.repo import Git


def first_commit(folder: Path, who: str, message: str) -> None:
    """Makes a folder a repository with all its files in one commit on ``main``.

    Args:
        who: the name of author and committer.
    """
    git = Git(folder / ".git", environment=agent_identity(who).variables())
    git.git_dir.mkdir()
    git.run("init", "-q", "-b", "main")
    # git takes a repository without a work tree in sight for a bare one
    git.run("config", "core.bare", "false")
    git = git.but(work_tree=folder)
    git.run("add", "-A")
    git.run("commit", "-q", "-m", message)
