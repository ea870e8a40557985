"""What a person asks of a running session: to stop, or to hear something.

The request lies in the session's folder, where its supervisor finds it.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from agentpkg.core.errors import BadInput, Busy
from agentpkg.files import lock, read_bounded, write_atomic

_FILE = "cancel.json"

#: bytes of one instruction
LONGEST = 16_000

_TOLD = "told-"


@dataclass(frozen=True, slots=True)
class Cancel:
    """A request to stop a session.

    Attributes:
        by: the actor who asks.
        final: the package becomes ``cancelled``; otherwise ``blocked`` with reason ``interrupted``.
        at: when, in seconds of the machine's monotonic clock.
    """

    by: str
    reason: str
    final: bool
    at: float = field(default_factory=time.monotonic)


def cancel(state: Path, session: str, by: str, reason: str) -> None:
    """Asks a session of the repository with this state folder to stop, for good.

    Raises:
        Busy: somebody else has asked for that already.
    """
    folder = state / "sessions" / session
    with lock(state / "locks" / f"cancel-{session}.lock", timeout=5):
        earlier = asked(folder)
        if earlier is not None and earlier.final:
            raise Busy(f"{earlier.by} is cancelling it already", "wait for it to end", code="being_cancelled")
        _ask(folder, Cancel(by, reason, True))


def interrupt(state: Path, session: str, by: str) -> None:
    """Asks a session to stop for now; the package can be dispatched again. A request to cancel stands above it."""
    folder = state / "sessions" / session
    if asked(folder) is None:
        _ask(folder, Cancel(by, "interrupted", False))


def asked(folder: Path) -> Cancel | None:
    """The request in a session's folder, None when nobody asked in words that can be read."""
    try:
        return Cancel(**json.loads(read_bounded(folder / _FILE, 1 << 16)))
    except (FileNotFoundError, ValueError, TypeError, BadInput):
        return None


def _ask(folder: Path, request: Cancel) -> None:
    if folder.is_dir():
        write_atomic(folder / _FILE, json.dumps(asdict(request)))


def instruct(state: Path, session: str, number: int, text: str) -> None:
    """Gives a session an instruction; ``number`` orders it among others."""
    folder = state / "sessions" / session
    if folder.is_dir():
        write_atomic(folder / f"{_TOLD}{number:012}", text)


def instructions(folder: Path, known: set[str]) -> Iterator[str]:
    """Instructions that have come into a session's folder since the last call.

    Args:
        known: the names of those that were taken already; grows.
    """
    for path in sorted(folder.glob(f"{_TOLD}*")):
        if path.name not in known:
            known.add(path.name)
            yield read_bounded(path, LONGEST).decode("utf-8", "replace")
