"""The relay's door: the lock that makes it the only one, its socket, and what it says of itself."""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from agentpkg.files import write_atomic
from agentpkg.relay import place

#: seconds to wait for a relay with other settings to end
HANDOVER = 10.0

_POLL = 0.02


class Door:
    """Made by :meth:`take`, of which only one succeeds at a time."""

    def __init__(self, state: Path, life: int) -> None:
        self._state = state
        self._life = life
        self._identity = _identity(state)
        self.path = place.socket_path(state)
        self.socket: socket.socket | None = None

    @classmethod
    def take(cls, state: Path, digest: str | None, message: dict[str, Any]) -> "Door | None":
        """Becomes the relay; None where another one with fitting settings is there, which then has the message.

        Args:
            digest: of the settings this relay has; a relay with other ones is asked to end. None: any will do.
            message: what the starter wants.
        """
        place.run_dir(state).mkdir(mode=0o700, exist_ok=True)
        life = os.open(place.life_lock(state), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        deadline = time.monotonic() + HANDOVER
        while not _locked(life):
            status = place.read_status(state)
            fits = digest is None or status.get("settings") == digest
            there = bool(status.get("socket")) and place.send(status["socket"], message if fits else {"yield": True})
            if (there and fits) or time.monotonic() > deadline:
                os.close(life)
                return None
            time.sleep(_POLL)
        return cls(state, life)

    def open(self) -> socket.socket:
        """Binds the socket, where an earlier relay's may have been left."""
        self.path.unlink(missing_ok=True)
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        bound.setblocking(False)
        bound.bind(os.fspath(self.path))
        os.chmod(self.path, 0o600)
        self.socket = bound
        return bound

    def messages(self) -> list[dict[str, Any]]:
        """What has arrived; an empty message is a poke, and so is what cannot be read."""
        found: list[dict[str, Any]] = []
        with suppress(BlockingIOError):
            while self.socket is not None and len(found) < 1_000:
                found.append(_message(self.socket.recv(place.LARGEST_DATAGRAM + 1)))
        return found

    def close(self) -> list[dict[str, Any]]:
        """Removes the socket; gives what arrived until then."""
        if self.socket is None:
            return []
        self.path.unlink(missing_ok=True)
        rest = self.messages()
        self.socket.close()
        self.socket = None
        return rest

    def displaced(self) -> bool:
        """Whether the repository or the relay's files were moved or removed, so that nobody finds it here."""
        try:
            mine = os.fstat(self._life).st_ino == os.stat(place.life_lock(self._state)).st_ino
            return not mine or _identity(self._state) != self._identity or not self.path.is_socket()
        except OSError:
            return True

    def tell(self, status: dict[str, Any]) -> None:
        """Writes the status file; a full disk is no reason to end."""
        with suppress(OSError):
            write_atomic(place.status_file(self._state), json.dumps(status))

    @contextmanager
    def last(self) -> Iterator[bool]:
        """The start lock, for the end; False where a starter has it, who then will poke."""
        try:
            handle = os.open(place.start_lock(self._state), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            yield True
            return
        try:
            mine = _locked(handle)
            yield mine
            if mine and self.socket is None:
                # for a moment this process will still be there, which must not look like one that starts
                os.ftruncate(handle, 0)
        finally:
            os.close(handle)

    def leave(self, displaced: bool = False) -> None:
        """Takes back what it said of itself, unless that place is somebody else's by now, and frees the lock."""
        if not displaced:
            place.status_file(self._state).unlink(missing_ok=True)
        os.close(self._life)


def _message(data: bytes) -> dict[str, Any]:
    with suppress(ValueError, RecursionError):
        told = json.loads(data) if data else {}
        if isinstance(told, dict):
            return told
    return {}


def _identity(state: Path) -> tuple[int, int]:
    facts = os.stat(state)
    return facts.st_dev, facts.st_ino


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
