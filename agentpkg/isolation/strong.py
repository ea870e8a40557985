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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agentpkg import proc
from agentpkg.core.errors import Lacking
from agentpkg.isolation import bubblewrap, forward
from agentpkg.isolation.base import PORT, Network, Place, Probe, Room, Wrapped, within
from agentpkg.isolation.bubblewrap import Arguments, Files, Program
from agentpkg.isolation.inner import inner_environment, plain, proxies, require_plain, settings_copies, tools_of
from agentpkg.isolation.toolchains import Tools

#: seconds for the trial
_SECONDS = 20.0

#: runs the inner end of the way to the network
_PYTHON = os.path.realpath(sys.executable)

#: where that lies inside
_NET = "/run/agentpkg"

PROMISE = "writes its worktree alone; sees no network, no home, no other process; nothing of it survives"


@dataclass(frozen=True)
class Strong:
    """Runs a command in a sandbox of bubblewrap."""

    name = "strong"
    covers_git = True
    cuts_network = True
    moves = True
    network_over = "sockets"

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
        tools, needs = tools_of(env, _closed(place), (*place.reads, *_way_out_needs(place.network)), place.mounts)
        _require_seen(place.program, tools, place)
        out, files = _begun(facts, tools)
        _session(out, place, env.get("HOME", "/"))
        inner = {**inner_environment({**needs, **env}, tools), "HOME": bubblewrap.HOME, "TMPDIR": "/tmp"}
        return _finished(out, files, place.worktree, argv, inner, place.network)

    def wrap_room(self, argv: tuple[str, ...], env: Mapping[str, str], room: Room, facts: Mapping[str, str]) -> Wrapped:
        """bwrap around a command in a copy: nothing of the repository but objects, nothing writable but the copy."""
        programs = (*room.programs, *_way_out_needs(room.network))
        tools, needs = tools_of(env, room.closed, programs, (*room.mounts, *room.reads))
        out, files = _begun(facts, tools)
        out.write(room.home, bubblewrap.HOME)
        for path, copy in settings_copies(room.states, env.get("HOME", "/"), room.home).items():
            out.write(copy, path)
        for path in (room.temporary, *room.writes):
            out.write(path)
        (out.guard if room.sealed else out.write)(room.root, room.seen_as)
        inner = {
            **inner_environment({**needs, **env}, tools), "HOME": bubblewrap.HOME, "TMPDIR": room.temporary,
            "PWD": room.seen_as,
        }  # fmt: skip
        return _finished(out, files, room.seen_as, argv, inner, room.network)

    def reader(
        self, program: str, reads: tuple[str, ...], writes: tuple[str, ...], facts: Mapping[str, str]
    ) -> tuple[str, ...]:
        """bwrap around a reading command: no network, nothing but these paths."""
        out = Arguments(Program.from_facts(facts))
        out.namespaces()
        out.system()
        for path in (*_shown(program), *reads):
            out.read(path)
        for path in writes:
            out.write(path)
        return out.prefix()


def _shown(program: str) -> list[str]:
    """A program, with what it belongs to."""
    tools = Tools("/")
    tools.add_program(program)
    return sorted(tools.paths)


def _begun(facts: Mapping[str, str], tools: Tools) -> tuple[Arguments, Files]:
    out, files = Arguments(Program.from_facts(facts)), Files()
    out.namespaces()
    out.system(files)
    shown: list[str] = []
    for path in sorted(tools.paths):
        if not any(within(path, above) for above in shown):
            shown.append(path)
            out.read(path)
    return out, files


def _finished(
    out: Arguments, files: Files, cwd: str, argv: tuple[str, ...], env: dict[str, str], network: Network | None
) -> Wrapped:
    if network is not None:
        argv = _way_out(out, network, argv)
        env = {**env, **proxies(PORT)}
    return Wrapped(out.command(cwd, files, argv), env, files.descriptors, files, voice="bwrap: ")


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
    for path, copy in settings_copies(place.states, user_home, home).items():
        out.write(copy, path)
    out.write(plain(place.private), place.common_dir)
    require_plain(place.private, "objects", "base")
    objects = os.path.join(place.common_dir, "objects")
    out.guard(objects, os.path.join(objects, "base"))
    for path in place.lent:
        out.read(path)
    if place.lent:
        # what it names may be named from where the objects really are; the private git dir names all of it
        nothing = Path(place.session, "nothing")
        nothing.touch(0o400)
        out.guard(str(nothing), os.path.join(objects, "base", "info", "alternates"))
    for path in place.reads:
        if within(path, place.common_dir):
            require_plain(place.private, *os.path.relpath(path, place.common_dir).split(os.sep))
            out.guard(path)
    out.write(plain(place.worktree))
    out.guard(plain(os.path.join(place.worktree, ".git"), stat.S_IFREG))
    kittify = os.path.join(place.worktree, ".kittify")
    if os.path.isdir(kittify) and not os.path.islink(kittify):
        out.guard(kittify)


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
        out, files = Arguments(program), Files()
        out.namespaces()
        out.system(files)
        out.write(os.path.realpath(folder))
        try:
            argv = out.command("/", files, ("/bin/sh", "-c", "exit 7"))
            done = proc.run(argv, env={}, cwd=Path("/"), timeout=_SECONDS, merge=True, keep=files.descriptors)
        except Lacking as error:
            return error.message
        finally:
            files.close()
    said: Sequence[str] = done.stdout.decode("utf-8", "replace").strip().splitlines()
    return None if done.exit_code == 7 else (said[-1] if said else f"it ended with {done.exit_code}")
