"""A target that lives on a remote: asked for its tip, fetched, and moved by a push that compares and swaps.

Everything runs in the control dir, so that no hook and no configuration of the repository counts. What is the user's
own (how to reach hosts, who they are there) comes from the user's and the system's configuration, as data and from a
closed list of keys, out of sight of a list of processes, since a header may be a secret; the remote's address is read
from the repository, and only protocols that run no program of its choice are followed. Nobody is asked anything.
"""

import os
import re
import signal
from dataclasses import dataclass

from agentpkg.core.errors import Lacking
from agentpkg.git.discover import Repository
from agentpkg.git.repo import Git, GitResult, as_user

#: seconds that a remote may take to answer, and to take or give objects
_ASK, _SEND = 60.0, 900.0

_PROTOCOLS = "file:git:http:https:ssh"

#: what of the user's own configuration counts
_OWN = re.compile(r"credential\..*|http\..*|url\..*\.(insteadof|pushinsteadof)|core\.(sshcommand|askpass)|ssh\.variant")

#: variables that reach hosts and agents of keys
_VARIABLES = ("HOME", "SSH_AUTH_SOCK", "SSH_AGENT_PID", "XDG_CONFIG_HOME", "https_proxy", "HTTPS_PROXY", "http_proxy",
              "no_proxy", "NO_PROXY", "GIT_SSH", "GIT_SSH_COMMAND", "DBUS_SESSION_BUS_ADDRESS",
              "XDG_RUNTIME_DIR")  # fmt: skip

_SECRET = re.compile(r"(\w+://)[^/@\s]+@")
#: what a remote's refusal to talk to us looks like, what that means, and what to do
_MEANINGS = (
    (re.compile(r"could not read (Username|Password)"), "it asks for a password, and no credential helper has one",
     "give git one (`git config --global credential.helper`, `git credential approve`)"),
    (re.compile(r"Authentication failed|returned error: 40[13]"), "it does not take the credentials",
     "correct those that git has (`git credential reject`)"),
    (re.compile(r"Permission denied \("), "it takes none of the ssh keys", "give it one, or unlock yours (`ssh-add`)"),
    (re.compile(r"Host key verification failed"), "ssh does not know its host", "log in there with ssh once"),
)  # fmt: skip


class Unreachable(Lacking):
    """The remote did not answer, or not to the end."""

    code = "remote_unreachable"


@dataclass(frozen=True, slots=True)
class Pushed:
    """The remote's branch is at the commit."""


@dataclass(frozen=True, slots=True)
class Moved:
    """The remote's branch is not where it was expected; nothing has changed."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The remote takes no such push (a protected branch, a hook that says no); nothing has changed.

    Attributes:
        reason: in its own words, one line.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Remote:
    """A remote as agentpkg talks to it.

    Attributes:
        name: as the repository has it.
        fetch_from: its address; ``push_to`` the one for pushes.
        git: the control dir's, with what is needed to reach it.
        ask: seconds that it may take to answer.
        send: seconds that it may take to take or give objects.
    """

    name: str
    fetch_from: str
    push_to: str
    git: Git
    ask: float = _ASK
    send: float = _SEND

    def tip(self, branch: str) -> str | None:
        """The commit its branch is at, None when it has no such branch. Raises :class:`Unreachable`."""
        ref = f"refs/heads/{branch}"
        asked = self.git.run("ls-remote", "--", self.fetch_from, ref, ok=range(-9, 256), timeout=self.ask)
        if asked.returncode:
            raise self._unreachable(asked, self.ask)
        names = [line.split("\t") for line in asked.text.splitlines()]
        return next((sha for sha, name in names if name == ref), None)

    def fetch(self, branch: str, tip: str) -> None:
        """Has the objects of its branch's tip in the control dir. Raises :class:`Unreachable`."""
        if self.git.run("cat-file", "-e", f"{tip}^{{commit}}", ok=(0, 1, 128)).returncode == 0:
            return
        spec = f"+refs/heads/{branch}:refs/remotes/{self.name}/{branch}"
        options = ("--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules")
        done = self.git.run("fetch", *options, "--", self.fetch_from, spec, ok=range(-9, 256), timeout=self.send)
        if done.returncode:
            raise self._unreachable(done, self.send)

    def push(self, branch: str, new: str, old: str | None) -> Pushed | Moved | Refused:
        """Moves its branch from ``old`` to ``new``, only if it is at ``old``.

        Raises:
            Unreachable: it is not known whether it did.
        """
        ref = f"refs/heads/{branch}"
        lease = f"--force-with-lease={ref}:{old or ''}"
        done = self.git.run("push", "--porcelain", "--no-verify", lease, "--", self.push_to, f"{new}:{ref}",
                            ok=range(-9, 256), timeout=self.send)  # fmt: skip
        line = next((one for one in done.text.splitlines() if f":{ref}\t" in one), None)
        if line is None:
            raise self._unreachable(done, self.send)
        flag, _, said = line.split("\t", 2)
        if flag != "!":
            return Pushed()
        # "rejected" is git's own word for a comparison that failed; the remote's refusals are "remote rejected"
        stale = said.startswith("[rejected]") or "failed to update ref" in said or "cannot lock ref" in said
        return Moved() if stale else Refused(_reason(said, done))

    def _unreachable(self, said: GitResult, seconds: float) -> Unreachable:
        text = said.stderr.decode("utf-8", "backslashreplace").strip()
        why, advice = next(((why, do) for look, why, do in _MEANINGS if look.search(text)), (_told(text), ""))
        if said.returncode == -signal.SIGKILL:
            why, advice = f"it did not answer within {seconds:g} s", ""
        return Unreachable(
            f"the remote {self.name} cannot be reached: {why}",
            f"{advice + '; ' if advice else ''}try `git ls-remote {self.name}`; what was done is kept, and the same "
            "command goes on",
        )


