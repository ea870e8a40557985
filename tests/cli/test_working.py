"""Commands that change something, as processes on a real repository with shell agents."""

import json
import signal
from pathlib import Path

import pytest

from tests.cli import support
from tests.cli.support import cli, quick
from tests.support.repos import ScratchFactory, git
from tests.support.wait import until


@pytest.fixture
def repo(scratch: ScratchFactory) -> Path:
    return scratch(support.files())


def test_a_package_goes_from_its_agent_through_review_to_the_target(repo: Path) -> None:
    done = cli(repo, "implement", "001", "--wp", "WP01")
    assert done.code == 0, done.err
    assert "Dispatching WP01 to good…" in done.out
    assert "Total prompt:" in done.out
    assert "✓ WP01 moved to for_review" in done.out
    assert "working" in done.err

    judged = cli(repo, "review", "WP01", "--json")
    assert judged.code == 0, judged.out
    assert judged.json["verdict"] == "approved"
    assert cli(repo, "review", "WP01").out.count("from the record") == 1

    moved = cli(repo, "move", "001", "WP01", "--to", "done")
    assert moved.code == 0, moved.err
    assert "Merging branch feat/001-greeting-WP01 → main" in moved.out
    assert "WP02 (Part 02) is now unblocked" in moved.out

    logs = quick(repo, "logs", "WP01", "--tail", "3")
    assert logs.code == 0
    assert "Session ended: completed" in logs.out
    assert quick(repo, "logs", "001", "WP01", "--json").lines[0]["kind"] == "started"

    verified = cli(repo, "events", "audit-verify", "--feature", "001", "--json").json
    assert verified["ok"]
    exported = quick(repo, "events", "export", "--feature", "001").out.splitlines()
    assert len(exported) == verified["entries"]
    assert json.loads(exported[-1])["hash"] == verified["head"]
    asked = quick(repo, "events", "query", "--wp", "WP01", "--actor", "ci:automation", "--json").lines
    assert [one["transition"] for one in asked] == ["WP01:for_review->for_review"]


@pytest.mark.slow
def test_a_failing_agent_is_tried_again_and_then_blocks_its_package(repo: Path) -> None:
    done = cli(repo, "implement", "001", "--wp", "WP01", "--agent", "bad", "--json")
    assert done.code == 1
    assert done.err == "" or done.err.startswith("warning: ")
    assert done.json | {"session": "", "base": "", "duration_seconds": 0} == {
        "feature": "001-greeting", "wp": "WP01", "session": "", "agent": "bad", "outcome": "failed",
        "state": "blocked", "reason": done.json["reason"], "base": "", "commits": [], "files_changed": 0,
        "exit_code": 3, "duration_seconds": 0, "attempts": 2, "usage": None,
    }  # fmt: skip
    shown = quick(repo, "status", "001")
    assert "blocked" in shown.out
    assert "\x1b" not in shown.out + quick(repo, "logs", "WP01").out


@pytest.mark.slow
def test_commits_of_a_session_are_told_oldest_first(repo: Path) -> None:
    done = cli(repo, "implement", "001", "--wp", "WP01", "--json").json
    assert done["commits"] == [git(repo, "rev-parse", "feat/001-greeting-WP01")]
    assert done["base"] == git(repo, "rev-parse", "main")


@pytest.mark.slow
def test_ctrl_c_stops_the_session_and_keeps_what_it_made(repo: Path) -> None:
    process = support.start(repo, "implement", "001", "--wp", "WP01", "--agent", "slow", "--json")

    def committed() -> bool:
        said = quick(repo, "status", "001", "--json").json["work_packages"][0]
        return bool(said["session"]) and any(
            record["kind"] == "commit" for record in quick(repo, "logs", "WP01", "--json").lines
        )

    until(committed, 30, "the agent's commit")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    document = json.loads(out)
    assert (document["outcome"], document["state"], document["reason"]) == ("cancelled", "blocked", "interrupted")
    assert len(document["commits"]) == 1


