"""Which processes there are, who they are for certain, what descends from what, and how to end all of a tree.

A process is named by pid *and* start time *and* the system it runs on, since pids are used again; a signal goes to
exactly the process that was looked at (pidfd) where the system can do that. Processes that changed their session or
lost their parents are found by a mark: an entry ``NAME=VALUE`` of the environment they were started with. Linux reads
``/proc`` (proc(5)); other systems ask psutil.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Container, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_LINUX = sys.platform == "linux"
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of linux/prctl.h

#: seconds between two looks at processes that were told to die
_PAUSE = 0.005


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process that no other will ever be mistaken for.

    Attributes:
        pid: its process id.
        started: when it started: clock ticks since boot on Linux, psutil's create time elsewhere.
        boot_id: machine, boot and pid namespace, joined by dots.
    """

    pid: int
    started: str
    boot_id: str


@dataclass(frozen=True, slots=True)
class Process:
    """One line of the process table."""

    pid: int
    parent: int
    group: int
    session: int
    started: str
    zombie: bool
    #: it was told to stop, and waits to be told to go on
    stopped: bool = False


def identity(pid: int) -> ProcessIdentity | None:
    """Who the process ``pid`` of this machine is right now; None when there is none, or only a zombie."""
    process = look(pid)
    return None if process is None or process.zombie else ProcessIdentity(pid, process.started, here())


def alive(who: ProcessIdentity) -> bool | None:
    """Whether that very process still runs; None when it cannot be known from here.

    That is so on another machine, in another pid namespace, and where this user may not see other users' processes
    (``hidepid`` of proc(5)).
    """
    theirs, ours = who.boot_id.split("."), here().split(".")
    if theirs[1:] == ours[1:] and _machine(theirs) == _machine(ours):
        found = look(who.pid)
        if found is None:
            return None if _hidden(who.pid) else False
        return not found.zombie and found.started == who.started
    rebooted = theirs[0] == ours[0] and theirs[1:2] != ours[1:2]
    return False if rebooted else None


def _machine(place: list[str]) -> str:
    # without its name, which may change while it runs
    return place[0].partition("-")[0]


def _hidden(pid: int) -> bool:
    """Whether there is a process that cannot be looked at."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    # it came to be, or became visible, since it was looked at
    return look(pid) is None


@cache
def here() -> str:
    """What pids are relative to: ``MACHINE.BOOT.NAMESPACE``."""
    import socket

    if not _LINUX:
        import psutil

        return f"{_plain(socket.gethostname())}.{int(psutil.boot_time())}.0"
    # images of machines are copied with their id, names of machines are not always given: both together
    machine = f"{_read_text('/etc/machine-id')}-{socket.gethostname()}"
    namespace = os.readlink("/proc/self/ns/pid").strip("pid:[]")
    return f"{_plain(machine)}.{_plain(_read_text('/proc/sys/kernel/random/boot_id'))}.{namespace}"


def _plain(text: str) -> str:
    return text.replace(".", "-") or "unknown"


def _read_text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


# ------------------------------------------------------------------------------------------------ the table


def look(pid: int) -> Process | None:
    """The process ``pid`` as it is now, or None."""
    return _look_linux(pid) if _LINUX else _look_psutil(pid)


def table() -> dict[int, Process]:
    """All processes that can be seen, by pid."""
    found = (look(pid) for pid in _pids())
    return {process.pid: process for process in found if process is not None}


def _pids() -> list[int]:
    if _LINUX:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    import psutil

    return psutil.pids()


def _look_linux(pid: int) -> Process | None:
    # the name in parentheses may hold anything, parentheses too
    fields = read_proc(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    if not fields:
        return None
    state, parent, group, session = fields[0], int(fields[1]), int(fields[2]), int(fields[3])
    # one whose first thread has ended while others run on says "Z" as well, and lives
    zombie = state in (b"Z", b"X") and int(fields[17]) <= 1
    return Process(pid, parent, group, session, fields[19].decode(), zombie, state in b"Tt")


def read_proc(path: str) -> bytes:
    """A file of ``/proc``, empty when its process is gone or not ours to read; twice as fast as ``open``."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        data = b""
        while chunk := os.read(handle, 1 << 16):
            data += chunk
        return data
    except OSError:
        return b""
    finally:
        os.close(handle)


def _look_psutil(pid: int) -> Process | None:
    import psutil

    try:
        process = psutil.Process(pid)
        zombie, stopped = (process.status() == state for state in (psutil.STATUS_ZOMBIE, psutil.STATUS_STOPPED))
        group, session = (0, 0) if zombie else (os.getpgid(pid), os.getsid(pid))
        return Process(pid, process.ppid(), group, session, repr(process.create_time()), zombie, stopped)
    except (psutil.Error, OSError):
        return None


def descendants(roots: Iterable[int], processes: Mapping[int, Process]) -> set[int]:
    """Every pid of the table that has one of ``roots`` above it; the roots themselves are not among them."""
    children: dict[int, list[int]] = {}
    for process in processes.values():
        children.setdefault(process.parent, []).append(process.pid)
    found: set[int] = set()
    todo = list(roots)
    while todo:
        fresh = [pid for pid in children.get(todo.pop(), ()) if pid not in found]
        found.update(fresh)
        todo += fresh
    return found


