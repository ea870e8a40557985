import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from agentpkg.bus.access import Settings
from agentpkg.git.audit import anchored
from agentpkg.git.discover import discover
from agentpkg.relay import client, place
from agentpkg.relay.outbox import BATCH
from tests.support import engine_kill, relay_world
from tests.support.matrix import points
from tests.support.relay_world import RelayWorld, history, runs
from tests.support.repos import ScratchFactory
from tests.support.wait import until


@pytest.mark.slow
def test_a_committed_event_is_published_and_everything_ends_by_itself(world: RelayWorld) -> None:
    world.publish(3)
    relay, server = world.pid(), world.server_pid()
    assert relay
    until(lambda: not runs(relay), 10, "the relay's end")
    assert not runs(server)
    assert world.status == {}
    assert not (world.state / "run" / "relay.sock").exists()
    assert anchored(discover(world.repo), "001-demo")[0] == 3


@pytest.mark.slow
def test_without_a_server_rows_wait_the_chain_is_anchored_and_the_relay_ends(
    scratch: ScratchFactory, tmp_path: Path
) -> None:
    with relay_world.opened(scratch(), relay_world.no_server(tmp_path)) as world:
        world.commit(2)
        assert world.poke()
        relay = until(world.pid)
        until(lambda: anchored(discover(world.repo), "001-demo")[0] == 2, what="the anchor")
        assert client.wait_published(world.state, world.ledger, 2, 2) is False
        until(lambda: not runs(relay), 10, "the relay's end")
        assert len(world.ledger.unsent(10)) == 2


def test_an_unreachable_server_keeps_nobody_and_loses_nothing(scratch: ScratchFactory) -> None:
    relay_world.need_server()
    away = Settings(url=f"nats://127.0.0.1:{relay_world.free_port()}")
    with relay_world.opened(scratch(), away) as world:
        world.commit(2)
        world.poke()
        relay = until(world.pid)
        until(lambda: world.status.get("problem"), what="the problem")
        world.settings = Settings()
        world.publish()
        assert [event["n"] for event in history(world)] == [1, 2, 3]
        assert not runs(relay)


@pytest.mark.slow
def test_an_unreachable_server_is_given_up_within_ten_seconds(scratch: ScratchFactory) -> None:
    away = Settings(url=f"nats://127.0.0.1:{relay_world.free_port()}")
    with relay_world.opened(scratch(), away) as world:
        world.commit()
        world.poke()
        relay = until(world.pid)
        until(lambda: not runs(relay), 10, "the relay's end")


@pytest.mark.slow
def test_of_twenty_racing_starters_exactly_one_relay_comes(world: RelayWorld) -> None:
    world.commit()
    code = (
        "import sys; from pathlib import Path; from agentpkg.relay import client; "
        "from agentpkg.bus.access import Settings; assert client.poke(Path(sys.argv[1]), Settings())"
    )
    starters = [subprocess.Popen([sys.executable, "-c", code, str(world.state)]) for _ in range(20)]
    assert [starter.wait() for starter in starters] == [0] * 20
    world.published()
    assert world.relays() == [world.pid()]


@pytest.mark.slow
def test_twenty_relays_started_by_hand_leave_one(world: RelayWorld) -> None:
    world.commit()
    started = [
        subprocess.Popen([sys.executable, "-m", "agentpkg.relay", str(world.state)], stdin=subprocess.DEVNULL)
        for _ in range(20)
    ]
    world.published(30)
    # one that nobody needs any more would leave as well
    client.hold(world.state, 60, world.settings)
    until(lambda: sum(process.poll() is None for process in started) <= 1, 60, "nineteen to leave")
    assert world.relays() == [world.pid()]
    world.kill_relay()
    assert sorted(process.wait(15) for process in started) in ([0] * 20, [-signal.SIGKILL, *[0] * 19])


def test_after_kill_9_the_next_poke_starts_another_and_no_server_is_left(world: RelayWorld) -> None:
    world.publish()
    server = world.server_pid()
    world.kill_relay()
    until(lambda: not runs(server), 5, "the server's end")
    world.publish()
    assert [event["n"] for event in history(world)] == [1, 2]


#: between the first byte that is sent and the last row that is marked
_POINTS = (
    "agentpkg.relay.outbox:_messages:return",
    "agentpkg.bus.nats:_acknowledged:call",
    "agentpkg.relay.outbox:_marking:call",
    "agentpkg.ledger.ledger:mark_sent:call",
    "agentpkg.ledger.ledger:mark_sent:return",
)


@pytest.mark.slow
@pytest.mark.parametrize("point", points(_POINTS))
def test_a_relay_killed_between_publishing_and_marking_repeats_the_same_ids_in_order(
    world: RelayWorld, tmp_path: Path, point: str
) -> None:
    # more than one batch
    world.commit(BATCH)
    world.commit(2, feature="002-other")
    ids = [row.id for row in world.ledger.unsent(1_000)]
    hook = engine_kill.environment(tmp_path / "hook", "agentpkg.relay", point)
    relay = [sys.executable, "-m", "agentpkg.relay", str(world.state)]
    assert subprocess.run(relay, stdin=subprocess.DEVNULL, env=os.environ | hook, timeout=60).returncode == -9
    assert len(world.ledger.unsent(1_000)) == (2 if point.endswith("mark_sent:return") else BATCH + 2)
    world.publish()
    told = history(world)
    assert [event["n"] for event in told] == list(range(1, BATCH + 4))
    # an id is the message's id, so the server has taken what was sent twice for what it is
    assert [event["id"] for event in told][:-1] == ids


