"""Bounds that the kernel keeps for each process of a session (getrlimit(2)): a second net under what is measured.

What a whole tree may take is measured and enforced from outside (``agentpkg.sessions.limits``), a few times a second.
Between two looks one process could take far more than that; these bounds stop it sooner. They are set by
``prlimit`` (prlimit(1), util-linux) in front of the command, so that they hold in the same words inside a sandbox and
without one. Where there is no ``prlimit`` the tree's limits stand alone.
"""

import os
import resource
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentpkg.proc.load import tasks

#: where util-linux has it, in a sandbox too
_PRLIMIT = "/usr/bin/prlimit"

#: bytes that any process may have of its own: interpreters reserve more than they use
_LEAST_DATA = 1 << 30

#: processes and threads that a user may start besides
_ROOM = 1000


@dataclass(frozen=True, slots=True)
class PerProcess:
    """What one process may have; None: as it is.

    Attributes:
        data: bytes of writable memory of its own (``RLIMIT_DATA``; ``RLIMIT_AS`` would break programs that reserve
            address space, such as node).
        file_size: bytes of one file that it writes (``RLIMIT_FSIZE``).
        processes: how many processes and threads its user may have (``RLIMIT_NPROC``); all of that user's count, unless
            the session has a user of its own, in a user namespace. The superuser is never bound by it.
    """

    data: int | None = None
    file_size: int | None = None
    processes: int | None = None

    def wrap(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        """The command that runs ``argv`` within these bounds; ``argv`` itself where nothing can be bound.

        No bound is raised: one that is lower already stays.
        """
        asked = {"data": self.data, "fsize": self.file_size, "nproc": self.processes}
        options = [f"--{name}={_lowered(name, value)}" for name, value in asked.items() if value is not None]
        return (_PRLIMIT, *options, "--", *argv) if options and os.access(_PRLIMIT, os.X_OK) else argv


def per_process(limits: Mapping[str, Any], alone: bool = False) -> PerProcess:
    """What a session's ``limits`` mean for each of its processes.

    A process may have twice the memory of the whole session, since what it reserves is more than what it uses; a
    single file as many bytes as the whole session. The bound on processes lies far above the limit, so that it is the
    limit that is exceeded, and named; it holds back storms of forks.

    Args:
        limits: as configured: ``memory``, ``disk`` and ``processes`` count.
        alone: the session has a user of its own. Elsewhere all that the machine runs now may run besides.
    """
    memory, disk, processes = (limits.get(name) for name in ("memory", "disk", "processes"))
    return PerProcess(
        data=max(2 * memory, _LEAST_DATA) if memory else None, file_size=disk or None,
        processes=processes and 2 * processes + _ROOM + (0 if alone else tasks()),
    )  # fmt: skip


def _lowered(name: str, value: int) -> int:
    kinds = {"data": resource.RLIMIT_DATA, "fsize": resource.RLIMIT_FSIZE}
    if sys.platform == "linux":
        kinds["nproc"] = resource.RLIMIT_NPROC
    _, hard = resource.getrlimit(kinds[name])
    return value if hard == resource.RLIM_INFINITY else min(value, hard)
