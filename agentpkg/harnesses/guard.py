"""The hook that agent programs ask before a tool runs: refuses what is out of scope, with the reason, else allows.

What neither the scope nor the policy decides it leaves to a person: it says ``ask`` where the program can pass that on,
else it asks through :mod:`agentpkg.harnesses.mailbox` and waits.

Speaks the protocol that Claude Code and Codex share (code.claude.com/docs/en/hooks, ``PreToolUse``): the call as JSON
on standard input, the decision as JSON on standard output. Programs run a tool whose hook breaks, so the command line
(:func:`command`) turns every way of breaking into a refusal: exit code 2. Where a program waits no longer than its own
timeout, its permission rules, which allow none of the guarded tools, are the second line.
"""

import json
import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from agentpkg.core.scope import Scope, Word

#: the tools whose calls it is asked about, as a hook matcher
MATCHER = "Write|Edit|MultiEdit|NotebookEdit|Bash|apply_patch"

#: seconds that a program is to wait for it; it takes a fifth of one
TIMEOUT = 60

#: what agents of Codex's own are led by; the hook is asked about each of their calls as well
_LEADING = ("spawn_agent", "wait_agent", "list_agents", "send_message", "followup_task", "interrupt_agent")

#: tools of Claude Code and Codex that change nothing outside of the conversation, where a program asks about all; Codex
#: joins the name of a tool to that of its group
_HARMLESS = frozenset(
    ("update_plan", "view_image", "Read", "Glob", "Grep", "TodoWrite", "create_goal", "get_goal", "update_goal",
     "list_mcp_resources", "list_mcp_resource_templates", "wait", "clocksleep", "clockcurr_time",
     "request_user_input", "request_user_input_async", "send_message_to_user_async",
     *_LEADING, *(f"collaboration{name}" for name in _LEADING))
)  # fmt: skip

#: bytes at the end of a transcript in which the newest count is
_TAIL = 1 << 20

#: found by its place, not through PYTHONPATH, and apart from whatever lies in the worktree
_RUN = "import sys; sys.path.append(sys.argv.pop(1)); from agentpkg.harnesses.guard import main; main()"
_ROOT = str(Path(__file__).resolve().parents[2])

_PATCH, _PATCHED = "*** Begin Patch", ("*** Add File: ", "*** Update File: ", "*** Delete File: ", "*** Move to: ")

#: what may stand before a patch that is given to a shell's command
_ENTERED = re.compile(r"\s*cd\s+(\"[^\"\n]+\"|'[^'\n]+'|[^\s&;\"']+)\s*&&")


def command(scope_file: str) -> str:
    """The shell command that a program is to run as its hook.

    Args:
        scope_file: absolute path of what :func:`scope_text` gives.
    """
    words = shlex.join([sys.executable, "-I", "-c", _RUN, _ROOT, scope_file])
    return f"{words} 2>/dev/null || {{ echo 'agentpkg could not judge this call, so it is refused' >&2; exit 2; }}"


def reads() -> tuple[str, ...]:
    """Absolute paths that :func:`command` needs."""
    return tuple(dict.fromkeys((sys.executable, os.path.realpath(sys.executable), sys.prefix, sys.base_prefix, _ROOT)))


def scope_text(scope: Scope, worktree: str, patience: int | None = None) -> str:
    """The file that the hook judges by.

    Args:
        patience: seconds that it waits for a person itself; None: the program passes on what is asked, and tells what
            it uses, which the hook does where it has to wait.
    """
    return json.dumps({"worktree": worktree, "scope": scope.as_json(), "patience": patience})