@pytest.mark.slow
def test_a_poke_that_meets_an_ending_relay_is_not_lost(world: RelayWorld) -> None:
    world.publish()
    relay = world.pid()
    assert relay
    while runs(relay):
        pass
    world.publish()


def test_a_server_that_is_killed_comes_back_on_its_port(world: RelayWorld) -> None:
    world.publish()
    url = world.status["url"]
    os.kill(world.server_pid(), 9)
    world.publish(2)
    # events are out a moment before the relay tells where they went
    assert until(lambda: world.status["url"], what="the new server's address") == url
    assert [event["n"] for event in history(world)] == [1, 2, 3]


def test_a_server_whose_keeper_is_killed_is_started_anew_though_it_still_answers(world: RelayWorld) -> None:
    world.publish()
    url, keeper = world.status["url"], psutil.Process(world.server_pid()).parent()
    assert keeper is not None
    keeper.kill()
    assert client.endpoint(world.state, world.settings)["url"] == url
    world.publish()
    assert [event["n"] for event in history(world)] == [1, 2]


def test_a_deleted_stream_is_made_again_with_the_newest_events(world: RelayWorld) -> None:
    world.publish(2)
    status = world.status

    async def delete(connection: object) -> None:
        await connection.jetstream().delete_stream("agentpkg")  # type: ignore[attr-defined]

    relay_world.as_client(status["url"], status["coordinator"], delete)
    world.publish()
    assert [event["n"] for event in history(world)] == [1, 2, 3]


@pytest.mark.slow
def test_a_moved_repository_ends_its_relay_and_goes_on_in_its_new_place(world: RelayWorld) -> None:
    world.publish()
    relay, server = world.pid(), world.server_pid()
    assert relay
    moved = world.repo.with_name("moved")
    world.repo.rename(moved)
    until(lambda: not runs(relay), 5, "the relay's end")
    until(lambda: not runs(server), 5, "the server's end")
    world.ledger.close()
    assert not world.repo.exists()
    moved.rename(world.repo)
    world.publish()
    assert [event["n"] for event in history(world)] == [1, 2]


@pytest.mark.slow
def test_a_deleted_repository_ends_its_relay_and_is_not_made_again(world: RelayWorld) -> None:
    world.publish()
    relay = world.pid()
    assert relay
    shutil.rmtree(world.repo)
    until(lambda: not runs(relay), 5, "the relay's end")
    assert not world.repo.exists()
    assert not world.poke()


@pytest.mark.slow
def test_a_damaged_ledger_ends_the_relay_without_a_loop(world: RelayWorld) -> None:
    world.ledger.close()
    (world.state / "ledger.db").write_bytes(b"not a database" * 1000)
    for left in world.state.glob("ledger.db-*"):
        left.unlink()
    assert world.poke()
    relay = until(world.pid)
    until(lambda: "damaged" in str(world.status.get("problem")), what="the problem")
    until(lambda: not runs(relay), 10, "the relay's end")
    assert (world.state / "run" / "relay.log").stat().st_size < 2_000


def test_a_locked_ledger_is_waited_for(world: RelayWorld) -> None:
    world.commit()
    with world.ledger.write():
        assert world.poke()
        until(lambda: world.status.get("url"), what="the server")
    world.published()


@pytest.mark.slow
def test_other_settings_replace_the_relay_and_credentials_are_written_nowhere(world: RelayWorld) -> None:
    world.publish()
    first = world.pid()
    world.settings = Settings(prefix="other")
    # else it may be gone before anybody looks
    client.hold(world.state, 60, world.settings)
    world.publish()
    until(lambda: world.pid() not in (first, None), what="the new relay")
    until(lambda: world.status.get("url"), what="its server")
    assert {event["n"] for event in history(world, "other")} == {1, 2}
    secret = Settings(url=f"nats://user:pa55word@127.0.0.1:{relay_world.free_port()}")
    client.hold(world.state, 5, secret)
    until(lambda: world.status.get("settings") == secret.digest(), what="the new relay")
    until(lambda: world.status.get("problem"), what="the problem")
    for file in (world.state / "run").iterdir():
        assert file.is_socket() or b"pa55word" not in file.read_bytes(), file
    pid = world.pid()
    assert b"pa55word" not in Path(f"/proc/{pid}/environ").read_bytes() + Path(f"/proc/{pid}/cmdline").read_bytes()


@pytest.mark.slow
def test_the_relay_holds_none_of_the_callers_streams(world: RelayWorld) -> None:
    code = (
        "import sys; from pathlib import Path; from agentpkg.relay import client; "
        "client.poke(Path(sys.argv[1])); print('done')"
    )
    world.commit()
    done = subprocess.run([sys.executable, "-c", code, str(world.state)], capture_output=True, timeout=10, check=True)
    assert done.stdout == b"done\n"
    world.published()
    assert world.pid()


@pytest.mark.slow
def test_a_long_path_moves_the_socket_to_the_runtime_folder(tmp_path: Path) -> None:
    relay_world.need_server()
    repo = tmp_path / ("x" * 80)
    repo.mkdir()
    subprocess.run(["git", "init", "-q", str(repo)], check=True)
    with relay_world.opened(repo) as world:
        world.publish()
        path = Path(world.status["socket"])
        assert path.parent != place.run_dir(world.state)
        assert path.parent.stat().st_mode & 0o777 == 0o700
        world.publish()
        until(lambda: not world.relays(), 10)
        assert not path.exists()


def test_pokes_from_many_threads_start_one_relay(world: RelayWorld) -> None:
    world.commit()
    threads = [threading.Thread(target=world.poke) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    world.published()
    assert len(world.relays()) == 1
