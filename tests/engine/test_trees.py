"""Hostile process trees: whatever a session leaves behind and however it ends, nothing of it is alive afterwards."""

import fcntl
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agentpkg import proc
from agentpkg.core.records import SessionRow
from agentpkg.engine import attach
from agentpkg.engine.dispatching import dispatch
from agentpkg.engine.supervising import control
from agentpkg.engine.upkeep import recovery
from agentpkg.sessions.pulse import read_members
from tests.support.engine_shop import Shop, ShopFactory
from tests.support.wait import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs a subreaper")

#: starts one process of each kind; each writes its pid, and what it holds, beside the repository
_FAMILY = """
import fcntl, os, signal, socket, sys, time
here = sys.argv[1]

def note(name, value):
    with open(os.path.join(here, name), "a") as file:
        file.write(f"{value}\\n")

def stay():
    note("pids", os.getpid())
    while True:
        time.sleep(60)

def child(kind):
    if os.fork() == 0:
        try:
            kind()
        finally:
            os._exit(0)

def in_another_session():
    os.setsid()
    # a port that stays taken
    server = socket.create_server(("127.0.0.1", 0))
    note("port", server.getsockname()[1])
    stay()

def twice_forked():
    os.setsid()
    child(stay)

def without_a_mark():
    # it has lost its parents and its environment, and holds a lock
    os.setsid()
    if os.fork() == 0:
        code = (
            "import fcntl, os, sys, time; f = open(sys.argv[1] + '/held', 'w'); fcntl.flock(f, fcntl.LOCK_EX);"
            "g = open(sys.argv[1] + '/pids', 'a'); g.write(f'{os.getpid()}\\\\n'); g.close(); time.sleep(3600)"
        )
        os.execve(sys.executable, [sys.executable, "-c", code, here], {})

def deaf():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGCONT):
        signal.signal(number, signal.SIG_IGN)
    stay()

def stopped():
    note("pids", os.getpid())
    os.kill(os.getpid(), signal.SIGSTOP)

def without_streams():
    for stream in (0, 1, 2):
        os.close(stream)
    stay()

kinds = [in_another_session, twice_forked, without_a_mark, deaf, stopped, without_streams]
for kind in kinds:
    child(kind)
while len(open(os.path.join(here, "pids")).readlines()) < len(kinds):
    time.sleep(0.01)
if "stop" in sys.argv[2:]:
    # the very process that the supervisor has started
    shell = os.getppid()
    child(lambda: os.kill(shell, signal.SIGSTOP) or stay())
"""


def begin(shop: Shop, then: str, *words: str) -> SessionRow:
    """A session whose agent starts the family and then does something more."""
    (shop.tools / "family.py").write_text(_FAMILY)
    (shop.tools / "pids").touch()
    family = f'{sys.executable} "$here/family.py" "$here" {" ".join(words)}'
    shop.agent("WP01", f"save src/wp01.txt x; {family}; touch $here/ready; {then}")
    project = shop.project
    return dispatch.start(project, project.good_feature(shop.feature), "WP01", dispatch.Wish()).session


def pids(shop: Shop) -> list[int]:
    return [int(line) for line in (shop.tools / "pids").read_text().split()]


def ready(shop: Shop, row: SessionRow) -> SessionRow:
    """The session's row, once the family is there and the supervisor has written it down."""
    until((shop.tools / "ready").exists, what="the family")
    folder = shop.state / "sessions" / row.id
    until(lambda: {*pids(shop)} <= {*read_members(folder)}, what="the list of its processes")
    found = shop.project.ledger.session(row.id)
    assert found is not None
    return found


def living(shop: Shop) -> list[int]:
    found = (proc.look(pid) for pid in pids(shop))
    return [process.pid for process in found if process is not None and not process.zombie]


def without_a_trace(shop: Shop) -> None:
    """Nothing of the family lives, its port is free and its lock too."""
    assert len(pids(shop)) >= 6
    assert living(shop) == []
    port = int((shop.tools / "port").read_text())
    with socket.create_server(("127.0.0.1", port)):
        pass
    with (shop.tools / "held").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert [pid for pid in shop.processes() if b"agent.sh" in _argv(pid)] == []


