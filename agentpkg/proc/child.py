"""The one place that starts processes (git's own calls aside).

Invariants: a child gets exactly the environment it is given, no descriptor but its three streams, and a session of its
own, so that the caller's terminal cannot reach it. Reading never blocks and never stops, whatever a child does with its
pipes. What a child left behind is found by descent, group, session and mark, and killed.
"""

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from agentpkg.core.errors import Lacking
from agentpkg.proc.own import chase_adopted, own, start_own
from agentpkg.proc.tree import Process, descendants, kill_all, look, members, table

#: bytes read from a pipe at once
CHUNK = 1 << 16

#: seconds that pipes are still read after everything that could write to them was killed
_DRAIN = 1.0

#: seconds between two looks at a child where the system cannot tell of its end
_POLL = 0.05

#: detached children of this process, kept so that their ends are noticed
_detached: list["subprocess.Popen[bytes]"] = []

#: called with the pid of each new one
_detached_told: list[Callable[[int], None]] = []


class Child:
    """A running process whose streams are read and fed without ever blocking.

    Args:
        argv: the program (looked up on ``env``'s PATH) and its arguments.
        env: its whole environment.
        cwd: its working directory.
        stdin: what it is fed; it may leave that unread. None: nothing (``/dev/null``), unless ``keep_stdin``.
        keep_stdin: keep its standard input open for :meth:`write`, until :meth:`close_stdin`.
        merge: let standard error go where standard output goes.
        keep: descriptors of the caller's that it gets too, under their numbers (a lock that it is to hold).

    Raises:
        Lacking: when it cannot be started (``code="cannot_start"``).
    """

    def __init__(
        self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, stdin: bytes | None = None,
        keep_stdin: bool = False, merge: bool = False, keep: Sequence[int] = (),
    ) -> None:  # fmt: skip
        fed = stdin is not None or keep_stdin
        self._process = _popen(argv, env, cwd, subprocess.PIPE if fed else subprocess.DEVNULL, merge, keep)
        self.pid = self._process.pid
        self._selector = selectors.DefaultSelector()
        self._unwritten = bytearray(stdin or b"")
        self._keep_stdin = keep_stdin
        self._pidfd = _watch_end(self.pid)
        self._register(merge)

    def _register(self, merge: bool) -> None:
        for name in ("stdout",) if merge else ("stdout", "stderr"):
            stream = getattr(self._process, name)
            os.set_blocking(stream.fileno(), False)
            self._selector.register(stream, selectors.EVENT_READ, name)
        if self._pidfd is not None:
            self._selector.register(self._pidfd, selectors.EVENT_READ, "end")
        if self._process.stdin is not None:
            os.set_blocking(self._process.stdin.fileno(), False)
            self._want_stdin()

    @property
    def exit_code(self) -> int | None:
        """None while it runs; a signal's number, negative, when that ended it."""
        return self._process.poll()

    @property
    def pipes_open(self) -> bool:
        """Whether somebody can still write to a stream that is read here."""
        return any(key.data in ("stdout", "stderr") for key in self._selector.get_map().values())

    def pump(self, seconds: float) -> list[tuple[str, bytes]]:
        """Waits at most ``seconds`` for something to happen, and gives what was read: ``(stream, bytes)``.

        At most 64 KiB of each stream at once; what is to be fed goes out on the way.
        """
        if self._pidfd is None:
            seconds = min(seconds, _POLL)
        out: list[tuple[str, bytes]] = []
        for key, _ in self._selector.select(max(seconds, 0.0)):
            if key.data == "end":
                self._selector.unregister(key.fileobj)
            elif key.data == "stdin":
                self._feed()
            elif chunk := self._read(key):
                out.append((key.data, chunk))
        return out

    def _read(self, key: selectors.SelectorKey) -> bytes:
        try:
            chunk = os.read(key.fd, CHUNK)
        except BlockingIOError:
            return b""
        if not chunk:
            self._selector.unregister(key.fileobj)
        return chunk

    def write(self, data: bytes) -> None:
        """Puts bytes behind what is to be fed; nothing happens when its standard input is closed."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._unwritten += data
            self._want_stdin()

    def close_stdin(self) -> None:
        """Closes its standard input once all is written."""
        self._keep_stdin = False
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._want_stdin()

    def _want_stdin(self) -> None:
        stream = self._process.stdin
        if stream is not None and stream not in {key.fileobj for key in self._selector.get_map().values()}:
            self._selector.register(stream, selectors.EVENT_WRITE, "stdin")

    def _feed(self) -> None:
        stream = self._process.stdin
        assert stream is not None
        try:
            if self._unwritten:
                del self._unwritten[: os.write(stream.fileno(), self._unwritten[:CHUNK])]
        except BlockingIOError:
            return
        except BrokenPipeError:
            # it does not want the rest, which is its right
            self._unwritten.clear()
            self._keep_stdin = False
        if self._unwritten:
            return
        self._selector.unregister(stream)
        if not self._keep_stdin:
            with suppress(BrokenPipeError):
                stream.close()

    def signal(self, number: int, group: int | None = None) -> None:
        """Sends a signal to its process group, and wakes it if it is stopped.

        Args:
            group: the group of what it runs for us, where it is a mere shell around that which must not be asked.
        """
        for wanted in (number, signal.SIGCONT):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(group or self.pid, wanted)

    def left(self, mark: str | None, *, adopted: bool = False, spare: Collection[int] = ()) -> list[Process]:
        """What of its tree lives, itself included.

        Args:
            mark: ``NAME=VALUE`` that its environment carries.
            adopted: count every descendant of the caller in, as a subreaper may that runs nothing else; but not what it
                started with :func:`spawn_detached`.
            spare: pids that are left out.
        """
        found = {process.pid: process for process in members(self._root(), mark, spare)}
        if adopted:
            found.update((process.pid, process) for process in members(os.getpid(), None, {*spare, *detached()}))
        return list(found.values())

    def _root(self) -> int | None:
        # once its exit code is taken its pid may be somebody else's, and then nothing of its group is left
        return None if self.exit_code is not None and look(self.pid) is not None else self.pid

    def tree(self, *, adopted: bool = False) -> list[int]:
        """Pids of its tree by descent alone, itself and what ended but was not waited for included.

        Args:
            adopted: count every descendant of the caller in, as in :meth:`left`.
        """
        processes = table()
        others = own() - {self.pid}
        spared = {*others, *descendants(others, processes)}
        roots = (os.getpid(),) if adopted else (self.pid,)
        return [pid for pid in {*descendants(roots, processes), self.pid} if pid in processes and pid not in spared]

    def kill(self, mark: str | None = None, *, adopted: bool = False, spare: Collection[int] = ()) -> list[Process]:
        """Kills its whole tree (arguments as in :meth:`left`); gives what survived."""
        survivors = kill_all(
            lambda: self.left(mark, adopted=adopted, spare=spare), chase=lambda: adopted and chase_adopted(spare)
        )
        if not any(process.pid == self.pid for process in survivors):
            self._process.wait()
        return survivors

    def drain(self, seconds: float = _DRAIN) -> list[tuple[str, bytes]]:
        """What is still in its pipes, after its tree was killed; gives up after ``seconds`` if somebody holds them."""
        deadline = time.monotonic() + seconds
        out: list[tuple[str, bytes]] = []
        while self.pipes_open and (left := deadline - time.monotonic()) > 0:
            out += self.pump(left)
        return out

    def close(self) -> None:
        """Closes the pipes on this side. What still runs is not touched."""
        self._selector.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()


def _popen(
    argv: Sequence[str], env: Mapping[str, str], cwd: Path, stdin: int, merge: bool, keep: Sequence[int]
) -> "subprocess.Popen[bytes]":
    try:
        return start_own(
            argv, env=env, cwd=cwd, stdin=stdin, stdout=subprocess.PIPE, bufsize=0,
            stderr=subprocess.STDOUT if merge else subprocess.PIPE, pass_fds=keep,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        raise _cannot_start(argv, error) from error


def _cannot_start(argv: Sequence[str], error: OSError | ValueError) -> Lacking:
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    where = f" ({error.filename})" if isinstance(error, OSError) and error.filename not in (None, argv[0]) else ""
    return Lacking(
        f"cannot start {argv[0]}: {said}{where}",
        "install the program, or correct its name in the configuration",
        code="cannot_start",
        details={"program": argv[0]},
    )


def _watch_end(pid: int) -> int | None:
    if sys.platform != "linux":
        return None
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def spawn_detached(
    argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, stdin: bytes = b"", log: Path | None = None
) -> int:
    """Starts a process that outlives the caller and holds none of its streams; gives its pid.

    Args:
        argv: the program and its arguments.
        env: its whole environment.
        cwd: its working directory.
        stdin: what it finds on its standard input, then end of file; up to a pipe's size (64 KiB) this does not wait.
        log: a file that its output is added to (0600); None: nowhere.

    Raises:
        Lacking: when it cannot be started.
    """
    detached()
    output = _open_log(log)
    try:
        child = start_own(argv, env=env, cwd=cwd, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT)
    except (OSError, ValueError) as error:
        raise _cannot_start(argv, error) from error
    finally:
        os.close(output)
    _detached.append(child)
    for tell in _detached_told:
        tell(child.pid)
    assert child.stdin is not None
    # a child that died before it read everything shows by its death
    with suppress(BrokenPipeError):
        child.stdin.write(stdin)
    with suppress(BrokenPipeError):
        child.stdin.close()
    return child.pid


def detached() -> set[int]:
    """Pids of what this process started with :func:`spawn_detached` and still runs."""
    for child in [child for child in _detached if child.poll() is not None]:
        # another thread may have been as fast
        with suppress(ValueError):
            _detached.remove(child)
    return {child.pid for child in _detached}


def tell_detached(tell: Callable[[int], None]) -> None:
    """Has ``tell`` called with the pid of everything that :func:`spawn_detached` starts from now on."""
    _detached_told.append(tell)


def _open_log(log: Path | None) -> int:
    if log is None:
        return os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def default_signals() -> None:
    """Takes back what the caller's shell may have set: ignored SIGINT, SIGQUIT and SIGHUP, and blocked signals.

    Children inherit these; an agent that ignores SIGINT from birth could not be asked to stop.
    """
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
