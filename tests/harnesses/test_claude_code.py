import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from agentpkg.core.records import SessionEvent
from agentpkg.core.scope import Scope
from agentpkg.harnesses import guard
from agentpkg.harnesses.base import Reply
from agentpkg.harnesses.claude_code import ClaudeCodeHarness, conversation
from agentpkg.harnesses.claude_stream import ClaudeReader
from tests.support.sessions_jobs import SomeAgent, job


def _events(*lines: dict[str, Any]) -> list[SessionEvent]:
    reader = ClaudeReader()
    found = [event for line in lines for event in reader.feed("stdout", json.dumps(line))]
    return [event for event in found if isinstance(event, SessionEvent)]


def _end(*lines: dict[str, Any], exit_code: int = 0, stderr: str = "") -> Any:
    reader = ClaudeReader()
    for line in lines:
        reader.feed("stdout", json.dumps(line))
    if stderr:
        reader.feed("stderr", stderr)
    return reader.end(exit_code)


def test_the_beginning_tells_conversation_and_model() -> None:
    (event,) = _events({"type": "system", "subtype": "init", "session_id": "c1", "model": "m1", "permissionMode": "x"})
    assert (event.kind, event.data["conversation"], event.data["model"]) == ("session", "c1", "m1")


def test_a_message_becomes_text_and_tool_calls() -> None:
    content = [
        {"type": "text", "text": "I write"},
        {"type": "tool_use", "id": "t1", "name": "Write", "input": {"file_path": "a.py", "content": "x" * 10_000}},
    ]
    text, tool = _events({"type": "assistant", "message": {"content": content}})
    assert (text.kind, text.text) == ("text", "I write")
    assert (tool.kind, tool.text, tool.data["tool"]) == ("tool", "a.py", "Write")
    assert len(tool.data["input"]["content"]) < 5_000


def test_a_result_of_a_tool_says_whether_it_failed() -> None:
    content = [{"type": "tool_result", "tool_use_id": "t1", "is_error": True, "content": [{"text": "no"}]}]
    (event,) = _events({"type": "user", "message": {"content": content}})
    assert (event.kind, event.text, event.data["error"]) == ("tool_result", "no", True)


def test_what_is_not_known_is_kept() -> None:
    (event,) = _events({"type": "novelty", "n": 1.5})
    assert event.kind == "other"
    assert json.loads(event.data["event"]) == {"type": "novelty", "n": "1.5"}


def test_the_error_flag_decides_not_the_subtype() -> None:
    said = {"type": "result", "subtype": "success", "is_error": True, "result": "API Error: Request rejected (429)"}
    end = _end(said, exit_code=1)
    assert (end.error, end.fault) == (True, "provider")


def test_usage_and_denials_come_from_the_result() -> None:
    end = _end(
        {"type": "result", "subtype": "success", "is_error": False, "result": "done", "num_turns": 2,
         "total_cost_usd": 0.0244, "usage": {"input_tokens": 3, "output_tokens": 1, "cache_read_input_tokens": 2},
         "permission_denials": [{"tool_name": "Write", "tool_input": {"file_path": "docs/x.md"}}]}
    )  # fmt: skip
    assert (end.error, end.text, end.denials) == (False, "done", ("Write docs/x.md",))
    assert end.usage == {"input_tokens": 3, "output_tokens": 1, "cached_input_tokens": 2, "cost_usd": "0.0244",
                         "turns": 2}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "status", "fault"),
    [
        ("API Error: 529 Overloaded", 529, "provider"), ("API Error: Repeated 529 Overloaded errors.", None,
         "provider"), ("Failed to authenticate. API Error: 401 bad key", 401, "environment"), ("Not logged in", None,
         "environment"), ("API Error: Unable to connect to API (ConnectionRefused)", None, "provider"),
        ("API Error: Connection to the API was lost (ECONNRESET). This is usually temporary", None, "provider"),
        ("API Error: Connection lost mid-response. The response above may be incomplete.", None, "provider"),
        ("API Error: API returned an empty or malformed response (HTTP 200) — check for a proxy", None, "provider"),
        ("Claude AI usage limit reached|1999999999", None, "provider"), ("API Error: 400 nope", 400, "agent"),
    ],
)  # fmt: skip
def test_an_end_by_the_provider_is_told_as_such(text: str, status: int | None, fault: str) -> None:
    end = _end({"type": "result", "is_error": True, "result": text, "api_error_status": status}, exit_code=1)
    assert end.fault == fault
    assert (end.retry_after or 0) > 0 if "|" in text else end.retry_after is None


