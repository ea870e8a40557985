"""How agents ask for what nobody has decided, and how the answers reach them: lines and files, no process."""

import json
import os
import threading
from pathlib import Path

from agentpkg.core.scope import Scope
from agentpkg.harnesses import guard, mailbox
from agentpkg.harnesses.base import Ask, Decided, Reply
from agentpkg.harnesses.claude_stream import ClaudeReader
from tests.support.sessions_jobs import job
from tests.support.wait import until

SCOPE = Scope(owned=("src/",), commands=("rm",), asked=("npm publish",))

_ADD = "*** Add File: "
_PATCH = f"*** Begin Patch\n{_ADD}"


def _request(tool: str, **given: str) -> str:
    asked = {"subtype": "can_use_tool", "tool_name": tool, "input": given, "decision_reason": "a rule of the user's"}
    return json.dumps({"type": "control_request", "request_id": "r1", "request": asked})


def _answer(reply: object) -> dict[str, object]:
    assert isinstance(reply, Reply)
    found: dict[str, object] = json.loads(reply.data)["response"]["response"]
    return found


def test_calls_are_allowed_refused_or_asked_about(tmp_path: Path) -> None:
    free, beyond = Scope(owned=("src/",), beyond="autonomous"), Scope(owned=("src/",), beyond="approval")
    judged = {
        "allow": [guard.judge(SCOPE, str(tmp_path), "Bash", {"command": "make"}),
                  guard.judge(SCOPE, str(tmp_path), "Read", {}),
                  guard.judge(SCOPE, str(tmp_path), "create_goal", {"objective": "x"}),
                  guard.judge(SCOPE, str(tmp_path), "collaborationspawn_agent", {"message": "x"}),
                  guard.judge(SCOPE, str(tmp_path), "write_stdin", {"session_id": 1, "chars": "y\n"}),
                  guard.judge(SCOPE, str(tmp_path), "Bash", {"command": f"apply_patch <<E\n{_PATCH}src/a\nE"}),
                  guard.judge(free, str(tmp_path), "Write", {"file_path": "docs/a"})],
        "deny": [guard.judge(SCOPE, str(tmp_path), "Write", {"file_path": "docs/a"}),
                 guard.judge(beyond, str(tmp_path), "Write", {"file_path": "../a"}),
                 guard.judge(SCOPE, str(tmp_path), "Bash", {"command": "npm publish; rm x"}),
                 guard.judge(SCOPE, str(tmp_path), "Bash", {"command": f"rm x # {_PATCH}src/a"}),
                 guard.judge(SCOPE, str(tmp_path), "Bash", {"command": f"cd '..' && apply_patch <<E\n{_PATCH}src/a"}),
                 guard.judge(SCOPE, str(tmp_path), "apply_patch", {"command": f"{_PATCH}src/a\n+a\n  {_ADD}docs/a"}),
                 guard.judge(SCOPE, str(tmp_path), "write_stdin", {"session_id": 1, "chars": "rm x\n"})],
        "ask": [guard.judge(SCOPE, str(tmp_path), "Bash", {"command": "cd x && npm publish"}),
                guard.judge(SCOPE, str(tmp_path), "mcp__mail__send", {"to": "x"}),
                guard.judge(beyond, str(tmp_path), "Edit", {"file_path": "docs/a"})],
    }  # fmt: skip
    assert {name: {word.decision for word in words} for name, words in judged.items()} == {n: {n} for n in judged}


def test_claude_code_gets_an_answer_to_every_request(tmp_path: Path) -> None:
    reader = ClaudeReader(job(tmp_path, scope=SCOPE))
    _, refusal = reader.feed("stdout", _request("Write", file_path="docs/a"))
    assert "out of scope" in str(_answer(refusal)["message"])
    (ask,) = reader.feed("stdout", _request("WebFetch", url="https://x"))
    assert isinstance(ask, Ask)
    assert (ask.tool, ask.text) == ("WebFetch", "WebFetch https://x")
    (yes,) = reader.decided(Decided(ask, True, "allowed by human:ada"))
    assert _answer(yes) == {"behavior": "allow", "updatedInput": {"url": "https://x"}}
    (no,) = reader.decided(Decided(ask, False, "refused by human:ada: not today"))
    assert _answer(no) == {"behavior": "deny", "message": "refused by human:ada: not today"}
    # a rule of the user's own settings is about what is in scope too
    (ask,) = reader.feed("stdout", _request("Write", file_path="src/a"))
    assert isinstance(ask, Ask)
    assert "rule of the user's" in ask.why
    # too long to be kept whole, and something that is not offered
    _, refusal = reader.feed("stdout", _request("WebFetch", url="x" * 100)[:-30])
    assert _answer(refusal)["behavior"] == "deny"
    *_, other = reader.feed("stdout", '{"type":"control_request","request_id":"r2","request":{"subtype":"novelty"}}')
    assert isinstance(other, Reply)
    assert json.loads(other.data)["response"]["subtype"] == "error"


def test_a_hook_asks_by_a_file_and_what_is_none_is_passed_over(tmp_path: Path) -> None:
    private, folder = tmp_path / "git", tmp_path / "harness"
    (private / "worktrees" / "x").mkdir(parents=True)
    (folder / mailbox.ANSWERED).mkdir(parents=True)
    (tmp_path / ".git").write_text(f"gitdir: {private}/worktrees/x\n")
    got: list[object] = []
    hook = threading.Thread(
        target=lambda: got.append(mailbox.ask(str(tmp_path), str(folder), {"tool": "send", "why": "no rule"}, 30))
    )
    known: set[str] = set()
    assert list(mailbox.requests(private, known)) == []
    (private / mailbox.ASKED).mkdir()
    os.mkfifo(private / mailbox.ASKED / "pipe.json")
    (private / mailbox.ASKED / "link.json").symlink_to("/etc/passwd")
    (private / mailbox.ASKED / "text.json").write_text("[1")
    hook.start()
    found: dict[str, object] = {}
    until(lambda: found.update(mailbox.requests(private, known)) or len(found) == 4, what="the request")
    assert [said for said in found.values() if said] == [{"tool": "send", "why": "no rule"}]
    (name,) = [name for name, said in found.items() if said]
    (folder / mailbox.ANSWERED / name).write_text('{"allowed": true, "reason": "go on"}')
    hook.join(10)
    assert got == [{"allowed": True, "reason": "go on"}]
    assert mailbox.ask(str(tmp_path), str(folder), {}, 0) == {}
