"""A session whose supervisor has died, as those see it who only look."""

import os
import signal

import pytest

from agentpkg.engine import looking
from agentpkg.engine.project import open_project
from tests.cli import support
from tests.cli.support import cli, quick
from tests.support.repos import ScratchFactory
from tests.support.wait import until


@pytest.mark.slow
def test_a_session_without_a_supervisor_is_told_and_nothing_is_written(scratch: ScratchFactory) -> None:
    repo = scratch(support.files())
    session = cli(repo, "implement", "001", "--wp", "WP01", "--agent", "slow", "--detach", "--json").json["session"]
    project = open_project(repo)
    # until the supervisor has claimed it, the lease names the process that becomes the watcher
    row = until(lambda: (row := project.ledger.session(session)) and row.agent_pid and row, what="the agent's start")
    assert row.pid is not None
    watched = support.start(repo, "status", "001", "--watch", "--json")
    assert watched.stdout is not None
    assert '"warnings": []' in watched.stdout.readline()
    os.kill(row.pid, signal.SIGKILL)
    until(lambda: [1 for _, life in looking.lives(project) if life.state == "lost"], what="the supervisor's death")

    lost = f"001-greeting WP01: session {session} has lost its supervisor"
    # the watcher's own lines of the session's log come first
    until(lambda: lost in watched.stdout.readline(), what="the word of it in --watch")
    watched.send_signal(signal.SIGINT)
    watched.communicate(timeout=30)

    before = project.ledger.last_rowid()
    found = quick(repo, "status", "001", "--json")
    assert [w for w in found.json["warnings"] if lost in w]
    assert found.json["work_packages"][0]["state"] == "doing"
    assert found.json["work_packages"][0]["life"]["state"] == "lost"
    assert "Lost its supervisor" in quick(repo, "status", "001").out
    for words in (["status", "001"], ["status"], ["features"], ["agents", "list"]):
        assert lost in quick(repo, *words).err, words
    row = project.ledger.session(session)
    assert row is not None
    assert row.ended_at is None
    assert project.ledger.last_rowid() == before

    assert quick(repo, "move", "001", "WP01", "--to", "planned").code == 0
    assert lost not in quick(repo, "status").err
    project.ledger.close()
