"""The children that this process has started itself, and how they are told from those that it had to adopt.

A subreaper becomes the parent of whatever below it loses its own. It waits for what it has started where it has started
it; the exit codes of the others are taken here, or they would stay in the process table as long as it lives.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Container, Iterable, Sequence
from contextlib import suppress
from typing import Any

from agentpkg.proc.tree import carries, look, read_proc

#: times in a row that no adopted child is seen before there is none
_QUIET = 3

#: held while a child is started, so that nobody meets one that is not known yet
_starting = threading.Lock()

_started: dict[int, "subprocess.Popen[bytes]"] = {}


def start_own(argv: Sequence[str], **how: Any) -> "subprocess.Popen[bytes]":
    """Starts a child, in a session of its own; there is no other way to start one.

    Args:
        argv: the program and its arguments.
        how: what ``subprocess.Popen`` takes besides.

    Raises:
        OSError, ValueError: it cannot be started.
    """
    with _starting:
        child = subprocess.Popen(argv, start_new_session=True, **how)
        _started[child.pid] = child
    return child


def own() -> set[int]:
    """Pids of the children that this process has started and has not waited for yet."""
    with _starting:
        return _waited_for()


def reap_adopted(pids: Iterable[int]) -> None:
    """Takes the exit codes of those of ``pids`` that have ended and are adopted children of this process."""
    with _starting:
        mine = _waited_for()
        for pid in pids:
            found = None if pid in mine else look(pid)
            if found is not None and found.zombie and found.parent == os.getpid():
                with suppress(ChildProcessError):
                    os.waitpid(pid, os.WNOHANG)


def chase_adopted(
    spare: Container[int] = (), seconds: float = 5.0, belongs: Callable[[int], bool | None] = lambda pid: True
) -> bool:  # fmt: skip
    """Kills the caller's adopted children until there are none; gives whether there was any.

    What forks and ends at once, again and again, is never met in the process table, which takes long to read. But its
    newest link is always a child of the subreaper above it, and those the kernel lists at once (proc(5)). Where it
    lists none nothing is done.

    Args:
        spare: pids that are left alone.
        seconds: after which this gives up.
        belongs: of an adopted child, whether it is meant; None: it has ended and nothing tells.
    """
    deadline, met, quiet = time.monotonic() + seconds, False, 0
    # the list may leave out one of several that come and go while it is read
    while quiet < _QUIET and time.monotonic() < deadline:
        adopted = [pid for pid in _children() if pid not in spare]
        with _starting:
            adopted = [pid for pid in adopted if pid not in _waited_for()]
        meant = [pid for pid in adopted if _end(pid, belongs(pid))]
        met, quiet = met or bool(meant), 0 if meant else quiet + 1
    return met


def _end(pid: int, meant: bool | None) -> bool:
    """Ends an adopted child that is meant, or takes what has ended; False for one that is let live."""
    if meant is False:
        return False
    # nobody else's until it is waited for
    with suppress(ProcessLookupError, PermissionError, ChildProcessError):
        if meant:
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, os.WNOHANG)
    return True


def of_mark(mark: str, alone: Callable[[], bool]) -> Callable[[int], bool | None]:
    """What tells, for :func:`chase_adopted`, whether an adopted child carries ``mark``; made before that is started.

    Args:
        alone: whether nothing else below the caller can have lost its parents since: then what has appeared from now
            on is meant too, whatever it carries.
    """
    before = set(_children())

    def belongs(pid: int) -> bool | None:
        if carries(pid, mark):
            return True
        found = look(pid)
        if found is None or found.zombie:
            return None
        return pid not in before and alone()

    return belongs


def _children() -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for task in os.listdir("/proc/self/task"):
            found += map(int, read_proc(f"/proc/self/task/{task}/children").split())
    return found


def _waited_for() -> set[int]:
    for pid in [pid for pid, child in _started.items() if child.returncode is not None]:
        del _started[pid]
    return set(_started)
