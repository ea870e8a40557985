"""The children that this process has started itself, and how they are told from those that it had to adopt.

A subreaper becomes the parent of whatever below it loses its own. It waits for what it has started where it has started
it; the exit codes of the others are taken here, or they would stay in the process table as long as it lives.
"""

import os
import subprocess
import threading
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from agentpkg.proc.tree import look

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


def _waited_for() -> set[int]:
    for pid in [pid for pid, child in _started.items() if child.returncode is not None]:
        del _started[pid]
    return set(_started)
