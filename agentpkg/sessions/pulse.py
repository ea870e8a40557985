"""Signs of life of a session, which its supervisor leaves in its folder about twice a second.

Two small files. ``pulse.json`` says what the session is at and what it takes, for whoever looks: a supervisor that is
stopped or hangs leaves no new one. ``tree`` names every process of it, by pid and start time, so that they are found
even when supervisor and watcher are both gone and a process has shed its mark and its parents.

Both are written in place, without a rename, since they are of no worth after a crash of the machine; a reader that
meets half of one takes it for none.
"""

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from agentpkg.core.errors import BadInput
from agentpkg.files import read_bounded
from agentpkg.proc import ProcessIdentity
from agentpkg.sessions.limits import Usage

_PULSE, _TREE = "pulse.json", "tree"
_LIMIT = 1 << 20

#: seconds between two signs
EVERY = 0.5

#: seconds without a new one after which a supervisor does not answer
LONG = 5.0


@dataclass(frozen=True, slots=True)
class Pulse:
    """What a session was at when its supervisor last said so.

    Attributes:
        phase: ``setup``, ``running`` or ``ending``; in the last one no further sign is to be expected soon.
        at: seconds of the machine's monotonic clock, which all processes of one boot share.
        memory: bytes, resident.
        processes: how many.
        cpu: seconds of processor time, whole ones.
        disk: bytes, 0 where nobody measures them.
        stopping: why it is being stopped, if it is.
        used: tokens and the like, as far as its agent's program has told.
    """

    phase: str
    at: float
    memory: int = 0
    processes: int = 0
    cpu: int = 0
    disk: int = 0
    stopping: str | None = None
    used: Mapping[str, Any] = field(default_factory=dict)


class Heart:
    """Writes the signs of one session.

    Args:
        folder: of the session.
        above: the watcher, which belongs to the session too.
    """

    def __init__(self, folder: Path, above: ProcessIdentity | None = None) -> None:
        self._folder = folder
        self._above = {above.pid: above.started} if above else {}
        self._next = 0.0
        self._members: Mapping[int, str] = {}
        self._used: Mapping[str, Any] = {}

    def beat(self, phase: str) -> None:
        """Says that the supervisor lives; when the time has come, or the phase is ``ending``."""
        now = time.monotonic()
        if now >= self._next or phase == "ending":
            self._next = now + EVERY
            _write(self._folder / _PULSE, json.dumps(asdict(Pulse(phase, now, used=self._used))))

    def looked(self, usage: Usage, stop: str | None, disk: int) -> None:
        """Says what a running session takes; when the time has come, or it begins to stop."""
        if usage.now < self._next and stop is None:
            return
        self._next = usage.now + EVERY
        load = usage.load
        said = Pulse("running", usage.now, load.memory, load.processes, int(load.cpu), disk, stop, usage.used)
        self._used = usage.used
        _write(self._folder / _PULSE, json.dumps(asdict(said)))
        if {**load.members, **self._above} != self._members:
            self._members = {**load.members, **self._above}
            _write(self._folder / _TREE, "".join(f"{pid} {started}\n" for pid, started in self._members.items()))


def _write(path: Path, text: str) -> None:
    # a full disk is no reason to end a session, and a sign that is missing says less than a wrong one
    with suppress(OSError):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
        try:
            data = text.encode()
            os.ftruncate(handle, os.pwrite(handle, data, 0))
        finally:
            os.close(handle)


def read_pulse(folder: Path) -> Pulse | None:
    """The newest sign of the session in a folder; None when there is none that can be read."""
    try:
        return Pulse(**json.loads(read_bounded(folder / _PULSE, _LIMIT)))
    except (OSError, ValueError, TypeError, BadInput):
        return None


def read_members(folder: Path) -> dict[int, str]:
    """When each process of the session started, by pid, as last written down."""
    try:
        lines = read_bounded(folder / _TREE, _LIMIT).decode("ascii", "replace").splitlines()
    except (OSError, BadInput):
        return {}
    pairs = (line.partition(" ") for line in lines)
    return {int(pid): started for pid, _, started in pairs if pid.isdigit() and started}
