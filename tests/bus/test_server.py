import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from agentpkg.bus import keys
from agentpkg.bus.server import EmbeddedServer, find_program
from agentpkg.core.errors import Lacking
from tests.support import relay_world
from tests.support.relay_world import runs
from tests.support.wait import until


@pytest.fixture
def state(tmp_path: Path) -> Path:
    relay_world.need_server()
    folder = tmp_path / "a state" / "agentpkg"
    folder.mkdir(parents=True)
    return folder


def _pid(state: Path) -> int:
    return int((state / "run" / "nats.pid").read_text())


def test_it_starts_stops_and_keeps_its_port(state: Path) -> None:
    server = EmbeddedServer(state, "agentpkg")
    server.start()
    url, pid = server.url, _pid(state)
    assert url is not None
    assert url.startswith("nats://127.0.0.1:")
    server.start()
    assert _pid(state) == pid
    server.stop()
    assert not runs(pid)
    server.start()
    assert server.url == url
    server.stop()


def test_a_port_that_somebody_took_is_given_up(state: Path) -> None:
    server = EmbeddedServer(state, "agentpkg")
    server.start()
    url = server.url
    server.stop()
    assert url is not None
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", int(url.rpartition(":")[2])))
        taken.listen()
        server.start()
        assert server.url != url
    server.stop()


def test_it_dies_with_its_owner(state: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from agentpkg.bus.server import EmbeddedServer; "
        "EmbeddedServer(Path(sys.argv[1]), 'agentpkg').start(); print('up', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(state)], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"up\n"
        pid = _pid(state)
        owner.send_signal(signal.SIGKILL)
        until(lambda: not runs(pid), 5, "the server's end")


@pytest.mark.slow
def test_a_second_owner_takes_over_from_a_server_that_nobody_keeps(state: Path) -> None:
    first = EmbeddedServer(state, "agentpkg")
    first.start()
    pid = _pid(state)
    second = EmbeddedServer(state, "agentpkg")
    second.start()
    assert not runs(pid)
    assert second.running()
    second.stop()
    until(lambda: not first.running())
    first.stop()


def test_it_notices_a_server_that_was_killed(state: Path) -> None:
    server = EmbeddedServer(state, "agentpkg")
    server.start()
    os.kill(_pid(state), signal.SIGKILL)
    until(lambda: not server.running(), 5)
    server.start()
    assert server.running()
    server.stop()


def test_secrets_are_for_the_owner_alone(state: Path) -> None:
    server = EmbeddedServer(state, "agentpkg")
    server.start()
    for name in (keys.COORDINATOR, keys.VIEWER, keys.SYSTEM):
        assert keys.seed_file(state / "run", name).stat().st_mode & 0o777 == 0o600
    assert (state / "run" / "nats.conf").stat().st_mode & 0o777 == 0o600
    assert (state / "run").stat().st_mode & 0o777 == 0o700
    assert (state / "js").stat().st_mode & 0o777 == 0o700
    server.stop()


def test_a_seed_file_without_a_seed_is_replaced(state: Path) -> None:
    (state / "run").mkdir()
    keys.seed_file(state / "run", keys.VIEWER).write_text("")
    assert keys.public_key(state / "run", keys.VIEWER).startswith("U")


def test_the_configured_program_is_found_first(tmp_path: Path) -> None:
    program = tmp_path / "my-server"
    shutil.copy("/bin/true", program)
    assert find_program(str(program)) == program
    with pytest.raises(Lacking, match="cannot be run"):
        find_program(str(tmp_path / "none"))


def test_a_program_that_is_no_server_is_said_to_fail(state: Path) -> None:
    with pytest.raises(Lacking, match="does not start"):
        EmbeddedServer(state, "agentpkg", "/bin/true").start()
