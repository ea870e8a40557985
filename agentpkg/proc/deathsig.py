"""A process that the kernel ends together with the one that started it (PR_SET_PDEATHSIG of prctl(2)).

A session's watcher ends what a killed supervisor left. Should both be killed at once, the agent itself would work on
until the next command looks; so the kernel ends it. Only the one process: what it has started is found by the next
command, or by a run, which looks twice a second. The signal is set by ``setpriv`` (setpriv(1), util-linux 2.33) in
front of the command, not between fork and exec: the supervisor has threads. Where there is none all else holds.
"""

import os
import sys
from functools import cache
from pathlib import Path

from agentpkg.proc.run import run

_SETPRIV = "/usr/bin/setpriv"
_OPTIONS = ("--pdeathsig", "KILL", "--")


def ended_with_its_parent(argv: tuple[str, ...]) -> tuple[str, ...]:
    """The command that runs ``argv`` until the thread that starts it has ended; ``argv`` itself where that can't be."""
    return (_SETPRIV, *_OPTIONS, *argv) if _works() else argv


@cache
def _works() -> bool:
    if sys.platform != "linux" or not os.access(_SETPRIV, os.X_OK):
        return False
    return run((_SETPRIV, *_OPTIONS, "true"), env={"PATH": os.defpath}, cwd=Path("/"), timeout=5.0).exit_code == 0
