"""Runs a program to its end, within a time and a bound on what is kept of its output."""

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from agentpkg.proc.child import CHUNK, Child, detached
from agentpkg.proc.own import chase_adopted, of_mark
from agentpkg.proc.tree import become_subreaper

#: marks of what runs and will be chased
_chasing: set[str] = set()


class Kept:
    """The beginning and the end of a stream within a bound; the middle is only counted.

    Args:
        limit: the most bytes that are kept.
    """

    def __init__(self, limit: int) -> None:
        self._half = max(limit // 2, 1)
        self._head = bytearray()
        self._tail = bytearray()
        self.dropped = 0

    def add(self, chunk: bytes) -> None:
        """Takes the next bytes."""
        room = self._half - len(self._head)
        if room > 0:
            self._head += chunk[:room]
            chunk = chunk[room:]
        self._tail += chunk
        # cut rarely, so that a flood costs no copying per chunk
        if len(self._tail) > self._half + 4 * CHUNK:
            self._cut()

    def _cut(self) -> None:
        extra = len(self._tail) - self._half
        if extra > 0:
            del self._tail[:extra]
            self.dropped += extra

    def value(self) -> bytes:
        """What was kept, with a line that says how many bytes are missing, if any."""
        self._cut()
        gap = f"\n[… {self.dropped} bytes left out …]\n".encode() if self.dropped else b""
        return bytes(self._head) + gap + bytes(self._tail)


@dataclass(frozen=True, slots=True)
class Result:
    """How a process ended.

    Attributes:
        exit_code: its exit code; a signal's number, negative, when that ended it.
        stdout: its standard output, bounded (see :class:`Kept`); both streams when they were merged.
        stderr: its standard error.
        timed_out: it was killed because it took too long.
        cancelled: it was killed because the caller asked for it.
        dropped: bytes left out of the streams.
        seconds: how long it took.
    """

    exit_code: int
    stdout: bytes
    stderr: bytes
    timed_out: bool
    cancelled: bool
    dropped: int
    seconds: float


def run(
    argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, timeout: float, stdin: bytes | None = None,
    grace: float = 2.0, limit: int = 1 << 20, merge: bool = False, cancelled: Callable[[], bool] | None = None,
    keep: Sequence[int] = (), chase: bool = False,
    starting: Callable[[], AbstractContextManager[None]] = nullcontext,
    started: Callable[[Child], None] = lambda child: None,
) -> Result:  # fmt: skip
    """Runs a program to its end; nothing of it is alive afterwards, also when the caller is interrupted.

    The child and all it starts carry ``AGENTPKG_RUN`` in their environment, by which stragglers are found.

    Args:
        argv: the program and its arguments.
        env: its whole environment otherwise.
        cwd: its working directory.
        timeout: seconds until it is told to end (SIGTERM), and after ``grace`` more killed.
        stdin: what it is fed; None: nothing.
        limit: the most bytes kept of each stream.
        merge: put standard error into standard output.
        cancelled: asked several times a second; True ends it like a timeout.
        keep: descriptors of the caller's that it gets too.
        chase: what forks and ends, again and again, is ended too. The calling process adopts for that what loses its
            parents below it, from then on.
        starting: entered for the moment of the start; what it raises keeps the program from being started.
        started: gets the running child.

    Raises:
        Lacking: when it cannot be started.
    """
    mark = f"AGENTPKG_RUN={os.urandom(16).hex()}"
    name, _, value = mark.partition("=")
    begun = time.monotonic()
    belongs = _meant(mark) if chase and _adopts() else None
    with starting():
        child = Child(argv, env={**env, name: value}, cwd=cwd, stdin=stdin, merge=merge, keep=keep)
    streams = {"stdout": Kept(limit), "stderr": Kept(limit)}
    try:
        if belongs is not None:
            _chasing.add(mark)
        started(child)
        why = _watch(child, streams, begun + timeout, grace, cancelled)
    finally:
        child.kill(mark)
        if belongs is not None:
            chase_adopted(belongs=belongs)
            _chasing.discard(mark)
        _keep(streams, child.drain())
        child.close()
    code = child.exit_code
    return Result(
        -signal.SIGKILL if code is None else code, streams["stdout"].value(), streams["stderr"].value(),
        why == "timeout", why == "cancelled", sum(s.dropped for s in streams.values()), time.monotonic() - begun,
    )  # fmt: skip


def _meant(mark: str) -> Callable[[int], bool | None]:
    """Tells what is to be chased when that which is about to start has ended."""
    others = detached()
    # a session's supervisor that has lost its watcher meanwhile is nobody's to end
    return of_mark(mark, lambda: len(_chasing) == 1 and others <= detached())


@cache
def _adopts() -> bool:
    return become_subreaper()


def _watch(
    child: Child, streams: Mapping[str, Kept], deadline: float, grace: float, cancelled: Callable[[], bool] | None
) -> str | None:
    """Reads until the child has ended or must be killed; gives why it was told to end."""
    why: str | None = None
    while child.exit_code is None:
        left = deadline - time.monotonic()
        _keep(streams, child.pump(min(left, 0.2)))
        if why is None and cancelled is not None and cancelled():
            why, left = "cancelled", 0.0
        elif left > 0:
            continue
        elif why is None:
            why = "timeout"
        else:
            break
        child.signal(signal.SIGTERM)
        deadline = time.monotonic() + grace
    return why


def _keep(streams: Mapping[str, Kept], chunks: Sequence[tuple[str, bytes]]) -> None:
    for name, chunk in chunks:
        streams[name].add(chunk)
