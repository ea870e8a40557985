"""Whether a disk was full under an agent: what it said last, and the least room there was while it ran.

A program that fails for want of room often takes its half-made files away, so that at its end there is room again.
Words alone prove nothing either: a test that writes to ``/dev/full`` says the same. What counts is both together, or
a disk that is full when all is over.
"""

import errno
import os
import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

#: bytes; with less than this free a disk is full, and with less than that a "no space left" is believed
FULL, LITTLE = 1 << 20, 64 << 20

#: the newest records whose words count, and characters from the end of each
_RECORDS, _TAIL = 20, 4000

_SAID = re.compile(
    "|".join(map(re.escape, (os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT)))) + r"|\bENOSPC\b|\bEDQUOT\b"
    r"|No space left on device|Disk quota exceeded|database or disk is full",
    re.IGNORECASE,
)
#: a person's share may be used up on a disk that has room
_QUOTA = re.compile(re.escape(os.strerror(errno.EDQUOT)) + r"|Disk quota exceeded|\bEDQUOT\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Full:
    """A disk that was full under an agent.

    Attributes:
        folder: on that disk.
        room: bytes free there when the agent had ended.
    """

    folder: str
    room: int


def room(folder: Path | str) -> int | None:
    """Bytes that may be written where ``folder`` is, 0 where no more files can be made; None: nobody knows."""
    try:
        facts = os.statvfs(folder)
    except OSError:
        return None
    return 0 if facts.f_files and not facts.f_favail else facts.f_bavail * facts.f_frsize


class Rooms:
    """Watches the room on the disks that an agent writes to, and what it says.

    Args:
        folders: one or more on each of those disks; they may be missing.
    """

    def __init__(self, folders: Iterable[Path]) -> None:
        self._folders = tuple(dict.fromkeys(folders))
        self._least: dict[Path, int] = {}
        self._heard: deque[str] = deque(maxlen=_RECORDS)

    def look(self) -> None:
        """Measures; to be called every now and then, and when all is over."""
        for folder in self._folders:
            now = room(folder)
            if now is not None:
                self._least[folder] = min(now, self._least.get(folder, now))

    def hear(self, text: str) -> None:
        """Takes what the agent said, or what was said of what it did."""
        self._heard.append(text[-_TAIL:])

    def full(self) -> Full | None:
        """The disk that was full; None when nothing speaks for one."""
        self.look()
        rooms = {folder: now for folder in self._least if (now := room(folder)) is not None}
        if not rooms:
            return None
        said = any(_SAID.search(text) for text in self._heard)
        least = min(rooms, key=lambda folder: self._least[folder])
        quota = said and any(_QUOTA.search(text) for text in self._heard)
        if quota or rooms[least] < FULL or (said and self._least[least] < LITTLE):
            return Full(str(least), rooms[least])
        return None
