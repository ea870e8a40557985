"""Level ``medium``: Landlock. The kernel refuses files and TCP connections that are not the agent's.

The agent writes its worktree, its private git dir, a home and a temporary folder of its own, and reads the system's
folders, the toolchains of PATH and the repository's objects. Where the kernel can ask somebody about system calls, it
has a loopback, unix sockets and ``/dev/shm`` of its own (:mod:`agentpkg.isolation.deputy`). What this level cannot do
is told in docs/security.md: processes are swept and not contained, modes and times of files of the user's can be
changed, the worktree's ``.git`` file is verified and not protected.
"""

import json
import os
import stat
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from agentpkg import proc
from agentpkg.core.errors import Lacking
from agentpkg.isolation import calls
from agentpkg.isolation.base import Network, Place, Probe, Room, Wrapped
from agentpkg.isolation.inner import inner_environment, proxies, settings_copies, tools_of
from agentpkg.isolation.toolchains import ETC, SYSTEM, Tools

#: seconds for the trial
_SECONDS = 20.0

#: the version of the kernel's interface that knows TCP
_TCP = 4

#: what a probe found: an agent can have one of its own
_LOOPBACK = "loopback"

#: what every program needs of what is no file
_DEVICES = (
    "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/ptmx", "/dev/pts",
)  # fmt: skip

#: what tools look for in all folders above the one they work in, so that they find the main work tree's; they take one
#: that is refused for an error
_LOOKED_FOR_ABOVE = (
    "Cargo.toml", ".cargo/config.toml", ".cargo/config", "rust-toolchain", "rust-toolchain.toml", "rustfmt.toml",
    "package.json", "tsconfig.json", "jsconfig.json", "pnpm-workspace.yaml", "go.mod", "go.work", "pyproject.toml",
    "setup.cfg", "tox.ini", "pytest.ini", "ruff.toml", ".python-version", ".node-version", ".nvmrc", ".tool-versions",
    ".editorconfig", ".gitignore",
)  # fmt: skip

#: the exit code of the launcher when what it was to run never ran
FAILED = 125

_PYTHON = os.path.realpath(sys.executable)
_LAUNCHER = str(Path(__file__).with_name("landlock.py"))


@dataclass(frozen=True)
class Medium:
    """Runs a command that has bound itself by Landlock."""

    name = "medium"
    covers_git = False
    cuts_network = True
    moves = False
    network_over = "port"

    def stamp(self) -> str:
        """The version of the kernel's interface, and what is looked for besides."""
        return f"{_abi()} {_PYTHON} loopback"

    def probe(self) -> Probe:
        """Binds a shell and has it try to write where it may not."""
        version = _abi()
        if version < 1:
            fix = "use Linux 5.13 or newer with landlock among the security modules (`lsm=landlock,…` at boot)"
            return Probe(False, "medium: this kernel has no Landlock", fix if sys.platform == "linux" else "")
        why = _try()
        if why is not None:
            return Probe(False, f"medium: Landlock {version} does not work here: {why}")
        refused = _try_loopback() if version >= _TCP else "Linux 6.7 is needed"
        promise = f"writes its worktree alone; sees no home, {_network(version, refused)}; processes are swept"
        facts = {"abi": str(version), **({} if refused else {_LOOPBACK: "own"})}
        return Probe(True, f"medium (Landlock {version}): {promise}", facts=facts)

    def wrap(self, argv: tuple[str, ...], env: Mapping[str, str], place: Place, facts: Mapping[str, str]) -> Wrapped:
        """The launcher in front of the command."""
        closed = (place.repository, place.common_dir, place.session, place.worktree)
        tools, needs = tools_of(env, closed, (*place.reads, _PYTHON), place.mounts)
        home, temporary = (_folder(place.session, name) for name in ("home", "tmp"))
        states = settings_copies(place.states, env.get("HOME", "/"), home)
        reads = (*tools.paths, os.path.join(place.common_dir, "objects"), *place.lent, *place.reads, *_above(place))
        inner = {**inner_environment({**needs, **env}, tools), "HOME": home, "TMPDIR": temporary}
        writes = (place.worktree, place.private, home, temporary, *states.values())
        return _launched(argv, inner, _Rules(reads, writes, place.network, own=_LOOPBACK in facts))

    def wrap_room(self, argv: tuple[str, ...], env: Mapping[str, str], room: Room, facts: Mapping[str, str]) -> Wrapped:
        """The same around a copy."""
        tools, needs = tools_of(env, room.closed, (*room.programs, _PYTHON), (*room.mounts, *room.reads))
        inner = {**inner_environment({**needs, **env}, tools), "HOME": room.home, "TMPDIR": room.temporary}
        settings_copies(room.states, env.get("HOME", "/"), room.home)
        writes = (*(() if room.sealed else (room.root,)), room.home, room.temporary, *room.writes)
        # an interpreter finds a module by listing the folder that it lies in
        lists = {os.path.dirname(path) for path in room.reads}
        reads = (*tools.paths, *room.programs, *room.reads, *((room.root,) if room.sealed else ()))
        return _launched(argv, inner, _Rules(reads, writes, room.network, lists, own=_LOOPBACK in facts))

    def reader(
        self, program: str, reads: tuple[str, ...], writes: tuple[str, ...], facts: Mapping[str, str]
    ) -> tuple[str, ...]:
        """The launcher, which lets nothing else be written and nothing be connected to."""
        return _Rules((os.path.dirname(program), *reads), writes).before()