def carries(pid: int, mark: str) -> bool:
    """Whether a process was started with the entry ``mark`` (``NAME=VALUE``) in its environment."""
    if _LINUX:
        return os.fsencode(mark) in _environment(pid).split(b"\0")
    import psutil

    name, _, value = mark.partition("=")
    try:
        return psutil.Process(pid).environ().get(name) == value
    except (psutil.Error, OSError):
        return False


def _environment(pid: int) -> bytes:
    """What a process was started with; asked of another thread where the first has ended and tells nothing."""
    said = read_proc(f"/proc/{pid}/environ")
    if said:
        return said
    with suppress(OSError):
        # one link for each thread, beside "." and ".."
        if os.stat(f"/proc/{pid}/task").st_nlink > 3:
            threads = (tid for tid in os.listdir(f"/proc/{pid}/task") if tid != str(pid))
            return next(filter(None, (read_proc(f"/proc/{pid}/task/{tid}/environ") for tid in threads)), b"")
    return b""


def members(root: int | None, mark: str | None, spare: Container[int] = ()) -> list[Process]:
    """What belongs to a tree and lives: descends from ``root``, shares its group or session, or carries ``mark``.

    The calling process never belongs. ``root`` itself does, unless it is the caller.

    Args:
        root: a pid, also one that has ended; None: only the mark counts. The caller's own pid: all its descendants,
            which (see :func:`become_subreaper`) includes what lost its parents; groups and sessions then do not count.
        mark: ``NAME=VALUE``, or None.
        spare: pids that are left out, with what descends from them.
    """
    processes = table()
    kin = descendants([root], processes) if root is not None else set()
    spared = {os.getpid(), *descendants([pid for pid in processes if pid in spare], processes)}
    alone = root is None or root == os.getpid()

    def belongs(process: Process) -> bool:
        if process.zombie or process.pid in spare or process.pid in spared:
            return False
        related = process.pid in kin or (not alone and root in (process.pid, process.group, process.session))
        return related or (mark is not None and carries(process.pid, mark))

    return [process for process in processes.values() if belongs(process)]


# ------------------------------------------------------------------------------------------------ signals


def send(process: Process | ProcessIdentity, number: int) -> bool:
    """Sends a signal to that very process; False when it is gone or not ours to signal."""
    try:
        handle = _pidfd(process.pid)
        try:
            now = look(process.pid)
            if now is None or now.started != process.started:
                return False
            if handle is None:
                os.kill(process.pid, number)
            else:
                signal.pidfd_send_signal(handle, number)
        finally:
            if handle is not None:
                os.close(handle)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _pidfd(pid: int) -> int | None:
    if not _LINUX:
        return None
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        raise
    except OSError:
        # a kernel, or a sandbox around us, without the call
        return None


def kill_all(
    find: Callable[[], list[Process]], seconds: float = 5.0, chase: Callable[[], bool] = lambda: False
) -> list[Process]:
    """Kills what ``find`` finds, again and again, until it finds nothing.

    Everything is stopped before it is killed, so that nothing forks faster than it is found.

    Args:
        chase: ends what ``find`` is too slow for; says whether there was any.

    Returns:
        What still lived after ``seconds``; empty as a rule.
    """
    deadline = time.monotonic() + seconds
    while (found := find()) or chase():
        if time.monotonic() > deadline:
            return found
        for process in found:
            send(process, signal.SIGSTOP)
        victims = {process.pid: process for process in (*found, *find())}
        for process in victims.values():
            send(process, signal.SIGKILL)
        time.sleep(_PAUSE)
        _reap_adopted(victims.values())
    return []


def kill_marked(
    mark: str, seconds: float = 5.0, spare: Container[int] = (), *, known: Mapping[int, str] | None = None,
    also: Callable[[], Iterable[int]] = tuple,
) -> list[Process]:  # fmt: skip
    """Kills every process that carries ``mark`` and what descends from those; gives what survived.

    Args:
        spare: pids that are left alone.
        known: further processes, as pid and start time of this boot.
        also: gives pids that belong to them besides, at this moment.
    """
    before = known or {}

    def find() -> list[Process]:
        processes = table()
        carrying = [pid for pid, process in processes.items() if not process.zombie and carries(pid, mark)]
        carrying += [pid for pid, started in before.items() if pid in processes and processes[pid].started == started]
        carrying += [pid for pid in also() if pid in processes]
        wanted = {*carrying, *descendants(carrying, processes)} - {os.getpid()}
        return [processes[pid] for pid in wanted if not processes[pid].zombie and pid not in spare]

    return kill_all(find, seconds)


def _reap_adopted(killed: Iterable[Process]) -> None:
    """Takes the exit codes of killed processes that became our children by losing their parents."""
    for process in killed:
        now = look(process.pid)
        if now is not None and now.zombie and now.parent == os.getpid() != process.parent:
            with suppress(ChildProcessError):
                os.waitpid(process.pid, os.WNOHANG)


def become_subreaper() -> bool:
    """Makes the caller the parent of every descendant that loses its own; False where the system cannot (not Linux)."""
    if not _LINUX:
        return False
    import ctypes

    return bool(ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, 1, 0, 0, 0) == 0)
