"""Who is asking: a person, or an agent that runs the product's own commands."""

import getpass
import os
from collections.abc import Callable, Iterator, Mapping

from agentpkg.core.errors import NotAllowed

#: the mark every process of a session carries
MARK = "AGENTPKG_SESSION"
#: the module that supervises a session; the session's folder is its argument
SUPERVISOR = "agentpkg.engine.supervising.supervisor"


def current(environ: Mapping[str, str], owner: Callable[[str], str | None]) -> str:
    """The actor of this process.

    A process that carries a session's mark, or descends from one that does, is that session's agent, for the
    repository whose ledger holds the session; elsewhere it is the person it runs as.

    Args:
        environ: this process's environment.
        owner: session id -> the agent's name, None for a session the repository does not know.

    Returns:
        ``agent:NAME`` or ``human:LOGIN``.
    """
    for mark in _marks(environ):
        agent = owner(mark)
        if agent is not None:
            return f"agent:{agent}"
    return f"human:{_login()}"


def require_person(actor: str, act: str) -> None:
    """Raises :class:`NotAllowed` when an agent asks for what only a person, or agentpkg for one, may do."""
    if actor.startswith("agent:"):
        raise NotAllowed(
            f"{actor} may not {act}",
            "an agent works in its worktree and commits there; the rest is done by agentpkg and by people",
            code="not_for_agents",
        )


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _marks(environ: Mapping[str, str]) -> Iterator[str]:
    if MARK in environ:
        yield environ[MARK]
    for pid in _ancestors(os.getppid()):
        mark = _mark_of(pid) or _supervised_by(pid)
        if mark:
            yield mark


def _ancestors(pid: int) -> Iterator[int]:
    """Parent, grandparent and so on, as far as this user may see them."""
    while pid > 1:
        yield pid
        pid = _parent(pid)


def _parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as handle:
            return int(handle.read().rpartition(b")")[2].split()[1])
    except FileNotFoundError:
        return _parent_elsewhere(pid)
    except (OSError, ValueError, IndexError):
        return 0


def _parent_elsewhere(pid: int) -> int:
    if os.path.isdir("/proc/self"):
        return 0
    import psutil

    try:
        return psutil.Process(pid).ppid()
    except psutil.Error:
        return 0


def _mark_of(pid: int) -> str | None:
    try:
        with open(f"/proc/{pid}/environ", "rb") as handle:
            variables = handle.read().split(b"\0")
    except FileNotFoundError:
        return _mark_elsewhere(pid)
    except OSError:
        return None
    prefix = MARK.encode() + b"="
    return next((v[len(prefix) :].decode("utf-8", "replace") for v in variables if v.startswith(prefix)), None)


def _supervised_by(pid: int) -> str | None:
    """The session that a process supervises: whoever descends from it is its agent, whatever became of the mark.

    A supervisor adopts what its agent leaves behind, so a process that got rid of its environment and its parents is
    still below it.
    """
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as handle:
            words = handle.read().decode("utf-8", "replace").split("\0")
    except FileNotFoundError:
        words = _words_elsewhere(pid)
    except OSError:
        return None
    if SUPERVISOR not in words[:-1]:
        return None
    return os.path.basename(words[words.index(SUPERVISOR) + 1])


def _words_elsewhere(pid: int) -> list[str]:
    if os.path.isdir("/proc/self"):
        return []
    import psutil

    try:
        return psutil.Process(pid).cmdline()
    except psutil.Error:
        return []


def _mark_elsewhere(pid: int) -> str | None:
    if os.path.isdir("/proc/self"):
        return None
    import psutil

    try:
        return psutil.Process(pid).environ().get(MARK)
    except psutil.Error:
        return None
