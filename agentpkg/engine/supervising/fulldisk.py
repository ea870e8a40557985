"""A full disk, or a ledger that is away: told from what else goes wrong, and waited out.

Whoever gives up on a full disk records a failure that is none, with commits that never came in. Waiting loses nothing:
every step may be repeated, and goes on as soon as somebody has made room, or has made the ledger again.
"""

import errno
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from agentpkg.core.errors import AgentpkgError, Lacking
from agentpkg.engine.supervising import plan

T = TypeVar("T")

#: what the system says of a disk, or a person's share of it, that is used up
_FULL = {errno.ENOSPC, errno.EDQUOT}
_SAID = tuple(os.strerror(number) for number in sorted(_FULL))

#: bytes of free disk below which an error of SQLite's that names no cause is one of these
_ROOM = 1 << 20

#: seconds between two tries
PAUSE = 1.0


def is_full(error: BaseException, folder: Path) -> bool:
    """Whether an error comes from a full disk.

    Args:
        folder: on the disk where agentpkg's state is.
    """
    if isinstance(error, OSError):
        return error.errno in _FULL
    if not isinstance(error, AgentpkgError):
        return False
    if error.code == "disk_error":
        return shutil.disk_usage(folder).free < _ROOM
    said = (error.message, *map(str, error.details.get("stderr", ())))
    return error.code == "disk_full" or any(one in line for line in said for one in _SAID)


def passes(error: BaseException, folder: Path) -> bool:
    """Whether people will put right what stopped a session's supervisor, so that it may wait.

    Args:
        folder: the session's. While its plan is there so is the repository, and its ledger can be made again. The
            folder alone proves nothing: a lock makes it anew at the old place of a repository that was moved.
    """
    if isinstance(error, AgentpkgError) and error.code in ("ledger_lost", "ledger_damaged"):
        return (folder / plan.FILE).is_file()
    return is_full(error, folder)


def shown(error: OSError) -> Lacking:
    """The error for people that says what is full."""
    where = f": {error.filename}" if error.filename else ""
    hint = "make room and repeat the command; what was done is recorded, and what is half done is finished"
    return Lacking(f"the disk is full{where}", hint, code="disk_full")


def wait_out(step: Callable[[], T], folder: Path, waiting: Callable[[], None] = lambda: None) -> T:
    """Does what may be repeated, as often as something stops it that passes.

    Args:
        folder: as for :func:`passes`.
        waiting: called before each further try; ends the waiting with what it raises.
    """
    while True:
        try:
            return step()
        except (AgentpkgError, OSError) as error:
            if not passes(error, folder):
                raise
        waiting()
        time.sleep(PAUSE)


@contextmanager
def overlooked(folder: Path) -> Iterator[None]:
    """For what is asked again soon, or is only told: what passes is no reason to end an agent's work."""
    try:
        yield
    except (AgentpkgError, OSError) as error:
        if not passes(error, folder):
            raise