def _above(place: Place) -> list[str]:
    names = (os.path.join(place.repository, name) for name in _LOOKED_FOR_ABOVE)
    return [path for path in names if os.path.isfile(path) and os.path.realpath(path) == path]


def _folder(session: str, name: str) -> str:
    path = os.path.join(session, name)
    os.makedirs(path, mode=0o700, exist_ok=True)
    return path


@dataclass(frozen=True)
class _Rules:
    """What may be done.

    Attributes:
        reads, writes: files and folders; ``lists`` are those of which the names alone may be seen.
        network: the way out.
        own: it has a loopback and ``/dev/shm`` of its own.
    """

    reads: Iterable[str]
    writes: tuple[str, ...]
    network: Network | None = None
    lists: Iterable[str] = ()
    own: bool = False

    def before(self) -> tuple[str, ...]:
        """The launcher, which stands before a command."""
        rules = {
            "read": [*SYSTEM, *ETC, *_public(), "/proc", *sorted(set(self.reads))],
            "write": [*_DEVICES, *self.writes], "list": sorted(self.lists), "net": True,
            "connect": [] if self.network is None else list(self.network.ports),
            "calls": calls.program(os.uname().machine, self._sockets()).hex(),
            "folders": [path for path in self.writes if os.path.isdir(path)] if self.own else None,
        }  # fmt: skip
        return (_PYTHON, "-I", "-S", _LAUNCHER, json.dumps(rules), "--")

    def _sockets(self) -> calls.Sockets:
        if self.own:
            return calls.Sockets.ASKED
        return calls.Sockets.REFUSED if _abi() >= _TCP else calls.Sockets.OPEN


def _launched(argv: tuple[str, ...], env: Mapping[str, str], rules: _Rules) -> Wrapped:
    more = {} if rules.network is None else proxies(rules.network.port)
    return Wrapped((*rules.before(), *argv), {**env, **more}, failure=FAILED, voice="landlock: ")


def _abi() -> int:
    from agentpkg.isolation import landlock  # ctypes comes with it, which a machine with a better level does not need

    return landlock.abi()


def _public() -> list[str]:
    """Files right in ``/etc`` that everybody may read: programs take one that is refused for an error, not for none."""
    with os.scandir("/etc") as entries:
        return sorted(entry.path for entry in entries if entry.is_file() and entry.stat().st_mode & stat.S_IROTH)


def _network(version: int, refused: str | None) -> str:
    if version < _TCP:
        return "the network is open (Linux 6.7 closes it)"
    if refused is None:
        return "no network but a loopback of its own"
    return f"no network, not even loopback, and no shared memory ({refused})"


def _try() -> str | None:
    with tempfile.TemporaryDirectory(prefix="agentpkg-probe-") as folder:
        inside, outside = os.path.join(folder, "in"), os.path.join(folder, "out")
        os.mkdir(inside)
        script = f"echo x > {inside}/file && ! echo x 2>/dev/null > {outside} && exit 7"
        return _why_not(_launched(("/bin/sh", "-c", script), {}, _Rules((), (inside,))))


#: talks to itself over the loopback and exchanges a byte in ``/dev/shm``
_TRIAL = """
import os, socket, sys
s = socket.create_server(("127.0.0.1", 0))
socket.create_connection(("127.0.0.1", s.getsockname()[1])).close()
f = os.open("/dev/shm/agentpkg-trial", os.O_RDWR | os.O_CREAT | os.O_EXCL)
os.unlink("/dev/shm/agentpkg-trial")
sys.exit(7)
"""


def _try_loopback() -> str | None:
    """Why the kernel does not let somebody answer for an agent; None when it does."""
    tools = Tools("/")
    tools.add_program(_PYTHON)
    return _why_not(_launched((_PYTHON, "-I", "-S", "-c", _TRIAL), {}, _Rules(tools.paths, (), own=True)))


def _why_not(wrapped: Wrapped) -> str | None:
    try:
        done = proc.run(wrapped.argv, env={}, cwd=Path("/"), timeout=_SECONDS, merge=True)
    except Lacking as error:
        return error.message
    said = done.stdout.decode("utf-8", "replace").strip().splitlines()
    return None if done.exit_code == 7 else (said[-1] if said else f"it ended with {done.exit_code}")
