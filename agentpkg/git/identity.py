"""Who commits: the user, as their git configuration says, or an agent."""

import os
from dataclasses import dataclass
from pathlib import Path

from agentpkg.git.repo import as_user

_DOMAIN = "agentpkg.invalid"


@dataclass(frozen=True, slots=True)
class Identity:
    """A name and a mail address for commits."""

    name: str
    email: str

    def variables(self) -> dict[str, str]:
        """The environment that makes git commit as this identity, as author and committer."""
        return {
            "GIT_AUTHOR_NAME": self.name,
            "GIT_AUTHOR_EMAIL": self.email,
            "GIT_COMMITTER_NAME": self.name,
            "GIT_COMMITTER_EMAIL": self.email,
        }


@dataclass(frozen=True, slots=True)
class UserIdentity(Identity):
    """The user's identity and what else of their own configuration agentpkg honours.

    Attributes:
        signing_key: ``user.signingKey``, or None.
        excludes_file: the file of the user's own ignore patterns, if there is one.
    """

    signing_key: str | None = None
    excludes_file: Path | None = None


def user_identity(work_tree: Path) -> UserIdentity:
    """Reads the user's identity, as data, under their own configuration; agentpkg's where they have none."""
    keys = r"^(user\.(name|email|signingkey)|core\.excludesfile)$"
    listed = as_user("config", "--null", "--get-regexp", keys, cwd=work_tree, ok=(0, 1)).stdout
    items = [os.fsdecode(item).partition("\n") for item in listed.split(b"\0")]
    found = {key: value for key, _, value in items if value}
    name, email = found.get("user.name"), found.get("user.email")
    if not name or not email:
        name, email = "agentpkg", f"agentpkg@{_DOMAIN}"
    return UserIdentity(name, email, found.get("user.signingkey"), _excludes_file(found.get("core.excludesfile")))


def agent_identity(agent: str) -> Identity:
    """The identity of the agent with this name."""
    return Identity(agent, f"{agent}@{_DOMAIN}")


def _excludes_file(configured: str | None) -> Path | None:
    """The configured file, else git's default place (gitignore(5)); only if it exists."""
    if configured:
        path = Path(configured).expanduser()
    else:
        path = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "git" / "ignore"
    return path if path.is_file() else None
