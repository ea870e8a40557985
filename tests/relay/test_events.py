import asyncio
import json
import os
import queue
import signal
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import nats.errors
import pytest

from agentpkg.bus import keys
from agentpkg.bus.access import Access, Settings
from agentpkg.bus.listen import tail
from agentpkg.bus.server import EmbeddedServer
from agentpkg.core.errors import Lacking
from agentpkg.relay import client
from tests.support import relay_world
from tests.support.relay_world import RelayWorld, as_client, history, runs
from tests.support.repos import ScratchFactory
from tests.support.wait import until


def test_a_viewer_hears_events_and_reads_the_history(world: RelayWorld) -> None:
    world.publish(2)
    found = client.endpoint(world.state, world.settings)
    assert set(found) == {"url", "prefix", "stream", "credentials"}

    async def listen(connection: Any) -> Any:
        subscription = await connection.subscribe("agentpkg.feature.>")
        await connection.flush()
        await asyncio.to_thread(world.commit)
        await asyncio.to_thread(world.poke)
        return await subscription.next_msg(5)

    message = as_client(found["url"], found["credentials"], listen)
    event = json.loads(message.data)
    assert message.subject == "agentpkg.feature.001-demo.wp.WP01.state.changed"
    assert message.headers["Nats-Msg-Id"] == event["id"]
    assert event["n"] == 3
    assert event["time"].endswith("Z")
    assert [one["n"] for one in history(world)] == [1, 2, 3]
    assert [one["seq"] for one in history(world)] == [1, 2, 3]


@pytest.mark.slow
@pytest.mark.parametrize(
    "subject", ["agentpkg.feature.001-demo.state.changed", "agentpkg_ctl.x", "$JS.API.STREAM.DELETE.agentpkg", "$SYS.x"]
)
def test_a_viewer_publishes_nothing(world: RelayWorld, subject: str) -> None:
    world.publish()
    found = client.endpoint(world.state, world.settings)

    async def publish(connection: Any) -> list[str]:
        await connection.publish(subject, b"{}")
        await connection.flush()
        for _ in range(100):
            if connection.errors_seen:
                break
            await asyncio.sleep(0.01)
        return [str(error).lower() for error in connection.errors_seen]

    assert any("permissions violation for publish" in e for e in as_client(found["url"], found["credentials"], publish))
    assert len(history(world)) == 1


@pytest.mark.slow
@pytest.mark.parametrize("subject", [">", "_INBOX_coordinator.>", "$JS.>", "agentpkg_ctl.>"])
def test_a_viewer_hears_nothing_but_events(world: RelayWorld, subject: str) -> None:
    found = client.endpoint(world.state, world.settings)

    async def listen(connection: Any) -> list[str]:
        await connection.subscribe(subject)
        await connection.flush()
        for _ in range(100):
            if connection.errors_seen:
                break
            await asyncio.sleep(0.01)
        return [str(error).lower() for error in connection.errors_seen]

    assert any(
        "permissions violation for subscription" in e for e in as_client(found["url"], found["credentials"], listen)
    )


def test_without_credentials_nobody_gets_in(world: RelayWorld) -> None:
    found = client.endpoint(world.state, world.settings)

    async def nothing(_connection: Any) -> None:
        return None

    with pytest.raises(nats.errors.Error):
        as_client(found["url"], None, nothing)


@pytest.mark.slow
def test_the_endpoint_holds_the_server_and_a_viewer_keeps_it(world: RelayWorld) -> None:
    found = client.endpoint(world.state, world.settings)
    relay = world.pid()
    assert relay

    async def stay(connection: Any) -> bool:
        # longer than it would stay for nothing, were it not for the viewer
        await asyncio.sleep(6)
        return bool(connection.is_connected)

    world.kill_relay()
    world.publish()
    relay = world.pid()
    assert relay
    assert as_client(found["url"], found["credentials"], stay)
    assert runs(relay)
    until(lambda: not runs(relay), 10, "the relay's end after the viewer's")


def test_asking_for_the_endpoint_starts_the_server_where_there_is_no_ledger(world: RelayWorld) -> None:
    world.ledger.close()
    (world.state / "ledger.db").unlink()
    found = client.endpoint(world.state, world.settings)
    assert found["url"].startswith("nats://127.0.0.1:")
    assert not (world.state / "ledger.db").exists()


