"""What a hook that has no stream of its own tells by files in the agent's private git dir: what it asks, what was used.

The request lies where the agent may write, at every level of isolation. The answer lies in the session's own folder,
which it may only read wherever the level has walls: it cannot answer itself there.
"""

import json
import os
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

#: below the private common dir: what is asked, and what was used; below the harness's folder: the answers
ASKED, USED, ANSWERED = "agentpkg-asks", "agentpkg-used.json", "answers"

#: seconds between two looks for an answer
_LOOK = 0.2

#: bytes of one request, requests that are looked at together
_LONGEST, _MOST = 1 << 17, 20


def ask(worktree: str, folder: str, said: Mapping[str, Any], patience: float) -> Mapping[str, Any]:
    """Asks, and waits for the answer; empty when none came in time.

    Args:
        worktree: the agent's, whose ``.git`` names its private git dir.
        folder: the harness's, absolute.
        said: what the request holds, as JSON.
        patience: seconds.
    """
    name = uuid.uuid4().hex
    place = _private(worktree) / ASKED
    place.mkdir(exist_ok=True)
    (place / f".{name}").write_text(json.dumps(said), encoding="utf-8")
    (place / f".{name}").rename(place / f"{name}.json")
    answer, quiet, until = Path(folder, ANSWERED, name), threading.Event(), time.monotonic() + patience
    while time.monotonic() < until:
        with suppress(FileNotFoundError, ValueError):
            found: Mapping[str, Any] = json.loads(answer.read_bytes())
            return found
        quiet.wait(_LOOK)
    return {}


def tell_used(worktree: str, used: Mapping[str, Any]) -> None:
    """Tells what the agent has used so far. Raises :class:`OSError` where it may not write."""
    place = _private(worktree) / USED
    fresh = place.with_name(f".{USED}.{os.getpid()}")
    fresh.write_text(json.dumps(used), encoding="utf-8")
    fresh.rename(place)


def used(private: Path) -> Mapping[str, Any]:
    """What was told last; empty where nothing that can be read was."""
    try:
        folder = os.open(private, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return {}
    try:
        return _read(folder, USED)
    finally:
        os.close(folder)


def _private(worktree: str) -> Path:
    """The common git dir as the agent sees it: the private one."""
    if Path(worktree, ".git").is_dir():
        return Path(worktree, ".git")
    git = Path(worktree, ".git").read_text(encoding="utf-8").removeprefix("gitdir:").strip()
    return Path(worktree, git).parent.parent


def requests(private: Path, known: set[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Requests that have come since the last call, by name; whatever else lies there is passed over.

    Args:
        private: the private common dir.
        known: the names of those that were taken already; grows.
    """
    try:
        folder = os.open(private / ASKED, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return
    try:
        with os.scandir(folder) as entries:
            names = [one.name for one, _ in zip(entries, range(_MOST * 50), strict=False) if one.name not in known]
        for name in sorted(name for name in names if name.endswith(".json"))[:_MOST]:
            known.add(name)
            yield name.removesuffix(".json"), _read(folder, name)
    finally:
        os.close(folder)


def _read(folder: int, name: str) -> Mapping[str, Any]:
    with suppress(OSError, ValueError, RecursionError):
        handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        with os.fdopen(handle, "rb") as file:
            found = json.loads(file.read(_LONGEST), parse_float=str)
            return found if isinstance(found, dict) else {}
    return {}
