"""A supervisor that is killed takes with it what it ran, however that hid."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentpkg.proc import look, members
from tests.support.wait import until

SUPERVISOR = """
import os, sys
from pathlib import Path
from agentpkg.harnesses.base import Launch
from agentpkg.harnesses.command import PlainReader
from agentpkg.proc import spawn_detached
from agentpkg.secrets.redact import Redactor
from agentpkg.sessions import watcher
from agentpkg.sessions.log import SessionLog
from agentpkg.sessions.runner import run

mark = sys.argv[1]
watcher.start(mark)
Path("supervisor").write_text(str(os.getpid()))
env = {"PATH": os.environ["PATH"], "THE_MARK": mark.partition("=")[2]}
if os.path.exists("detach"):
    spawn_detached(
        ["/bin/sh", "-c", "echo $$ > detached; sleep 60 & exec sleep 60"], env=dict(os.environ), cwd=Path.cwd()
    )
ended = run(
    Launch(("/bin/sh", "-c", sys.argv[2])), PlainReader(), cwd=Path.cwd(), env=env, mark=mark, timeout=60, grace=0.2,
    log=SessionLog(Path("log"), Redactor({})), redactor=Redactor({}), adopted=True,
)
sys.exit(ended.exit_code)
"""

#: one child with the mark, one without that changed its session and lost its parent
AGENT = (
    "sleep 60 & echo $! >> pids; (env -i PATH=$PATH setsid sh -c 'echo $$ >> pids; exec sleep 60' &); echo $$ >> pids;"
    " until [ $(wc -l < pids) = 3 ]; do :; done; "
)

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs a subreaper")


class Watched:
    """A watcher, its supervisor, and what that runs."""

    def __init__(self, root: Path, script: str) -> None:
        self.root = root
        self.mark = f"THE_MARK={root}"
        self.process = subprocess.Popen(
            [sys.executable, "-c", SUPERVISOR, self.mark, script], cwd=root, start_new_session=True
        )

    def running(self) -> list[int]:
        until(lambda: len(self.numbers("pids")) == 3, what="the agent")
        return self.numbers("pids")

    def numbers(self, name: str) -> list[int]:
        path = self.root / name
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def supervisor(self) -> int:
        return until(lambda: self.numbers("supervisor"))[0]


def gone(pids: list[int]) -> bool:
    found = [look(pid) for pid in pids]
    return all(process is None or process.zombie for process in found)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for process in members(None, f"THE_MARK={tmp_path}"):
        os.kill(process.pid, signal.SIGKILL)


@LINUX
def test_a_killed_supervisor_takes_everything_with_it(root: Path) -> None:
    watched = Watched(root, AGENT + "sleep 60")
    pids = watched.running()
    os.kill(watched.supervisor(), signal.SIGKILL)
    assert watched.process.wait(20) == 128 + signal.SIGKILL
    assert gone(pids)


@LINUX
@pytest.mark.parametrize("killed", [True, False])
def test_what_is_detached_on_purpose_outlives_both(root: Path, killed: bool) -> None:
    (root / "detach").touch()
    watched = Watched(root, AGENT + ("sleep 60" if killed else "exit 0"))
    pids = watched.running()
    (detached,) = until(lambda: watched.numbers("detached"))
    if killed:
        os.kill(watched.supervisor(), signal.SIGKILL)
    watched.process.wait(20)
    assert gone(pids)
    assert not gone([detached])
    os.killpg(detached, signal.SIGKILL)


@LINUX
def test_a_normal_end_leaves_nothing_and_gives_the_exit_code(root: Path) -> None:
    watched = Watched(root, AGENT + "exit 7")
    pids = watched.running()
    assert watched.process.wait(20) == 7
    assert gone(pids)


@LINUX
def test_a_supervisor_whose_watcher_is_killed_goes_on_and_cleans_up(root: Path) -> None:
    watched = Watched(root, AGENT + "until [ -e go ]; do sleep 0.02; done")
    pids = watched.running()
    watched.process.kill()
    watched.process.wait()
    assert not gone([watched.supervisor()])
    (root / "go").touch()
    until(lambda: gone([watched.supervisor(), *pids]))


def test_a_signal_to_the_watcher_reaches_the_supervisor(root: Path) -> None:
    watched = Watched(root, AGENT + "sleep 60")
    pids = watched.running()
    watched.process.send_signal(signal.SIGTERM)
    assert watched.process.wait(20) == 128 + signal.SIGTERM
    until(lambda: gone(pids))
