"""Level ``medium``: Landlock. The kernel refuses files and TCP connections that are not the agent's.

The agent writes its worktree, its private git dir, a home and a temporary folder of its own, and reads the system's
folders, the toolchains of PATH and the repository's objects. What this level cannot do is told in docs/security.md:
processes are swept and not contained, modes and times of files of the user's can be changed, the worktree's ``.git``
file is verified and not protected.
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
from agentpkg.isolation.toolchains import ETC, SYSTEM

#: seconds for the trial
_SECONDS = 20.0

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
        """The version of the kernel's interface."""
        return f"{_abi()} {_PYTHON}"

    def probe(self) -> Probe:
        """Binds a shell and has it try to write where it may not."""
        version = _abi()
        if version < 1:
            fix = "use Linux 5.13 or newer with landlock among the security modules (`lsm=landlock,…` at boot)"
            return Probe(False, "medium: this kernel has no Landlock", fix if sys.platform == "linux" else "")
        why = _try()
        if why is not None:
            return Probe(False, f"medium: Landlock {version} does not work here: {why}")
        tcp = "no network, not even loopback" if version >= 4 else "the network is open (Linux 6.7 closes it)"
        promise = f"writes its worktree alone; sees no home, {tcp}; processes are swept"
        detail = f"medium (Landlock {version}): {promise}"
        return Probe(True, detail, facts={"abi": str(version)})

    def wrap(self, argv: tuple[str, ...], env: Mapping[str, str], place: Place, facts: Mapping[str, str]) -> Wrapped:
        """The launcher in front of the command."""
        closed = (place.repository, place.common_dir, place.session, place.worktree)
        tools, needs = tools_of(env, closed, (*place.reads, _PYTHON), place.mounts)
        home, temporary = (_folder(place.session, name) for name in ("home", "tmp"))
        states = settings_copies(place.states, env.get("HOME", "/"), home)
        reads = (*tools.paths, os.path.join(place.common_dir, "objects"), *place.lent, *place.reads, *_above(place))
        inner = {**inner_environment({**needs, **env}, tools), "HOME": home, "TMPDIR": temporary}
        return _launched(
            argv, inner, reads, (place.worktree, place.private, home, temporary, *states.values()), place.network
        )

    def wrap_room(self, argv: tuple[str, ...], env: Mapping[str, str], room: Room, facts: Mapping[str, str]) -> Wrapped:
        """The same around a copy."""
        tools, needs = tools_of(env, room.closed, (*room.programs, _PYTHON), (*room.mounts, *room.reads))
        inner = {**inner_environment({**needs, **env}, tools), "HOME": room.home, "TMPDIR": room.temporary}
        settings_copies(room.states, env.get("HOME", "/"), room.home)
        writes = (*(() if room.sealed else (room.root,)), room.home, room.temporary, *room.writes)
        # an interpreter finds a module by listing the folder that it lies in
        lists = {os.path.dirname(path) for path in room.reads}
        reads = (*tools.paths, *room.programs, *room.reads, *((room.root,) if room.sealed else ()))
        return _launched(argv, inner, reads, writes, room.network, lists)

    def reader(
        self, program: str, reads: tuple[str, ...], writes: tuple[str, ...], facts: Mapping[str, str]
    ) -> tuple[str, ...]:
        """The launcher, which lets nothing else be written and nothing be connected to."""
        return _before((os.path.dirname(program), *reads), writes, None)


def _above(place: Place) -> list[str]:
    names = (os.path.join(place.repository, name) for name in _LOOKED_FOR_ABOVE)
    return [path for path in names if os.path.isfile(path) and os.path.realpath(path) == path]


def _folder(session: str, name: str) -> str:
    path = os.path.join(session, name)
    os.makedirs(path, mode=0o700, exist_ok=True)
    return path


def _launched(
    argv: tuple[str, ...], env: Mapping[str, str], reads: Iterable[str], writes: Iterable[str],
    network: Network | None, lists: Iterable[str] = (),
) -> Wrapped:  # fmt: skip
    more = {} if network is None else proxies(network.port)
    command = (*_before(reads, writes, network, lists), *argv)
    return Wrapped(command, {**env, **more}, failure=FAILED, voice="landlock: ")


def _abi() -> int:
    from agentpkg.isolation import landlock  # ctypes comes with it, which a machine with a better level does not need

    return landlock.abi()


def _before(
    reads: Iterable[str], writes: Iterable[str], network: Network | None, lists: Iterable[str] = ()
) -> tuple[str, ...]:
    rules = {
        "read": [*SYSTEM, *ETC, *_public(), "/proc", *sorted(set(reads))], "write": [*_DEVICES, *writes],
        "list": sorted(lists),
        "connect": [] if network is None else list(network.ports), "net": True,
        "calls": calls.program(os.uname().machine, contained=False).hex(),
    }  # fmt: skip
    return (_PYTHON, "-I", "-S", _LAUNCHER, json.dumps(rules), "--")


def _public() -> list[str]:
    """Files right in ``/etc`` that everybody may read: programs take one that is refused for an error, not for none."""
    with os.scandir("/etc") as entries:
        return sorted(entry.path for entry in entries if entry.is_file() and entry.stat().st_mode & stat.S_IROTH)


def _try() -> str | None:
    with tempfile.TemporaryDirectory(prefix="agentpkg-probe-") as folder:
        inside, outside = os.path.join(folder, "in"), os.path.join(folder, "out")
        os.mkdir(inside)
        script = f"echo x > {inside}/file && ! echo x 2>/dev/null > {outside} && exit 7"
        wrapped = _launched(("/bin/sh", "-c", script), {}, (), (inside,), None)
        try:
            done = proc.run(wrapped.argv, env={}, cwd=Path("/"), timeout=_SECONDS, merge=True)
        except Lacking as error:
            return error.message
    said = done.stdout.decode("utf-8", "replace").strip().splitlines()
    return None if done.exit_code == 7 else (said[-1] if said else f"it ended with {done.exit_code}")
