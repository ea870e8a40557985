import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from agentpkg.core.records import SessionEvent
from agentpkg.core.scope import Scope
from agentpkg.harnesses import guard, mailbox
from agentpkg.harnesses.base import GIT_DIR
from agentpkg.harnesses.codex import CodexHarness
from agentpkg.harnesses.codex_stream import CodexReader
from tests.support.sessions_jobs import SomeAgent, job

AGENT = SomeAgent(command=("/bin/cat",))


def _fed(*lines: dict[str, Any], before: dict[str, Any] | None = None) -> tuple[CodexReader, list[SessionEvent]]:
    reader = CodexReader(before)
    found = [event for line in lines for event in reader.feed("stdout", json.dumps(line))]
    return reader, [event for event in found if isinstance(event, SessionEvent)]


def test_its_items_become_events() -> None:
    change = {"type": "file_change", "id": "1", "changes": [{"path": "/w/a", "kind": "add"}], "status": "completed"}
    command = {"type": "command_execution", "id": "2", "command": "make", "aggregated_output": "no", "status": "failed",
               "exit_code": 2}  # fmt: skip
    _, events = _fed(
        {"type": "thread.started", "thread_id": "t1"}, {"type": "item.completed", "item": change},
        {"type": "item.started", "item": command}, {"type": "item.completed", "item": command},
        {"type": "item.completed", "item": {"type": "agent_message", "text": "done"}}, {"type": "novelty"},
    )  # fmt: skip
    assert [event.kind for event in events] == ["session", "tool", "tool", "tool_result", "text", "other"]
    assert events[0].data["conversation"] == "t1"
    assert events[3].data == {"id": "2", "error": True, "exit_code": 2}


def test_usage_counts_from_where_the_conversation_stood() -> None:
    usage = {"input_tokens": 3500, "cached_input_tokens": 2200, "output_tokens": 110}
    reader, _ = _fed({"type": "turn.completed", "usage": usage}, before={"input_tokens": 1000, "output_tokens": 10})
    assert reader.end(0).usage == {
        "input_tokens": 2500, "cached_input_tokens": 2200, "output_tokens": 100, "total_tokens": 2600,
    }  # fmt: skip


def test_notices_are_not_fatal_and_a_failed_turn_is() -> None:
    notice = {"type": "item.completed", "item": {"type": "error", "message": "Model metadata not found"}}
    reader, _ = _fed(notice, {"type": "error", "message": "Reconnecting... 1/2"}, {"type": "turn.completed"})
    assert reader.end(0).error is False
    reader, events = _fed(
        notice, {"type": "error", "message": "no"}, {"type": "turn.failed", "error": {"message": "no"}}
    )
    assert [event.text for event in events] == ["Model metadata not found", "no"]
    assert (reader.end(1).error, reader.end(1).text, reader.end(1).fault) == (True, "no", "agent")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("exceeded retry limit, last status: 429 Too Many Requests", "provider"),
        ("We’re currently experiencing high demand, which may cause temporary errors.", "provider"),
        ("unexpected status 503 Service Unavailable: overloaded", "provider"),
        ("stream disconnected before completion", "provider"), ("unexpected status 401 Unauthorized", "environment"),
        ("unexpected status 400 Bad Request", "agent"),
    ],
)  # fmt: skip
def test_an_end_by_the_provider_is_told_as_such(text: str, fault: str) -> None:
    reader, _ = _fed({"type": "turn.failed", "error": {"message": text}})
    assert reader.end(1).fault == fault


def test_a_quota_says_when_it_opens_again() -> None:
    text = "You've hit your usage limit. Try again in 1 day 2 hours 3 minutes."
    reader, _ = _fed({"type": "turn.failed", "error": {"message": text}})
    assert (reader.end(1).fault, reader.end(1).retry_after) == ("provider", 86400 + 2 * 3600 + 180)


def test_refused_calls_are_read_from_its_log() -> None:
    reader = CodexReader()
    line = "2026-01-01T00:00:00Z ERROR codex_core::tools::router: error=patch rejected: writing outside of the project"
    (event,) = reader.feed("stderr", line)
    assert isinstance(event, SessionEvent)
    assert event.kind == "permission"
    assert reader.end(0).denials == ("patch rejected: writing outside of the project",)


def test_a_flag_that_this_version_lacks_is_said() -> None:
    reader = CodexReader()
    reader.feed("stderr", "error: unexpected argument '--dangerously-bypass-hook-trust' found")
    end = reader.end(2)
    assert (end.error, end.fault) == (True, "environment")
    assert "--dangerously-bypass-hook-trust" in end.text


def test_its_sandbox_opens_what_a_commit_needs(tmp_path: Path) -> None:
    launch = CodexHarness().launch(AGENT, job(tmp_path))
    assert any(GIT_DIR in word and "/git/objects" in word for word in launch.argv)
    assert any('"/p/worktrees/w"' in word for word in launch.placed("/p/worktrees/w").argv)
    inside = CodexHarness().launch(AGENT, job(tmp_path, isolation="strong"))
    assert 'sandbox_mode="danger-full-access"' in inside.argv


def test_a_conversation_is_gone_on_with_where_there_is_one(tmp_path: Path, still_world: Path) -> None:
    def begins(level: str) -> tuple[tuple[str, ...], object]:
        again = job(tmp_path, resume="t1", isolation=level, used={"input_tokens": 9})
        reader = CodexHarness().reader(again)
        reader.feed("stdout", '{"type": "turn.completed", "usage": {"input_tokens": 10}}')
        return CodexHarness().launch(AGENT, again).argv[1:3], reader.end(0).usage["input_tokens"]

    assert begins("basic") == (("exec", "--json"), 10)
    kept = still_world / ".codex" / "sessions" / "2026" / "01" / "02"
    kept.mkdir(parents=True)
    (kept / "rollout-2026-t1.jsonl").touch()
    assert begins("basic") == (("exec", "resume"), 1)
    assert begins("strong") == (("exec", "--json"), 10)


def test_its_hook_tells_what_was_used_before_the_end_of_a_turn(tmp_path: Path) -> None:
    private = tmp_path / "git"
    (private / "worktrees" / "one").mkdir(parents=True)
    (tmp_path / ".git").write_text(f"gitdir: {private}/worktrees/one\n")
    counts = [{"input_tokens": n, "output_tokens": 1} for n in (900, 1900)]
    lines = [json.dumps({"payload": {"type": "token_count", "info": {"total_token_usage": one}}}) for one in counts]
    (tmp_path / "transcript").write_text("\n".join([*lines, '{"payload": "token_count"', "more"]))
    (tmp_path / "scope.json").write_text(guard.scope_text(Scope(), str(tmp_path), 1))
    call = {"tool_name": "Bash", "tool_input": {"command": "true"}, "cwd": str(tmp_path)}
    hook = guard.command(str(tmp_path / "scope.json"))
    reader = CodexReader({"input_tokens": 400}, private)
    for transcript in (tmp_path / "transcript", tmp_path / "none"):
        said = json.dumps({**call, "transcript_path": str(transcript)})
        done = subprocess.run(["/bin/sh", "-c", hook], input=said, capture_output=True, text=True, check=True)
        assert '"permissionDecision": "allow"' in done.stdout
        assert reader.used == {"input_tokens": 1500, "output_tokens": 1, "total_tokens": 1501}
    (private / mailbox.USED).write_text('{"input_tokens": "lots"')
    assert reader.end(-9).usage == {}
