"""Runs steered from other terminals: each command here is a process of its own."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.cli import support
from tests.cli.support import cli
from tests.support.repos import ScratchFactory
from tests.support.wait import until

_AGENT = """#!/bin/sh
while [ ! -e {go} ]; do sleep 0.02; done
echo x > $AGENTPKG_WP.txt; git add -A; git commit -qm "feat($AGENTPKG_WP): it"
"""


@pytest.fixture
def go(tmp_path: Path) -> Path:
    """What agents wait for."""
    return tmp_path / "go"


@pytest.fixture
def repo(scratch: ScratchFactory, tmp_path: Path, go: Path) -> Path:
    agent = tmp_path / "agent.sh"
    agent.write_text(_AGENT.format(go=go))
    agent.chmod(0o755)
    config = (
        "agent: {harness: slow, kill_grace_seconds: 1}\n"
        f'agents:\n  slow: {{harness: command, command: ["{agent}"]}}\n'
        'review: {checks: [{name: "check", run: "true"}]}\nnats: {server: /nowhere}\nisolation: {level: basic}\n'
    )
    return scratch({**support.files(), ".kittify/config.yaml": config})


def status(repo: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cli(repo, "status", "001", "--json").out)
    return found


@pytest.mark.slow
def test_a_detached_run_is_paused_resumed_watched_and_its_exit_code_is_the_watchers(repo: Path, go: Path) -> None:
    begun = json.loads(cli(repo, "run", "001", "--detach", "--json").out)
    assert cli(repo, "run", "001", "--detach").code == 4
    run = status(repo)["run"]
    assert run["owner"]["pid"] == begun["pid"]
    assert json.loads(cli(repo, "pause", "001", "--reason", "tea", "--json").out)["changed"] is True
    assert "Paused:" in cli(repo, "status", "001").out
    go.touch()
    assert cli(repo, "resume", "001").code == 0
    watched = cli(repo, "attach", "001", "--json")
    if watched.code == 3:
        # it was too quick to be watched
        until(lambda: status(repo)["progress"] == {"done": 2, "total": 2})
        return
    assert watched.code == 0, watched.err
    assert json.loads(watched.out.splitlines()[-1])["stuck"] == []
    assert cli(repo, "attach", "001").code == 3


@pytest.mark.slow
def test_a_detached_run_is_stopped_at_once_with_its_sessions_though_it_sleeps(repo: Path) -> None:
    pid = json.loads(cli(repo, "run", "001", "--detach", "--json").out)["pid"]
    until(lambda: status(repo)["work_packages"][0]["state"] == "doing")
    os.kill(pid, signal.SIGSTOP)
    until(lambda: status(repo)["run"]["owner"]["stopped"])
    assert "which is stopped" in cli(repo, "run", "001").err
    said = json.loads(cli(repo, "stop", "--now", "--json").out)
    assert said["stopped"] is True
    assert status(repo)["run"] == {"owner": None, "paused": None, "held": None}
    assert status(repo)["work_packages"][0]["state"] == "blocked"
    assert cli(repo, "stop").code == 3


@pytest.mark.slow
def test_steering_what_is_not_there_is_told_plainly(repo: Path) -> None:
    for words in (["stop", "001"], ["attach"], ["stop"]):
        done = cli(repo, *words)
        assert (done.code, done.err.splitlines()[1].partition(":")[0]) == (3, "hint")
    assert cli(repo, "tell", "WP01", "  ").code == 2
    assert cli(repo, "tell", "WP01").code == 2
