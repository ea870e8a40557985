"""What stands outside the walls of level ``medium`` and answers for the agent where no namespace does.

The launcher (:mod:`agentpkg.isolation.landlock`) forks: the child binds itself and becomes the agent, the parent stays
outside and serves here. The filter of system calls (:mod:`agentpkg.isolation.calls`) stops the agent's threads at a few
calls and asks (seccomp_unotify(2)): those about sockets go to :mod:`agentpkg.isolation.loopback`, those about names in
``/dev/shm`` to :mod:`agentpkg.isolation.shm`. What is told to go on as it is is judged by Landlock, as if nobody had
asked, so that an answer alone never lets anything out. Nothing of agentpkg is imported, since this is run by its path.
"""

import ctypes
import errno
import fcntl
import os
import select
import signal
import struct
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress

_libc = ctypes.CDLL(None, use_errno=True)

#: linux/seccomp.h: struct seccomp_notif, seccomp_notif_resp and seccomp_notif_addfd, and what is done with them
_QUESTION, _ANSWER, _FILE = struct.Struct("=QIIiIQ6Q"), struct.Struct("=QqiI"), struct.Struct("=QIIII")
_RECEIVE, _SEND, _VALID, _ADD, _FLAGS = 0xC0502100, 0xC0182101, 0x40082102, 0x40182103, 0x40082104
_CONTINUE, _ADD_AND_SEND, _WAKE_SYNC = 1, 2, 1

_PIDFD_OPEN, _PIDFD_GETFD = 434, 438
_SUBREAPER = 36

#: connections that wait to be accepted
_MOST_WAITING = 32

#: what the calls are by the numbers of each kind of machine (asm/unistd.h)
_NUMBERS = {
    0xC000003E: {42: "connect", 49: "bind", 50: "listen", 257: "openat", 86: "link", 265: "linkat", 87: "unlink",
                 263: "unlinkat"},
    0x40000003: {362: "connect", 361: "bind", 363: "listen"},
    0xC00000B7: {203: "connect", 200: "bind", 201: "listen", 56: "openat", 37: "linkat", 35: "unlinkat"},
    0x40000028: {283: "connect", 282: "bind", 284: "listen"},
    0xC00000F3: {203: "connect", 200: "bind", 201: "listen", 56: "openat", 37: "linkat", 35: "unlinkat"},
}  # fmt: skip


class Question:
    """A call that waits for its answer.

    Attributes:
        task: the thread that made it.
        args: its arguments, as the registers hold them.
    """

    def __init__(self, listener: int, one: int, task: int, args: "list[int]") -> None:
        self._listener, self._one, self.task, self.args = listener, one, task, args

    def require_waiting(self) -> None:
        """Raises :class:`OSError` unless it still waits: then what was opened by its number is its own."""
        fcntl.ioctl(self._listener, _VALID, struct.pack("=Q", self._one))

    def memory(self, place: int, size: int) -> bytes:
        """At most ``size`` bytes that its process has there. Raises :class:`OSError`."""
        memory = os.open(f"/proc/{self.task}/mem", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.require_waiting()
            return os.pread(memory, size, place)
        finally:
            os.close(memory)

    def file(self, number: int) -> int:
        """A duplicate of its process's descriptor. Raises :class:`OSError`."""
        process = _checked(_libc.syscall(_PIDFD_OPEN, ctypes.c_int(self._process()), 0))
        try:
            self.require_waiting()
            return _checked(_libc.syscall(_PIDFD_GETFD, process, ctypes.c_int(_signed(number)), 0))
        finally:
            os.close(process)

    def _process(self) -> int:
        with open(f"/proc/{self.task}/status", "rb") as status:
            return next(int(line.split()[1]) for line in status if line.startswith(b"Tgid:"))


#: does a call, or raises the :class:`OSError` that it ends with. Gives None when it is done; True when the kernel is to
#: go on with it; a descriptor and the flags of that which the caller gets for it
Does = Callable[[Question], "bool | tuple[int, int] | None"]


def serve(listener: int, agent: int, does: "Mapping[str, Does]") -> None:
    """Answers until the agent has ended, and ends as it did. Does not return.

    Args:
        listener: the descriptor of the filter.
        agent: the agent's pid, a child of the caller's.
        does: by name, what is done of the calls that the filter asks about.
    """
    awake = _woken_by_ends()
    # what loses its parents stays below this process, which may look into what is below it alone (Yama's ptrace_scope)
    _libc.prctl(_SUBREAPER, 1, 0, 0, 0)
    with suppress(OSError):
        # Linux 6.6: who asks and who answers take turns on one processor
        fcntl.ioctl(listener, _FLAGS, struct.pack("=Q", _WAKE_SYNC))
    questions = _Questions(listener, does)
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    poll.register(awake, select.POLLIN)
    _reap(agent)
    while True:
        for file, events in poll.poll():
            if file == awake:
                os.read(awake, 4096)
                _reap(agent)
            elif events & select.POLLIN:
                questions.take()
            else:
                # nobody is left who could ask
                poll.unregister(listener)


def _woken_by_ends() -> int:
    """What becomes readable when a child has ended."""
    awake, told = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return awake


def _reap(agent: int) -> None:
    """Takes what has ended: the agent, with which this process ends, and what lost its parents below it."""
    with suppress(ChildProcessError):
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            if found[0] == agent:
                _end(found[1])


def _end(status: int) -> None:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
    os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


class _Questions:
    def __init__(self, listener: int, does: "Mapping[str, Does]") -> None:
        self._listener, self._does = listener, does
        self._waiting = threading.BoundedSemaphore(_MOST_WAITING)

    def take(self) -> None:
        """Takes one question and answers it."""
        asked = bytearray(_QUESTION.size)
        try:
            fcntl.ioctl(self._listener, _RECEIVE, asked)
        except OSError:
            # whoever asked is gone
            return
        one, task, _, number, arch, _, *args = _QUESTION.unpack(asked)
        call = _NUMBERS.get(arch, {}).get(number, "")
        question = Question(self._listener, one, task, args)
        if call != "connect":
            self._answer(one, call, question)
        elif self._waiting.acquire(blocking=False):
            # it may take until it is accepted, and the others are not to wait for that
            threading.Thread(target=self._aside, args=(one, call, question), daemon=True).start()
        else:
            self._send(one, errno.EAGAIN)

    def _aside(self, one: int, call: str, question: Question) -> None:
        try:
            self._answer(one, call, question)
        finally:
            self._waiting.release()

    def _answer(self, one: int, call: str, question: Question) -> None:
        try:
            done = self._does[call](question)
        except OSError as error:
            self._send(one, error.errno or errno.EACCES)
        except Exception:
            # whatever it is, the thread that asked must not wait for ever
            self._send(one, errno.EACCES)
        else:
            if isinstance(done, tuple):
                self._give(one, *done)
            else:
                self._send(one, flags=_CONTINUE if done else 0)

    def _send(self, one: int, error: int = 0, flags: int = 0) -> None:
        with suppress(OSError):
            fcntl.ioctl(self._listener, _SEND, _ANSWER.pack(one, 0, -error, flags))

    def _give(self, one: int, file: int, flags: int) -> None:
        with suppress(OSError):
            fcntl.ioctl(self._listener, _ADD, _FILE.pack(one, _ADD_AND_SEND, file, 0, flags))
        os.close(file)


def _signed(number: int) -> int:
    return (number & 0xFFFFFFFF) - ((number >> 31 & 1) << 32)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
