"""Following events, with a server and without one."""

import json
import os
import shutil
import signal
import sysconfig
from pathlib import Path

import pytest

from tests.cli import support
from tests.cli.support import cli
from tests.support.repos import ScratchFactory


@pytest.fixture
def repo(scratch: ScratchFactory) -> Path:
    return scratch(support.files())


@pytest.fixture
def server() -> None:
    found = shutil.which("nats-server", path=sysconfig.get_path("scripts")) or shutil.which("nats-server")
    if found is None and not os.environ.get("CI"):
        pytest.skip("there is no nats-server")


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["tail", "endpoint"])
def test_without_a_server_following_is_what_the_machine_lacks(verb: str, repo: Path) -> None:
    said = cli(repo, "events", verb, "--json", environ={"AGENTPKG_NATS_SERVER": "/nonexistent/nats-server"})
    assert said.code == 5
    assert said.json["error"]["code"] == "no_server"


@pytest.mark.slow
def test_without_a_server_a_run_works_and_warns(repo: Path) -> None:
    said = cli(repo, "run", "001", "--json", environ={"AGENTPKG_NATS_SERVER": "/nonexistent/nats-server"})
    assert said.code == 0
    assert "warning: events wait in the outbox" in said.err


@pytest.mark.slow
@pytest.mark.usefixtures("server")
def test_a_feature_is_followed_with_its_sessions_and_nothing_of_others(repo: Path) -> None:
    folder = repo / "features" / "002-other" / "tasks"
    folder.mkdir(parents=True)
    (folder / "WP01-one.md").write_text(support.package("WP01"))
    assert cli(repo, "implement", "002", "--wp", "WP01").code == 0
    assert cli(repo, "implement", "001", "--wp", "WP01").code == 0
    process = support.start(repo, "events", "tail", "--feature", "001", "--history", "--json")
    assert process.stdout is not None
    events = []
    while not events or not events[-1]["subject"].endswith("state.changed") or events[-1].get("to") != "for_review":
        events.append(json.loads(process.stdout.readline()))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    subjects = {event["subject"].split(".")[-1] for event in events}
    assert {"started", "commit", "completed", "changed"} <= subjects
    assert not [event for event in events if "002-other" in json.dumps(event)]
    endpoint = cli(repo, "events", "endpoint", "--json").json
    assert set(endpoint) == {"url", "prefix", "stream", "credentials"}
    assert Path(endpoint["credentials"]).stat().st_mode & 0o777 == 0o600