def open_remote(repo: Repository, control: Git, name: str) -> Remote:
    """The remote of that name. Raises :class:`Lacking` when the repository has none."""
    address = _setting(repo, f"remote.{name}.url")
    if address is None or address.startswith("-"):
        raise Lacking(
            f"merge.remote names {name}, which this repository does not have",
            f"`git remote add {name} URL`, or correct merge.remote", code="no_remote",
        )  # fmt: skip
    pushing = _setting(repo, f"remote.{name}.pushurl") or address
    own = _own(repo)
    there = {key: os.environ[key] for key in _VARIABLES if key in os.environ}
    variables = {"HOME": "/nonexistent", **there, "GIT_ALLOW_PROTOCOL": _PROTOCOLS}
    variables.setdefault("GIT_SSH_COMMAND", dict(own).get("core.sshcommand", "ssh -o BatchMode=yes"))
    reaching = control.but(
        environment={**control.environment, **variables}, config=(*control.config, "protocol.allow=user"),
        private=tuple((key, value) for key, value in own if key not in ("core.sshcommand", "core.askpass")),
    )  # fmt: skip
    return Remote(name, _absolute(repo, address), _absolute(repo, pushing), reaching)


def _setting(repo: Repository, key: str) -> str | None:
    found = as_user("config", "--local", "--get", key, cwd=repo.work_tree, ok=(0, 1)).text
    return found or None


def _own(repo: Repository) -> list[tuple[str, str]]:
    """The user's and the system's settings that decide how hosts are reached, in order: some keys have many values."""
    listed = as_user("config", "--null", "--show-scope", "--list", cwd=repo.work_tree).stdout
    items = [os.fsdecode(item) for item in listed.split(b"\0")]
    found = []
    for scope, item in zip(items[::2], items[1::2], strict=False):
        key, _, value = item.partition("\n")
        if scope in ("global", "system") and _OWN.fullmatch(key):
            found.append((key, value))
    return found


def _absolute(repo: Repository, address: str) -> str:
    """A path relative to the work tree as an absolute one; other addresses stay."""
    is_path = "://" not in address and not re.match(r"[^/]+:", address)
    return os.path.join(repo.work_tree, address) if is_path else address


def _told(text: str) -> str:
    """What git says is wrong, in one line; of an ssh that failed, what that said."""
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["no answer"]
    why = next((line for line in lines if line.startswith(("fatal:", "error:"))), lines[-1])
    if "Could not read from remote repository" in why and lines[0] != why:
        why = lines[0]
    return _SECRET.sub(r"\1", why.removeprefix("fatal: "))


def _reason(said: str, done: GitResult) -> str:
    """Why a remote refused: what it said, and what its hook did."""
    lines = done.stderr.decode("utf-8", "backslashreplace").splitlines()
    told = [line.removeprefix("remote:").strip() for line in lines if line.startswith("remote:")]
    words = " ".join([said.strip(), *(line for line in told[:5] if line)])
    return _SECRET.sub(r"\1", "".join(c for c in words if c.isprintable())[:400])
