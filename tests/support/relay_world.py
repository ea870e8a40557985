"""A repository with a ledger and a relay, and a second NATS client that knows nothing of agentpkg."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from agentpkg.bus.access import Settings
from agentpkg.bus.server import find_program
from agentpkg.core.errors import Lacking
from agentpkg.ledger.ledger import Ledger
from agentpkg.relay import client, place
from tests.support.wait import until


def need_server() -> None:
    """Skips the test where there is no nats-server, and fails it where there has to be one."""
    try:
        find_program()
    except Lacking:
        if os.environ.get("CI"):
            pytest.fail("nats-server is missing")
        pytest.skip("nats-server is missing")


class RelayWorld:
    """One repository's state folder and what happens in it."""

    def __init__(self, repo: Path, settings: Settings) -> None:
        self.repo = repo
        self.state = repo / ".git" / "agentpkg"
        self.state.mkdir(mode=0o700)
        self.settings = settings
        self.ledger = Ledger.open(self.state / "ledger.db")
        self.count = 0

    def commit(self, events: int = 1, feature: str = "001-demo") -> int:
        """Records transitions with one event each; gives the row number of the last event."""
        with self.ledger.write() as tx:
            for _ in range(events):
                self.count += 1
                entry = tx.append(feature, "WP01", "none", "planned", "human:test", {"n": self.count})
                tx.emit(f"feature.{feature}.wp.WP01.state.changed", {"from": "none", "n": self.count}, entry=entry)
        return self.ledger.last_rowid()

    def poke(self) -> bool:
        return client.poke(self.state, self.settings)

    def publish(self, events: int = 1, seconds: float = 15) -> None:
        """Commits, pokes, and waits for the acknowledgements."""
        self.commit(events)
        assert self.poke()
        self.published(seconds)

    def published(self, seconds: float = 15) -> None:
        until(lambda: not self.ledger.unsent(1), seconds, "the outbox to be empty")

    @property
    def status(self) -> dict[str, Any]:
        return place.read_status(self.state)

    def pid(self) -> int | None:
        """The relay's pid while it lives."""
        pid = self.status.get("pid")
        return pid if pid and _runs(pid) else None

    def server_pid(self) -> int:
        return int((self.state / "run" / "nats.pid").read_text())

    def kill_relay(self) -> None:
        pid = self.pid()
        assert pid
        os.kill(pid, signal.SIGKILL)
        until(lambda: not _runs(pid), what="the relay's death")

    def relays(self) -> list[int]:
        """The pids of all relays of this repository."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    argv = (entry / "cmdline").read_bytes().split(b"\0")
                    if b"agentpkg.relay" in argv and os.fsencode(self.state) in argv:
                        found.append(int(entry.name))
        return found

    def close(self) -> None:
        self.ledger.close()
        for pid in self.relays():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _runs(pid: int) -> bool:
    """A first thread that is dead keeps its place while others die, and what they have open with them."""
    try:
        dead = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
        return not dead or len(os.listdir(f"/proc/{pid}/task")) > 1
    except OSError:
        return False


def runs(pid: int) -> bool:
    """Whether a process lives (a zombie does not)."""
    return _runs(pid)


def as_client(url: str, seed: str | None, act: Callable[[Any], Awaitable[Any]]) -> Any:
    """Runs ``act(connection)`` in a plain nats-py client."""

    async def run() -> Any:
        errors: list[Exception] = []

        async def on_error(error: Exception) -> None:
            errors.append(error)

        connection: Any = Client()
        connection.errors_seen = errors
        try:
            await connection.connect(url, nkeys_seed=seed, error_cb=on_error, allow_reconnect=False)
            return await act(connection)
        finally:
            await connection.close()

    return asyncio.run(run())


def history(world: RelayWorld, prefix: str = "agentpkg") -> list[dict[str, Any]]:
    """All events of the stream, read as a viewer."""
    found = client.endpoint(world.state, world.settings)

    async def read(connection: Any) -> list[dict[str, Any]]:
        js = connection.jetstream()
        total = (await js.stream_info(found["stream"])).state.messages
        subscription = await js.subscribe(f"{prefix}.>", ordered_consumer=True)
        return [json.loads((await subscription.next_msg(5)).data) for _ in range(total)]

    # a server of the user's own has users of its own; here the one that publishes may read as well
    mine = found["credentials"] or world.settings.credentials
    told: list[dict[str, Any]] = as_client(found["url"], mine, read)
    return told


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def no_server(tmp_path: Path) -> Settings:
    """Settings whose server cannot be run."""
    return Settings(server=str(tmp_path / "missing" / "nats-server"))


@contextlib.contextmanager
def opened(repo: Path, settings: Settings | None = None) -> Iterator[RelayWorld]:
    world = RelayWorld(repo, settings or Settings())
    try:
        yield world
    finally:
        world.close()
        until(lambda: not world.relays(), what="no relay to be left")
        shutil.rmtree(repo, ignore_errors=True)
