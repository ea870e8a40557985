"""Level ``strong``: bubblewrap. Walls around the agent: what it may not touch is not there.

It sees the system's programs, the toolchains of PATH and its worktree; it writes its worktree, its private git dir
(which stands where the repository's ``.git`` is), a home and a ``/tmp`` of its own. It has process, network, IPC and
host-name namespaces of its own, no capabilities, and dies with whoever started it.
"""

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agentpkg import proc
from agentpkg.core.errors import Lacking
from agentpkg.isolation import bubblewrap, forward
from agentpkg.isolation.base import Network, Place, Probe, Room, Wrapped, within
from agentpkg.isolation.bubblewrap import Arguments, Program, StatusFile
from agentpkg.isolation.proxy import PORT
from agentpkg.isolation.toolchains import Tools

#: bytes of a file of settings
_LARGEST_SETTING = 1 << 20

#: seconds for the trial
_SECONDS = 20.0

#: variables that lead into a home folder or to a network that are not there
_DROPPED = (
    "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy",
)  # fmt: skip

#: variables that are dropped where what they name cannot be seen
_IF_SEEN = (
    "VIRTUAL_ENV", "PYENV_ROOT", "UV_CACHE_DIR", "PIP_CACHE_DIR", "NVM_DIR", "NVM_BIN", "FNM_DIR", "VOLTA_HOME",
    "PNPM_HOME", "CARGO_HOME", "RUSTUP_HOME", "GOPATH", "GOROOT", "GOCACHE", "GOMODCACHE", "JAVA_HOME",
    "GRADLE_USER_HOME", "RBENV_ROOT", "GEM_HOME",
)  # fmt: skip

#: files that hold certificates, to be shown where they are named
_CERTIFICATES = (
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "NIX_SSL_CERT_FILE",
)  # fmt: skip

#: runs the inner end of the way to the network
_PYTHON = os.path.realpath(sys.executable)

#: where that lies inside
_NET = "/run/agentpkg"

#: how programs find it: what curl, pip, git, node and most others read
PROXIES = {
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), f"http://127.0.0.1:{PORT}"),
    **dict.fromkeys(("NO_PROXY", "no_proxy"), "localhost,127.0.0.1,::1"), "NODE_USE_ENV_PROXY": "1",
}  # fmt: skip

PROMISE = "writes its worktree alone; sees no network, no home, no other process; nothing of it survives"


@dataclass(frozen=True)
class Strong:
    """Runs a command in a sandbox of bubblewrap."""

    name = "strong"
    covers_git = True
    cuts_network = True

    def stamp(self) -> str:
        """The programs there are, by place, time and size."""
        facts = [(path, os.stat(path)) for path in bubblewrap.candidates()]
        return ";".join(f"{path} {found.st_mtime_ns} {found.st_size} {found.st_mode}" for path, found in facts)

    def probe(self) -> Probe:
        """Tries each bubblewrap with the real arguments; the first that starts is the one."""
        if sys.platform != "linux":
            return Probe(False, "strong needs bubblewrap, which is for Linux")
        said = ""
        for path in bubblewrap.candidates():
            program = bubblewrap.ask(path)
            why = _try(program)
            if why is None:
                return Probe(True, f"strong ({program.shown}): {PROMISE}", facts=program.as_facts())
            said = said or f"{path}: {why}"
        detail = f"strong: bubblewrap does not start here: {said}" if said else "strong: there is no bubblewrap (bwrap)"
        return Probe(False, detail, bubblewrap.fix_for(said, bubblewrap.os_release()))

    def wrap(self, argv: tuple[str, ...], env: Mapping[str, str], place: Place, facts: Mapping[str, str]) -> Wrapped:
        """bwrap around the command; the arguments are told in docs/security.md."""
        tools, needs = _tools(env, _closed(place), (*place.reads, *_way_out_needs(place.network)), place.mounts)
        _require_seen(place.program, tools, place)
        out = _begun(facts, tools)
        _session(out, place, env.get("HOME", "/"))
        inner = inner_environment({**needs, **env}, tools)
        return _finished(out, place.worktree, argv, inner, place.network)

    def wrap_room(self, argv: tuple[str, ...], env: Mapping[str, str], room: Room, facts: Mapping[str, str]) -> Wrapped:
        """bwrap around a command in a copy: nothing of the repository but objects, nothing writable but the copy."""
        tools, needs = _tools(env, room.closed, _way_out_needs(room.network), (*room.mounts, *room.reads))
        out = _begun(facts, tools)
        out.write(room.home, bubblewrap.HOME)
        for path in (room.temporary, *room.writes):
            out.write(path)
        out.write(room.root, room.seen_as)
        inner = {**inner_environment({**needs, **env}, tools), "TMPDIR": room.temporary, "PWD": room.seen_as}
        return _finished(out, room.seen_as, argv, inner, room.network)