def test_an_instruction_is_a_message_of_the_users_until_its_work_is_done() -> None:
    reader = ClaudeReader()
    told = reader.instruct("Look at b.")
    assert told is not None
    assert json.loads(told.data)["message"]["content"] == [{"type": "text", "text": "Look at b."}]
    found = reader.feed("stdout", '{"type":"result","is_error":false}')
    assert [one.close for one in found if isinstance(one, Reply)] == [True]
    assert reader.instruct("Too late.") is None


def test_its_turn_is_not_its_end_while_something_works_on_in_the_background() -> None:
    reader = ClaudeReader()

    def told(**said: Any) -> list[bool]:
        return [one.close for one in reader.feed("stdout", json.dumps(said)) if isinstance(one, Reply)]

    def works(*kinds: str) -> None:
        told(type="system", subtype="background_tasks_changed", tasks=[{"task_type": kind} for kind in kinds])

    def ends(tokens: int) -> list[bool]:
        counts = {"m": {"inputTokens": tokens, "outputTokens": 1}, "n": {"inputTokens": 1}}
        return told(type="result", is_error=False, usage={"input_tokens": 1}, modelUsage=counts)

    works("local_agent", "local_bash")
    assert ends(10) == []
    assert (reader.finished, reader.instruct("Hear.") is None) == (False, False)
    told(type="assistant", parent_tool_use_id="t1", message={"id": "1", "usage": {"input_tokens": 5}})
    works("local_bash")
    # tests that it waits for, or a server that never ends
    assert (reader.finished, reader.linger) == (True, 600)
    works()
    assert (reader.finished, reader.linger) == (True, 30)
    told(type="system", subtype="init")
    assert reader.finished is False
    assert reader.used == {"input_tokens": 16, "output_tokens": 1, "model": "m"}
    assert ends(20) == [True]
    assert (reader.finished, reader.linger) == (True, 5)
    # all of the session's, by model; its own `usage` is that of the last turn
    assert reader.end(0).usage == {"input_tokens": 21, "output_tokens": 1, "model": "m"}


def test_a_flag_that_this_version_lacks_is_said() -> None:
    end = _end(exit_code=1, stderr="error: unknown option '--setting-sources'")
    assert end.error is True
    assert "--setting-sources" in end.text
    assert "update" in end.text


def test_a_killed_one_claims_nothing() -> None:
    assert _end({"type": "system", "subtype": "init"}, exit_code=-15).error is True
    assert _end({"type": "system", "subtype": "init"}, exit_code=0).error is None


def test_prompt_and_scope_travel_by_stdin_and_files(tmp_path: Path) -> None:
    launch = ClaudeCodeHarness().launch(SomeAgent(command=("/bin/cat",)), job(tmp_path, scope=Scope(owned=("src/",))))
    assert json.loads(launch.stdin or "")["message"]["content"][0]["text"] == "# Mission\nDo it.\n"
    assert json.loads(launch.files["scope.json"])["scope"]["owned"] == ["src/"]
    assert "Bash" not in launch.argv
    assert "Write" not in launch.argv
    assert launch.argv[launch.argv.index("--session-id") + 1] == conversation("sess_01")