def judge(scope: Scope, worktree: str, tool: str, given: Mapping[str, Any], cwd: str | None = None) -> Word:
    """What is to become of a call of a tool.

    Args:
        tool: its name: the names of Claude Code and Codex are known.
        given: its input.
        cwd: what relative paths are relative to; None: the worktree.
    """
    if tool in _HARMLESS:
        return Word("allow")
    if tool == "write_stdin":
        # lines for a shell that a command has opened
        return scope.judge_command(_text(given.get("chars")))
    if tool not in MATCHER.split("|"):
        return Word("ask", f"no rule of this project says whether {tool} may be used")
    line, where, word = _text(given.get("command")), cwd or worktree, Word("allow")
    if tool == "Bash":
        word = scope.judge_command(line)
        if word.decision == "deny" or _PATCH not in line:
            return word
        # Codex applies a patch that is given to the command apply_patch by itself, without a shell
        entered = _ENTERED.match(line)
        tool, where = "apply_patch", os.path.join(where, entered[1].strip("\"'")) if entered else where
    paths = [os.path.join(where, path) for path in _paths(tool, given)]
    changes = scope.judge_changes(worktree, paths) if paths else Word("deny", "it names no file")
    return word if changes.decision == "allow" else changes


def _paths(tool: str, given: Mapping[str, Any]) -> Iterator[str]:
    if tool == "apply_patch":
        for line in _text(given.get("command") or given.get("input")).splitlines():
            # Codex takes no offence at spaces before them
            told = line.strip()
            yield from (told.removeprefix(start).strip() for start in _PATCHED if told.startswith(start))
    else:
        yield from (str(given[key]) for key in ("file_path", "notebook_path") if given.get(key))


def _text(value: object) -> str:
    return shlex.join(map(str, value)) if isinstance(value, list) else str(value or "")


def decision(word: Word) -> dict[str, Any]:
    """The answer to one call."""
    reason = {"permissionDecisionReason": word.why} if word.why else {}
    return {"hookSpecificOutput": {"hookEventName": "PreToolUse", "permissionDecision": word.decision, **reason}}


def main() -> NoReturn:
    """Answers the call on standard input by the scope in the file named as the only argument."""
    facts, call = json.loads(Path(sys.argv[1]).read_bytes()), json.loads(sys.stdin.buffer.read())
    tool, given = str(call["tool_name"]), call.get("tool_input") or {}
    word = judge(Scope.from_json(facts["scope"]), facts["worktree"], tool, given, call.get("cwd"))
    if facts["patience"] is not None:
        # what cannot be told is told at the end of the turn
        with suppress(OSError, ValueError, TypeError):
            _tell_used(facts["worktree"], call.get("transcript_path"))
    if word.decision == "ask" and facts["patience"] is not None:
        word = _ask(facts, tool, given, word.why)
    sys.stdout.write(json.dumps(decision(word)))
    sys.stdout.flush()
    sys.exit(0)


def _tell_used(worktree: str, transcript: str) -> None:
    """Codex counts in its transcript after every answer of the model, and on its stream at the end of a turn alone."""
    from agentpkg.harnesses import mailbox

    with open(transcript, "rb") as file:
        file.seek(max(0, os.path.getsize(transcript) - _TAIL))
        lines = file.read(_TAIL).splitlines()
    found = (_count(line) for line in reversed(lines) if b'"token_count"' in line)
    if (newest := next(filter(None, found), None)) is not None:
        mailbox.tell_used(worktree, newest)


def _count(line: bytes) -> Mapping[str, Any] | None:
    """What an event counts; None where it counts nothing, or is half written."""
    with suppress(ValueError, TypeError, KeyError):
        counted: Mapping[str, Any] = json.loads(line)["payload"]["info"]["total_token_usage"]
        return counted
    return None


def _ask(facts: Mapping[str, Any], tool: str, given: Mapping[str, Any], why: str) -> Word:
    from agentpkg.harnesses import mailbox

    said = {"tool": tool, "input": given, "why": why}
    answer = mailbox.ask(facts["worktree"], os.path.dirname(sys.argv[1]), said, facts["patience"])
    return Word("allow") if answer.get("allowed") is True else Word("deny", str(answer.get("reason") or why))