def test_a_users_own_server_may_go_and_come_back(scratch: ScratchFactory, tmp_path: Path) -> None:
    relay_world.need_server()
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    server = EmbeddedServer(theirs, "team")
    server.start()
    seed = keys.seed_file(theirs / "run", keys.COORDINATOR)
    settings = Settings(url=server.url, credentials=str(seed), prefix="team")
    with relay_world.opened(scratch(), settings) as world:
        world.publish(2)
        assert not (world.state / "js").exists()
        assert client.endpoint(world.state, world.settings)["credentials"] is None
        server.stop()
        world.commit()
        assert world.poke()
        until(lambda: world.status.get("problem"), what="the problem")
        assert client.wait_published(world.state, world.ledger, 3) is False
        server.start()
        world.publish()
        assert [event["n"] for event in history(world, "team")] == [1, 2, 3, 4]
    server.stop()


@pytest.mark.slow
def test_a_deaf_server_is_started_anew(world: RelayWorld) -> None:
    world.publish()
    deaf = world.server_pid()
    os.kill(deaf, signal.SIGSTOP)
    world.commit()
    world.poke()
    world.published(40)
    assert world.server_pid() != deaf
    assert not runs(deaf)
    assert [event["n"] for event in history(world)] == [1, 2]


def test_the_endpoint_of_a_users_server_shows_no_password(scratch: ScratchFactory) -> None:
    with relay_world.opened(scratch(), Settings(url="nats://u:secret@example.org:4222", prefix="team")) as world:
        assert client.endpoint(world.state, world.settings) == {
            "url": "nats://example.org:4222", "prefix": "team", "stream": "team", "credentials": None,
        }  # fmt: skip


def test_the_endpoint_without_a_server_says_what_is_missing(scratch: ScratchFactory, tmp_path: Path) -> None:
    with (
        relay_world.opened(scratch(), relay_world.no_server(tmp_path)) as world,
        pytest.raises(Lacking, match="cannot be run"),
    ):
        client.endpoint(world.state, world.settings)


def test_progress_reaches_a_viewer_and_is_dropped_without_a_relay(world: RelayWorld) -> None:
    client.progress(world.state, "agent.job.sess_1.progress", {"kind": "text", "text": "lost"})
    assert world.status == {}
    world.publish()
    client.progress(world.state, "agent.job.sess_1.progress", {"kind": "text", "text": "x" * 100_000})
    until(lambda: len(history(world)) == 2, what="the progress event")
    event = history(world)[1]
    assert event["kind"] == "text"
    assert len(event["text"]) == 4_000
    assert event["id"]
    assert event["time"].endswith("Z")


def test_what_cannot_be_published_does_not_stop_the_rest(world: RelayWorld) -> None:
    with world.ledger.write() as tx:
        tx.emit("feature.with blank.x", {"n": 0}, key="bad")
        tx.emit("feature.f.wp.WP01.big", {"n": 0, "text": "x" * 2_000_000}, key="big")
    world.publish()
    assert [event["n"] for event in history(world)] == [0, 1]


def test_published_twice_is_stored_once(world: RelayWorld) -> None:
    world.publish(5)
    with closing(sqlite3.connect(world.state / "ledger.db")) as connection, connection:
        connection.execute("UPDATE events SET sent = 0")
    world.publish()
    assert [event["n"] for event in history(world)] == [1, 2, 3, 4, 5, 6]


def test_a_tail_finds_a_server_that_ended_meanwhile_and_goes_on_after_it_was_killed(world: RelayWorld) -> None:
    world.publish(2)
    heard: queue.Queue[int] = queue.Queue()
    gone = Access((f"nats://127.0.0.1:{relay_world.free_port()}",), "agentpkg", None)
    now = client.where(world.state, world.settings, viewer=True)
    told = iter([lambda: gone])

    def listen() -> None:
        for _, payload in tail(lambda: next(told, now)(), history=True):
            heard.put(payload["n"])
            if payload["n"] == 4:
                return

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    assert [heard.get(timeout=10) for _ in range(2)] == [1, 2]
    world.publish()
    assert heard.get(timeout=10) == 3
    os.kill(world.server_pid(), 9)
    world.publish()
    assert heard.get(timeout=15) == 4
    thread.join(10)
    assert not thread.is_alive()


def test_wakeups_wake_on_an_event_of_the_feature_alone(world: RelayWorld) -> None:
    woken = threading.Event()
    wakeups = client.wakeups(world.state, world.settings, "001-demo", woken.set)
    assert woken.wait(15)
    woken.clear()
    world.commit(feature="002-other")
    world.poke()
    world.published()
    assert not woken.is_set()
    world.publish()
    assert woken.wait(5)
    wakeups.stop()


def test_wait_published_tells_when_all_is_acknowledged(world: RelayWorld) -> None:
    world.commit(3)
    world.poke()
    assert client.wait_published(world.state, world.ledger, 3, 15)
