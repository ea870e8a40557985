"""Keeps uncommitted work while an agent makes it: snapshots in a thread of the supervisor's, at low priority.

Nothing waits for it: limits, silence and requests to stop are watched by the supervisor's main thread. What a snapshot
costs is bounded: it takes a twentieth of the time at most, stops short of a full disk, and ends when a session's
snapshots have become very large.
"""

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from agentpkg.core.errors import AgentpkgError
from agentpkg.git.snapshots import Watch

#: of the time, at most one part in so many is spent on snapshots
_SHARE = 20

#: bytes of free disk below which nothing is kept until there is more
_ROOM = 256 << 20

#: bytes, before compression, after which no more snapshots of a session are made but the one at its end
_LARGEST = 4 << 30

_NICENESS = 10


class Keeper:
    """Takes snapshots for the length of a ``with`` block.

    Args:
        watch: makes the watch over the worktree, in the thread.
        folder: the session's.
        seconds: between two snapshots; 0: none are made.
    """

    def __init__(self, watch: Callable[[], Watch], folder: Path, seconds: float) -> None:
        self._watch, self._folder, self._seconds = watch, folder, seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="snapshots", daemon=True)

    def __enter__(self) -> Self:
        if self._seconds:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # what it runs was killed with the rest of the session's processes, and is not begun again
        self._over.set()
        if self._seconds:
            self._thread.join()

    def _keep(self) -> None:
        _be_nice()
        watch, pause = None, self._seconds
        while not self._over.wait(pause):
            began = time.monotonic()
            # the one at the end says what is wrong, and the next may find it right again
            with suppress(AgentpkgError, OSError):
                watch = watch or self._watch()
                if watch.size > _LARGEST:
                    return
                if shutil.disk_usage(self._folder).free > _ROOM:
                    watch.take()
            pause = max(self._seconds, _SHARE * (time.monotonic() - began))


def _be_nice() -> None:
    """Lowers the priority of this thread, and of what it starts, where a thread can have one of its own."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
