"""The process that outlives a supervisor just long enough to end what it ran.

It stands *above* the supervisor: whatever that leaves behind when it is killed becomes the watcher's child (Linux's
subreaper), so that strays are found by descent and not by their mark alone. A pipe between the two tells of the
supervisor's end, and before that of the processes that are to outlive both. If the watcher is killed instead, the
supervisor goes on and still cleans up after itself.

An agent can stop its supervisor, and with it the clock that bounds the agent. So once a session must be over the
watcher tells the supervisor to go on, again and again; to one that runs that means nothing.
"""

import os
import select
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

from agentpkg.proc import (
    ProcessIdentity,
    alive,
    become_subreaper,
    chase_adopted,
    default_signals,
    identity,
    kill_all,
    kill_marked,
    members,
    tell_detached,
)
from agentpkg.proc.tree import here

#: signals that are meant for the supervisor, whichever of the two they reach
_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


#: seconds between two times that a supervisor is told to go on
_WAKE = 5.0


def start(mark: str, seconds: float | None = None) -> ProcessIdentity | None:
    """Splits the calling process in two: the watcher stays behind, the call returns in a child, the supervisor.

    To be called before any thread is started, and before a lock is taken, which both would hold. The supervisor's own
    pid (``os.getpid()``) is the one after this call; its start time too. It ends up a subreaper with default signals.
    What it starts with :func:`agentpkg.proc.spawn_detached` is left alone by the watcher.

    Args:
        mark: ``NAME=VALUE`` that the environment of everything it will run carries.
        seconds: after which the session must be over; None: there is no such time.

    Returns:
        Who the watcher is.
    """
    watcher = identity(os.getpid())
    default_signals()
    become_subreaper()
    ours, theirs = os.pipe()
    # a signal between the fork and the handlers would end the watcher alone
    signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)
    supervisor = os.fork()
    if supervisor != 0:
        try:
            _watch(supervisor, mark, ours, seconds)
        finally:
            # whatever happens, the watcher must not go on as a second supervisor
            os._exit(os.EX_SOFTWARE)
    os.close(ours)
    os.set_blocking(theirs, False)
    tell_detached(lambda pid: _tell(theirs, pid))
    become_subreaper()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
    return watcher


def _tell(pipe: int, pid: int) -> None:
    who = identity(pid)
    # without a watcher there is nobody to tell
    with suppress(BrokenPipeError, BlockingIOError):
        if who is not None:
            os.write(pipe, f"{who.pid} {who.started}\n".encode())


def _watch(supervisor: int, mark: str, pipe: int, seconds: float | None) -> None:
    """Waits for the supervisor's end, ends the rest, and leaves with its exit code."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        with suppress(ProcessLookupError):
            os.kill(supervisor, number)

    for number in _PASSED_ON:
        signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
    _let_go(pipe)
    told = _until_closed(0, seconds, lambda: pass_on(signal.SIGCONT, None))
    _, status = os.waitpid(supervisor, 0)
    spare = _spared(told)
    kill_all(lambda: members(os.getpid(), mark, spare), chase=lambda: chase_adopted(spare))
    kill_marked(mark, spare=spare)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


def _let_go(pipe: int) -> None:
    """Holds nothing of the supervisor's but the pipe, as standard input: no folder, no stream, no lock."""
    os.chdir("/")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream, source in ((1, nowhere), (2, nowhere), (0, pipe)):
        os.dup2(source, stream)
    os.closerange(3, max(nowhere, pipe, 1 << 16) + 1)


def _until_closed(pipe: int, seconds: float | None, late: Callable[[], None]) -> bytes:
    """What comes through a pipe to its end; ``late`` is called every now and then once so many seconds are over."""
    data = b""
    due = None if seconds is None else time.monotonic() + seconds
    while True:
        wait = None if due is None else max(0.0, due - time.monotonic())
        if select.select([pipe], [], [], wait)[0]:
            chunk = os.read(pipe, 4096)
            if not chunk:
                return data
            data += chunk
        if due is not None and time.monotonic() >= due:
            late()
            due = time.monotonic() + _WAKE


def _spared(told: bytes) -> set[int]:
    """The pids that still belong to the processes that were told of."""
    pairs = (line.split(" ", 1) for line in told.decode().splitlines() if " " in line)
    named = (ProcessIdentity(int(pid), started, here()) for pid, started in pairs)
    return {who.pid for who in named if alive(who)}