def _tools(
    env: Mapping[str, str], closed: tuple[str, ...], programs: Iterable[str], mounts: Iterable[str]
) -> tuple[Tools, dict[str, str]]:
    """What of the machine is shown, and the variables that it needs."""
    home = env.get("HOME", "/")
    tools = Tools(home, (os.path.realpath(home), *closed))
    needs = tools.add_environment(env)
    for path in programs:
        tools.add_program(path) if os.access(path, os.X_OK) and os.path.isfile(path) else tools.add(path)
    for path in (*mounts, *(env[name] for name in _CERTIFICATES if os.path.isabs(env.get(name, "")))):
        tools.add(path)
    return tools, needs


def _begun(facts: Mapping[str, str], tools: Tools) -> Arguments:
    out = Arguments(Program.from_facts(facts))
    out.namespaces()
    out.system()
    for path in sorted(tools.paths):
        out.read(path)
    return out


def _finished(out: Arguments, cwd: str, argv: tuple[str, ...], env: dict[str, str], network: Network | None) -> Wrapped:
    if network is not None:
        argv = _way_out(out, network, argv)
        env = {**env, **PROXIES}
    status = StatusFile()
    return Wrapped(out.command(cwd, status.descriptor, argv), env, (status.descriptor,), status)


def inner_environment(env: Mapping[str, str], tools: Tools) -> dict[str, str]:
    """The environment as it makes sense inside: a home and a ``/tmp`` of its own, nothing that leads to nowhere."""
    hidden = {name for name in _IF_SEEN if name in env and not tools.covers(os.path.normpath(env[name]))}
    kept = {name: value for name, value in env.items() if name not in _DROPPED and name not in hidden}
    return {**kept, "HOME": bubblewrap.HOME, "TMPDIR": "/tmp"}


def _way_out(out: Arguments, network: Network, argv: tuple[str, ...]) -> tuple[str, ...]:
    """Shows the sockets inside; gives the command that first listens on the ports they stand for."""
    shutil.copyfile(forward.__file__, os.path.join(network.folder, "forward.py"))
    out.guard(network.folder, _NET)
    ports = ",".join(f"{port}={_NET}/{name}" for port, name in network.sockets.items())
    return (_PYTHON, "-I", "-S", f"{_NET}/forward.py", ports, "--", *argv)


def _way_out_needs(network: Network | None) -> tuple[str, ...]:
    return () if network is None else (_PYTHON,)


def _closed(place: Place) -> tuple[str, ...]:
    return (place.repository, place.common_dir, place.session, place.worktree)


def _session(out: Arguments, place: Place, user_home: str) -> None:
    home = os.path.join(place.session, "home")
    os.makedirs(home, mode=0o700, exist_ok=True)
    out.write(home, bubblewrap.HOME)
    for path in place.states:
        _state(out, path, user_home, home)
    out.write(_plain(place.private), place.common_dir)
    _require_plain(place.private, "objects", "base")
    objects = os.path.join(place.common_dir, "objects")
    out.guard(objects, os.path.join(objects, "base"))
    for borrowed in _borrowed(objects):
        out.read(borrowed)
    for path in place.reads:
        if within(path, place.common_dir):
            _require_plain(place.private, *os.path.relpath(path, place.common_dir).split(os.sep))
            out.guard(path)
    out.write(_plain(place.worktree))
    out.guard(_plain(os.path.join(place.worktree, ".git"), stat.S_IFREG))
    kittify = os.path.join(place.worktree, ".kittify")
    if os.path.isdir(kittify) and not os.path.islink(kittify):
        out.guard(kittify)