def _argv(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.slow
@pytest.mark.parametrize(("then", "outcome"), [("exit 0", "completed"), ("exit 3", "failed")])
def test_nothing_is_left_when_the_agent_ends(shops: ShopFactory, then: str, outcome: str) -> None:
    shop = shops()
    row = attach.wait(shop.project, begin(shop, then).id)
    assert (row.outcome, row.commits) == (outcome, 1)
    without_a_trace(shop)


@pytest.mark.slow
def test_nothing_is_left_when_it_outlives_its_time(shops: ShopFactory) -> None:
    shop = shops(packages={"WP01": {"timeout_seconds": 4}})
    row = attach.wait(shop.project, begin(shop, "trap '' INT TERM; while :; do sleep 0.1; done").id)
    assert row.outcome == "timeout"
    without_a_trace(shop)


@pytest.mark.slow
def test_nothing_is_left_when_the_agent_itself_was_stopped(shops: ShopFactory) -> None:
    shop = shops(packages={"WP01": {"timeout_seconds": 4}})
    row = attach.wait(shop.project, begin(shop, "while :; do sleep 0.1; done", "stop").id)
    assert row.outcome == "timeout"
    assert len(pids(shop)) == 7
    without_a_trace(shop)


@pytest.mark.slow
def test_nothing_is_left_when_a_person_cancels(shops: ShopFactory) -> None:
    shop = shops()
    begun = begin(shop, "wait_for never")
    ready(shop, begun)
    control.cancel(shop.state, begun.id, "human:ada", "enough")
    assert attach.wait(shop.project, begun.id).outcome == "cancelled"
    without_a_trace(shop)


def kill_supervisor(row: SessionRow) -> None:
    os.kill(row.pid or 0, signal.SIGKILL)


def kill_watcher(row: SessionRow) -> None:
    os.kill(_watcher(row), signal.SIGKILL)


def kill_both(row: SessionRow) -> None:
    kill_watcher(row)
    kill_supervisor(row)


def stop_the_watcher_and_kill_the_supervisor(row: SessionRow) -> None:
    os.kill(_watcher(row), signal.SIGSTOP)
    kill_supervisor(row)


def _watcher(row: SessionRow) -> int:
    found = proc.look(row.pid or 0)
    assert found is not None
    return found.parent


def test_nothing_is_left_when_the_supervisor_is_killed(shops: ShopFactory) -> None:
    shop = shops()
    kill_supervisor(ready(shop, begin(shop, "wait_for never")))
    # by the watcher alone: no command has looked yet
    until(lambda: not living(shop), what="the end of the family")
    without_a_trace(shop)


@pytest.mark.slow
@pytest.mark.parametrize("kill", [kill_both, stop_the_watcher_and_kill_the_supervisor])
def test_nothing_is_left_after_the_next_command_when_supervisor_and_watcher_are_killed(
    shops: ShopFactory, kill: Callable[[SessionRow], None]
) -> None:
    shop = shops()
    row = ready(shop, begin(shop, "wait_for never"))
    watcher, agent = _watcher(row), row.agent_pid
    assert agent is not None
    kill(row)
    until(lambda: recovery.is_dead(row), what="the supervisor's death")
    # the agent itself has ended with its supervisor, by the kernel; its family works on
    until(lambda: (found := proc.look(agent)) is None or found.zombie, what="the agent's end")
    assert living(shop)
    assert len(recovery.reconcile(shop.project)) == 1
    without_a_trace(shop)
    until(lambda: (found := proc.look(watcher)) is None or found.zombie, what="the watcher's end")
    ended = shop.project.ledger.session(row.id)
    assert ended is not None
    assert (ended.outcome, ended.commits) == ("failed", 1)


@pytest.mark.slow
def test_nothing_is_left_when_the_watcher_is_killed_and_the_session_ends_well(shops: ShopFactory) -> None:
    shop = shops()
    row = ready(shop, begin(shop, "wait_for go"))
    kill_watcher(row)
    shop.go("go")
    assert attach.wait(shop.project, row.id).outcome == "completed"
    without_a_trace(shop)


@pytest.mark.slow
def test_an_agent_that_kills_its_supervisor_gains_nothing(shops: ShopFactory) -> None:
    shop = shops()
    begun = begin(shop, "kill -9 $PPID; sleep 60")
    until(lambda: recovery.is_dead(shop.project.ledger.session(begun.id) or begun), what="the supervisor's death")
    row = attach.wait(shop.project, begun.id)
    assert (row.outcome, row.commits) == ("failed", 1)
    without_a_trace(shop)
