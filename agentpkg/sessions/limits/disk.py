"""The bound on disk: what worktree and private git dir take, measured in slices so that nothing ever waits for it.

A walk as du(1) makes it: allocated blocks, names of one file counted once, no link followed, no other file system
entered. It goes on for some milliseconds at a time. The pause before the next walk grows with what the last one cost,
so that a large tree costs no more of the processor than a small one; a file system that fills up begins one at once.
"""

import errno
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agentpkg.sessions.limits.base import Breach, Usage

#: seconds of one slice, and of the last walk, when nothing else is to be done any more
_SLICE, _LAST = 0.02, 4.0

#: entries between two looks at the clock
_ENTRIES = 64

#: seconds between two walks at least, and how many times the cost of the last one
_PAUSE, _TIMES = 1.0, 20.0

#: bytes that the file system must lose for a walk before its time
_LOST = 16 << 20

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class DiskMeter:
    """Measures folders again and again, a slice at a time.

    Args:
        folders: what to measure; they may be missing.
        clock: monotonic seconds.
    """

    def __init__(self, folders: Sequence[Path], clock: Callable[[], float] = time.monotonic) -> None:
        self._folders, self._clock = folders, clock
        self._walk: _Walk | None = None
        self._due = 0.0
        self._free = 0
        self._known = 0
        #: folders lie too deep in each other to be measured
        self.too_deep = False

    @property
    def used(self) -> int:
        """Bytes, as of the last whole walk, or of the present one if that has found more already."""
        return max(self._known, self._walk.found if self._walk else 0)

    def step(self, seconds: float = _SLICE) -> None:
        """Goes on measuring for about ``seconds``."""
        now = self._clock()
        if self._walk is None and (now >= self._due or self._filling()):
            self._walk = _Walk(self._folders)
            self._free = self._room()
        if self._walk is not None and self._walk.go(now + seconds, self._clock):
            self._known, self.too_deep = self._walk.found, self._walk.too_deep
            self._due = self._clock() + max(_PAUSE, _TIMES * self._walk.cost)
            self._walk = None

    def finish(self) -> None:
        """One whole walk from the beginning, of four seconds at most."""
        self._walk, self._due = None, 0.0
        self.step(_LAST)

    def _filling(self) -> bool:
        return self._free - self._room() > _LOST

    def _room(self) -> int:
        with suppress(OSError):
            facts = os.statvfs(self._folders[0])
            return facts.f_bavail * facts.f_frsize
        return self._free


class _Walk:
    """One walk in progress."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.found = 0
        self.cost = 0.0
        self.too_deep = False
        self._seen: set[tuple[int, int]] = set()
        self._entries = self._each([os.fspath(folder) for folder in folders])

    def go(self, until: float, clock: Callable[[], float]) -> bool:
        """Goes on until some time; True when it is complete."""
        begun = clock()
        for _ in self._entries:
            if clock() >= until:
                self.cost += clock() - begun
                return False
        self.cost += clock() - begun
        return True

    def _each(self, waiting: list[str]) -> Iterator[None]:
        """Counts everything; gives way now and then."""
        count = 0
        devices: dict[str, int] = {}
        for top in waiting:
            with suppress(OSError):
                devices[top] = os.lstat(top).st_dev
        allowed = {*devices.values()}
        while waiting:
            folder = waiting.pop()
            for name, facts in self._listed(folder, allowed):
                if facts is None:
                    waiting.append(os.path.join(folder, name))
                else:
                    self._add(facts)
                count += 1
                if count % _ENTRIES == 0:
                    yield

    def _listed(self, folder: str, devices: set[int]) -> Iterator[tuple[str, os.stat_result | None]]:
        """What lies in a folder: folders without facts, everything else with them."""
        try:
            handle = os.open(folder, _FOLDER)
        except OSError as error:
            self.too_deep |= error.errno == errno.ENAMETOOLONG
            return
        try:
            facts = os.fstat(handle)
            if facts.st_dev not in devices:
                return
            self._add(facts)
            with suppress(OSError), os.scandir(handle) as entries:
                for entry in entries:
                    with suppress(OSError):
                        is_folder = entry.is_dir(follow_symlinks=False)
                        yield entry.name, None if is_folder else entry.stat(follow_symlinks=False)
        finally:
            os.close(handle)

    def _add(self, facts: os.stat_result) -> None:
        if facts.st_nlink > 1:
            # folders have several names by nature, and are met once
            key = (facts.st_dev, facts.st_ino)
            if key in self._seen:
                return
            self._seen.add(key)
        self.found += facts.st_blocks * 512


@dataclass(frozen=True, slots=True)
class Disk:
    """The most bytes that a session's worktree and private git dir may take."""

    most: int
    meter: DiskMeter

    def exceeded(self, usage: Usage) -> Breach | None:
        """``disk`` when they take more."""
        if usage.ended:
            self.meter.finish()
        else:
            self.meter.step()
        if self.meter.too_deep:
            said = f"its folders lie too deep in each other to be measured, the limit is {self.most} bytes"
            return Breach("disk", said, urgent=True)
        if self.meter.used <= self.most:
            return None
        said = f"worktree and git dir took {self.meter.used} bytes, the limit is {self.most}"
        return Breach("disk", said, urgent=True)
