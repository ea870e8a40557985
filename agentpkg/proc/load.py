"""What a tree of processes takes of the machine: how many they are, their memory, their processor time.

Linux reads ``/proc`` (proc(5)), other systems ask psutil. Memory is the sum of resident sets and of files that are
nothing but memory (memfd_create(2)), whose pages stand in no resident set while nobody has mapped them. Pages that
processes share, or have mapped, count more than once, so a sum that matters is looked at again by :func:`fair_memory`.
Processor time includes what has ended, as far as it can be known: what was waited for stands in its parent's account,
what the caller had to adopt is taken with its exit code, and of what vanished otherwise the last reading stays.
"""

import os
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache

from agentpkg.proc.tree import read_proc

_LINUX = sys.platform == "linux"


@dataclass(frozen=True, slots=True)
class Load:
    """What a tree takes at one moment.

    Attributes:
        members: when each of its processes started, by pid; zombies, which ended and nobody waited for, included.
        memory: bytes, resident or in files of memory.
        cpu: seconds of processor time since the beginning, of everything that ever belonged to it.
    """

    members: Mapping[int, str] = field(default_factory=dict)
    memory: int = 0
    cpu: float = 0.0

    @property
    def processes(self) -> int:
        """How many there are."""
        return len(self.members)


@dataclass(frozen=True, slots=True)
class _Reading:
    """One process: seconds of its own, seconds of children it waited for, bytes."""

    started: str
    own: float
    waited: float
    memory: int


@dataclass
class Meter:
    """Measures one tree again and again.

    Args:
        find: gives the pids of the tree, zombies included.
    """

    find: Callable[[], Iterable[int]]
    #: seconds of processes that nobody's account holds any more
    ended: float = 0.0
    _last: Mapping[int, _Reading] = field(default_factory=dict)

    def read(self) -> Load:
        """The tree as it is now."""
        now = {pid: reading for pid in self.find() if (reading := _read(pid)) is not None}
        self.ended += self._lost(now)
        self._last = now
        cpu = self.ended + sum(one.own + one.waited for one in now.values())
        memory = sum(one.memory for one in now.values()) + _in_files(now)
        return Load({pid: one.started for pid, one in now.items()}, memory, cpu)

    def _lost(self, now: Mapping[int, _Reading]) -> float:
        """Seconds of what vanished since the last reading, less what accounts of the living have taken over."""
        gone = [one for pid, one in self._last.items() if pid not in now or now[pid].started != one.started]
        if not gone:
            return 0.0
        taken = sum(
            one.waited - (self._last[pid].waited if pid in self._last else 0.0)
            for pid, one in now.items()
        )  # fmt: skip
        return max(0.0, sum(one.own + one.waited for one in gone) - max(0.0, taken))


def fair_memory(pids: Collection[int]) -> int:
    """Bytes of memory of some processes, pages that several have divided among these (``Pss`` of proc(5)).

    Exact, and slower than the sum of resident sets by far; where it cannot be known a process counts in full.
    """
    found = [_fair(pid) for pid in pids]
    mapped = sum(shared for _, shared in found)
    return sum(taken for taken, _ in found) + max(0, _in_files(pids) - mapped)


def _fair(pid: int) -> tuple[int, int]:
    """Bytes of a process, and how many of them are pages of files of memory and their like."""
    lines = read_proc(f"/proc/{pid}/smaps_rollup").splitlines() if _LINUX else ()
    told = {words[0]: int(words[1]) * 1024 for line in lines if len(words := line.split()) == 3}
    if b"Pss:" in told:
        return told[b"Pss:"], told.get(b"Pss_Shmem:", 0)
    reading = _read(pid)
    return (reading.memory if reading else 0), 0


def _in_files(pids: Iterable[int]) -> int:
    """Bytes of the files of memory that some processes have open; those of a process that hides them are not known."""
    sizes: dict[tuple[int, int], int] = {}
    for pid in pids if _LINUX else ():
        with suppress(OSError), os.scandir(f"/proc/{pid}/fd") as files:
            for file in files:
                with suppress(OSError):
                    if os.readlink(file.path).startswith("/memfd:"):
                        found = os.stat(file.path)
                        sizes[found.st_dev, found.st_ino] = found.st_blocks * 512
    return sum(sizes.values())


def tasks() -> int:
    """How many threads the whole machine has, at the cost of one read; 0 where that cannot be known."""
    fields = read_proc("/proc/loadavg").split()
    return int(fields[3].partition(b"/")[2]) if len(fields) > 3 else 0


@cache
def _units() -> tuple[int, int]:
    """Clock ticks a second, bytes a page."""
    return os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")


def _read(pid: int) -> _Reading | None:
    return _read_linux(pid) if _LINUX else _read_psutil(pid)


def _read_linux(pid: int) -> _Reading | None:
    fields = read_proc(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    if not fields:
        return None
    ticks, page = _units()
    user, system, waited_user, waited_system = (int(value) for value in fields[11:15])
    return _Reading(
        fields[19].decode(), (user + system) / ticks, (waited_user + waited_system) / ticks, int(fields[21]) * page
    )


def _read_psutil(pid: int) -> _Reading | None:
    import psutil

    try:
        process = psutil.Process(pid)
        times, started = process.cpu_times(), repr(process.create_time())
        waited = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
        return _Reading(started, times.user + times.system, waited, process.memory_info().rss)
    except psutil.Error:
        return None
