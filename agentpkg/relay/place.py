"""Where a relay is found: its socket and its status file. Shared by the relay and those who poke it.

``run/relay.json`` is written by the relay, whole each time::

    {"pid": 1, "socket": "…", "settings": "<digest>", "url": "nats://…"|null, "viewer": "<file>"|null,
     "coordinator": "<file>"|null, "inbox": "…", "problem": "…"|null, "answered": ["<number of a question>", …]}

It is gone when the relay ended as it should; after a kill it tells of a relay whose socket answers nobody.
"""

import hashlib
import json
import os
import socket
import tempfile
from pathlib import Path
from typing import Any

from agentpkg.files import temporary_folder

#: bytes; the kernel takes 107 (103 on macOS)
LONGEST_SOCKET = 100
#: bytes of one datagram
LARGEST_DATAGRAM = 60_000


def run_dir(state: Path) -> Path:
    """The folder of what lives while something runs."""
    return state / "run"


def start_lock(state: Path) -> Path:
    """Held while a relay is started or ends; its text is the pid of the relay that was started last."""
    return run_dir(state) / "start.lock"


def life_lock(state: Path) -> Path:
    """Held by the relay for its life."""
    return run_dir(state) / "relay.lock"


def socket_path(state: Path) -> Path:
    """Where a new relay binds its socket: in ``run``, or in the user's runtime folder where that path is too long."""
    path = run_dir(state) / "relay.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET:
        return path
    name = hashlib.sha256(os.fsencode(state)).hexdigest()[:20]
    return _runtime_folder() / f"{name}.sock"


def _runtime_folder() -> Path:
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    for candidate in (base, f"/run/user/{os.getuid()}", temporary_folder(), "/tmp"):
        folder = Path(candidate) / f"agentpkg-{os.getuid()}"
        if candidate and len(os.fsencode(folder)) < LONGEST_SOCKET - 30 and _is_mine(folder):
            return folder
    # somebody else has taken every name: one that nobody can guess, told in the status file
    return Path(tempfile.mkdtemp(prefix="agentpkg-", dir="/tmp"))


def _is_mine(folder: Path) -> bool:
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        facts = os.lstat(folder)
    except OSError:
        return False
    return not folder.is_symlink() and facts.st_uid == os.getuid() and facts.st_mode & 0o077 == 0


def status_file(state: Path) -> Path:
    """What the relay says of itself."""
    return run_dir(state) / "relay.json"


def read_status(state: Path) -> dict[str, Any]:
    """What the relay last said of itself; empty without one."""
    try:
        told = json.loads(status_file(state).read_bytes())
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def send(path: Path | str, message: dict[str, Any]) -> bool:
    """Sends a datagram without waiting; True when a relay is there, even if its buffer is full."""
    data = json.dumps(message).encode() if message else b""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto(data, os.fspath(path))
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError, PermissionError):
        return False
    except OSError:
        # its buffer is full (EAGAIN, ENOBUFS), so it is about to look; or the datagram is too large
        pass
    return True