def _state(out: Arguments, path: str, user_home: str, home: str) -> None:
    """Gives the session a copy of what a program keeps: an agent that could write the original would have the user's
    own next start of that program run what it likes."""
    inside = os.path.relpath(path, user_home) if within(path, user_home) else os.path.join(".states", path.strip("/"))
    copy = os.path.join(home, inside)
    _require_plain(home, *inside.split(os.sep))
    if not os.path.lexists(copy):
        _copy_settings(path, copy)
    if os.path.exists(copy):
        out.write(copy, path)


def _copy_settings(source: str, to: str) -> None:
    """Copies a file, or the plain files right in a folder: settings and sign-in, not what was said and done before."""
    os.makedirs(os.path.dirname(to), mode=0o700, exist_ok=True)
    if os.path.isfile(source):
        shutil.copyfile(source, to)
        os.chmod(to, 0o600)
    elif os.path.isdir(source):
        os.mkdir(to, 0o700)
        for entry in os.scandir(source):
            if entry.is_file() and not entry.name.startswith("history") and entry.stat().st_size <= _LARGEST_SETTING:
                _copy_settings(entry.path, os.path.join(to, entry.name))


def _borrowed(objects: str) -> list[str]:
    """Folders of objects that the repository itself borrows from (gitrepository-layout(5)), as absolute paths."""
    try:
        lines = Path(objects, "info", "alternates").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return []
    return [line for line in lines if os.path.isabs(line)]


def _plain(path: str, kind: int = stat.S_IFDIR) -> str:
    """The path, once it is certain that it is no link: what an agent wrote decides nothing that is mounted."""
    try:
        found = stat.S_IFMT(os.lstat(path).st_mode)
    except OSError as error:
        raise _not_plain(path, error.strerror or "it cannot be looked at") from error
    if found != kind:
        raise _not_plain(path, "it is something else than it was made as")
    return path


def _require_plain(root: str, *parts: str) -> None:
    """The same for what lies below a folder that an agent may have written, link by link; missing is good."""
    here = root
    for number, part in enumerate(parts, start=1):
        here = os.path.join(here, part)
        if os.path.lexists(here):
            _plain(here, stat.S_IFDIR if number < len(parts) or os.path.isdir(here) else stat.S_IFREG)


def _not_plain(path: str, why: str) -> Lacking:
    return Lacking(f"cannot isolate: {path}: {why}", "start the package again with --fresh", code="not_isolated")


def _require_seen(program: str, tools: Tools, place: Place) -> None:
    if not os.path.isabs(program) or tools.covers(program) or within(program, place.worktree):
        return
    raise Lacking(
        f"cannot start {program}: the sandbox does not show it" if os.path.exists(program)
        else f"cannot start {program}: there is no such file",
        "install the program, or name its folder in isolation.mounts", code="cannot_start",
    )  # fmt: skip


# --------------------------------------------------------------------------- the trial


def _try(program: Program) -> str | None:
    """Runs the real arguments around a shell that does nothing; gives why they do not start, None when they do."""
    with tempfile.TemporaryDirectory(prefix="agentpkg-probe-") as folder:
        out = Arguments(program)
        out.namespaces()
        out.system()
        out.write(os.path.realpath(folder))
        status = StatusFile()
        try:
            argv = out.command("/", status.descriptor, ("/bin/sh", "-c", "exit 7"))
            done = proc.run(argv, env={}, cwd=Path("/"), timeout=_SECONDS, merge=True, keep=(status.descriptor,))
        except Lacking as error:
            return error.message
        finally:
            status.close()
    said: Sequence[str] = done.stdout.decode("utf-8", "replace").strip().splitlines()
    return None if done.exit_code == 7 else (said[-1] if said else f"it ended with {done.exit_code}")