def test_of_instructions_without_end_the_beginning_is_told(tmp_path: Path) -> None:
    where = job(tmp_path)
    Path(where.repository, "CLAUDE.md").write_text("Be kind.\n" + "more\n" * 100_000)
    told = ClaudeCodeHarness().launch(SomeAgent(command=("/bin/cat",)), where).files["instructions.md"]
    assert "Be kind." in told
    assert "left out" in told
    assert len(told) < 101_000


def test_a_forgotten_conversation_is_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = SomeAgent(command=("/bin/cat",))
    # a folder's name is no pattern
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "mine[1]"))
    assert "--resume" not in ClaudeCodeHarness().launch(agent, job(tmp_path, resume="c1")).argv
    kept = tmp_path / "mine[1]" / "projects" / "-x"
    kept.mkdir(parents=True)
    (kept / "c1.jsonl").touch()
    assert "--resume" in ClaudeCodeHarness().launch(agent, job(tmp_path, resume="c1")).argv
    # a sandbox has none of it but what its last session kept
    assert "--resume" not in ClaudeCodeHarness().launch(agent, job(tmp_path, resume="c1", isolation="strong")).argv
    inside = job(tmp_path, resume="c1", isolation="strong", kept=str(kept.parent))
    assert "--resume" in ClaudeCodeHarness().launch(agent, inside).argv


def _asked(tmp_path: Path, call: object, scope: bool = True) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "scope.json"
    if scope:
        file.write_text(guard.scope_text(Scope(owned=("src/",), commands=("git push",)), str(tmp_path)))
    return subprocess.run(
        ["/bin/sh", "-c", guard.command(str(file))], input=json.dumps(call), text=True, capture_output=True,
        cwd=tmp_path, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tool", "given", "decision"),
    [
        ("Write", {"file_path": "src/a.py"}, "allow"), ("Edit", {"file_path": "docs/a.md"}, "deny"),
        ("Write", {}, "deny"),
        ("NotebookEdit", {"notebook_path": "a.ipynb"}, "deny"), ("Bash", {"command": "make"}, "allow"),
        ("Bash", {"command": "git push -f"}, "deny"),
        ("apply_patch", {"command": "*** Begin Patch\n*** Add File: src/a\n+x\n*** Add File: b\n+x"}, "deny"),
        ("apply_patch", {"command": "*** Begin Patch\n*** Update File: src/a\n*** Move to: src/b"}, "allow"),
    ],
)  # fmt: skip
def test_the_hook_decides_by_the_scope(tmp_path: Path, tool: str, given: dict[str, str], decision: str) -> None:
    done = _asked(tmp_path, {"tool_name": tool, "tool_input": given, "cwd": str(tmp_path)})
    assert done.returncode == 0
    assert json.loads(done.stdout)["hookSpecificOutput"]["permissionDecision"] == decision


def test_a_hook_that_cannot_judge_refuses(tmp_path: Path) -> None:
    assert _asked(tmp_path, {"tool_name": "Write"}, scope=False).returncode == 2
    assert _asked(tmp_path, ["nonsense"]).returncode == 2


@pytest.mark.parametrize(("talk", "counted", "own"), [("c1", 4000, 3000), ("c1", 3000, 3000), ("new", 4000, 4000)])
def test_what_an_earlier_try_has_used_is_not_counted_again(tmp_path: Path, talk: str, counted: int, own: int) -> None:
    before = {"input_tokens": 1000, "cost_usd": "0.01", "turns": 1}
    reader = ClaudeReader(job(tmp_path, resume="c1", used=before))
    reader.feed("stdout", json.dumps({"type": "system", "subtype": "init", "session_id": talk}))
    for number in range(3):
        message = {"id": f"m{number}", "content": [], "usage": {"input_tokens": 1000}}
        reader.feed("stdout", json.dumps({"type": "assistant", "message": message}))
    models = {"m": {"inputTokens": counted}}
    result = {"type": "result", "is_error": False, "modelUsage": models, "total_cost_usd": counted / 100_000}
    reader.feed("stdout", json.dumps(result))
    used = reader.end(0).usage
    assert (used["input_tokens"], used["cost_usd"]) == (own, str(own / 100_000))
