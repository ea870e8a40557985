import asyncio
import gc
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentpkg.bus import keys
from agentpkg.bus.access import Access
from agentpkg.bus.nats import BusDown, Message, Publisher, connect, count_connections
from agentpkg.bus.server import EmbeddedServer
from agentpkg.bus.server_conf import ACCOUNT
from tests.support import relay_world


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    relay_world.need_server()
    made = EmbeddedServer(tmp_path, "agentpkg")
    made.start()
    yield made
    made.stop()
    # what a failed connection left open is told here, as an error
    gc.collect()


def _refusal(access: Access) -> tuple[str, float]:
    started = time.monotonic()
    with pytest.raises(BusDown) as refused:
        asyncio.run(connect(access, "test"))
    return str(refused.value), time.monotonic() - started


def test_a_closed_port_is_told_at_once() -> None:
    why, seconds = _refusal(Access((f"nats://u:secret@127.0.0.1:{relay_world.free_port()}",), "p"))
    assert "Refused" in why
    assert "secret" not in why
    assert seconds < 1


@pytest.mark.slow
def test_a_listener_that_says_nothing_is_given_up() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        _, seconds = _refusal(Access((f"nats://127.0.0.1:{silent.getsockname()[1]}",), "p"))
    gc.collect()
    assert seconds < 4


def test_somebody_without_credentials_is_told_so(server: EmbeddedServer) -> None:
    assert server.url
    why, seconds = _refusal(Access((server.url,), "p"))
    assert "uthorization" in why
    assert seconds < 1


def test_a_credentials_file_that_holds_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "creds").write_text("hello")
    why, _ = _refusal(Access(("nats://127.0.0.1:1",), "p", tmp_path / "creds"))
    assert "holds neither" in why
    why, _ = _refusal(Access(("nats://127.0.0.1:1",), "p", tmp_path / "none"))
    assert "No such file" in why


def test_the_stream_is_made_once_and_an_own_one_is_left_as_it_is(server: EmbeddedServer) -> None:
    async def run() -> list[bool]:
        publisher = await Publisher.open(server.coordinator)
        try:
            return [await publisher.ensure_stream(), await publisher.ensure_stream()]
        finally:
            await publisher.close()

    assert asyncio.run(run()) == [True, False]


def test_without_a_stream_nothing_is_acknowledged(server: EmbeddedServer) -> None:
    async def run() -> None:
        publisher = await Publisher.open(server.coordinator)
        try:
            await publisher.publish([Message("agentpkg.feature.x", "1", b"{}")])
        finally:
            await publisher.close()

    with pytest.raises(BusDown, match="NoStream"):
        asyncio.run(run())


def test_the_system_account_counts_the_connected(server: EmbeddedServer) -> None:
    async def run() -> list[int]:
        counts = [await count_connections(server.system, ACCOUNT)]
        viewer = await connect(server.viewer, "viewer")
        counts.append(await count_connections(server.system, ACCOUNT))
        await viewer.close()
        counts.append(await count_connections(server.system, ACCOUNT))
        return counts

    assert asyncio.run(run()) == [0, 1, 0]


def test_seeds_stay_what_they_are(server: EmbeddedServer, tmp_path: Path) -> None:
    before = keys.public_key(tmp_path / "run", keys.VIEWER)
    server.stop()
    server.start()
    assert keys.public_key(tmp_path / "run", keys.VIEWER) == before