@pytest.mark.slow
def test_a_detached_session_is_followed_and_cancelled_from_elsewhere(repo: Path) -> None:
    started = cli(repo, "implement", "--wp", "WP01", "--agent", "slow", "--detach", "--json")
    assert started.code == 0, started.out
    assert started.json["outcome"] is None
    busy = cli(repo, "implement", "--wp", "WP01", "--json")
    assert busy.code == 4
    assert busy.json["error"]["code"] == "busy"
    follower = support.start(repo, "logs", "WP01", "--follow")
    cancelled = cli(repo, "cancel", "WP01", "--reason", "enough", "--json")
    assert cancelled.json == {
        "feature": "001-greeting", "wp": "WP01", "state": "cancelled", "session": started.json["session"]
    }  # fmt: skip
    out, _ = follower.communicate(timeout=30)
    assert follower.returncode == 0
    assert "Session ended: cancelled" in out
    again = cli(repo, "wp", "transition", "WP01", "--to", "planned", "--json")
    assert again.json | {"unblocked": []} == {
        "feature": "001-greeting", "wp": "WP01", "from": "cancelled", "to": "planned", "merge_commit": None,
        "unblocked": [],
    }  # fmt: skip


@pytest.mark.slow
def test_a_run_tells_events_and_ends_with_its_summary(repo: Path) -> None:
    done = cli(repo, "run", "001", "--json")
    assert done.code == 0, done.out + done.err
    *events, last = done.lines
    assert last == {
        "feature": "001-greeting", "state": "validated", "progress": {"done": 2, "total": 2}, "stuck": [],
    }  # fmt: skip
    subjects = [event["subject"] for event in events]
    assert "agentpkg.feature.001-greeting.wp.WP02.unblocked" in subjects
    assert subjects[-1] == "agentpkg.feature.001-greeting.state.changed"
    watched = quick(repo, "status", "001", "--watch", "--json")
    assert watched.code == 0
    assert [line["feature"]["state"] for line in watched.lines] == ["validated"]
    shipped = cli(repo, "move", "001", "--to", "shipped")
    assert shipped.code == 0
    assert "validated to shipped" in shipped.out
    assert quick(repo, "clean", "--json").json == {"removed": [], "kept": []}


@pytest.mark.slow
def test_a_run_that_cannot_finish_says_why_for_each_package(repo: Path) -> None:
    done = cli(repo, "run", "001", "--agent", "bad")
    assert done.code == 1
    assert "WP01  ✗ session failed" in done.err
    assert "Not finished:" in done.out
    assert "WP01  blocked" in done.out
    assert "WP02  planned  waits for WP01" in done.out


@pytest.mark.slow
def test_an_agent_cannot_use_the_commands_of_people(repo: Path) -> None:
    session = cli(repo, "implement", "--wp", "WP01", "--json").json["session"]
    mark = {"AGENTPKG_SESSION": session}
    for words in (
        ["review", "WP01"], ["move", "001", "WP01", "--to", "done"], ["run", "001"],
        ["cancel", "WP01", "--reason", "x"], ["implement", "--wp", "WP02"],
    ):  # fmt: skip
        assert quick(repo, *words, environ=mark).code == 3, words
    assert quick(repo, "status", "001", environ=mark).code == 0


@pytest.mark.slow
def test_an_agent_is_tried_in_a_scratch_repository(repo: Path) -> None:
    config = repo / ".kittify" / "config.yaml"
    greet = "echo hello > hello.txt; git add -A; git commit -qm 'feat(WP01): add a greeting'"
    config.write_text(config.read_text() + f'  greeter: {{harness: command, command: ["/bin/sh", "-c", "{greet}"]}}\n')
    good = cli(repo, "agents", "test", "greeter", "--json")
    assert good.code == 0, good.out
    assert [one["name"] for one in good.json["checks"]] == ["program", "dispatch", "session", "commits", "task"]
    bad = cli(repo, "agents", "test", "bad")
    assert bad.code == 1
    assert "✗ session" in bad.out
    assert not (repo / ".git" / "agentpkg").exists()


@pytest.mark.slow
def test_ctrl_c_twice_stops_a_run_and_its_sessions(repo: Path) -> None:
    process = support.start(repo, "run", "001", "--agent", "slow")

    def working() -> bool:
        package = quick(repo, "status", "001", "--json").json["work_packages"][0]
        return package["state"] == "doing" and package["activity"] is not None

    until(working, 30, "the agent")
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    until(lambda: "WP01 may finish" in process.stderr.readline(), 30, "the first word on stopping")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "WP01  blocked  interrupted" in out
    assert "stopped after" in out
    assert "Traceback" not in err
