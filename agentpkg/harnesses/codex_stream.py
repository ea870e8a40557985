"""The JSON lines of ``codex exec --json`` (developers.openai.com/codex/noninteractive), as events."""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from agentpkg.core.records import SessionEvent
from agentpkg.harnesses import mailbox
from agentpkg.harnesses.base import Fault, Reply, Stream, StreamEnd, json_object, output
from agentpkg.harnesses.faults import provider_message, retry_after
from agentpkg.harnesses.programs import bounded, items, mapping, short, unknown, whole

Said = Mapping[str, Any]

#: the log lines, on standard error, by which it tells of calls that were refused; standard output has none
_REFUSED = re.compile(r"ERROR codex_core::tools::router: error=(?:Command blocked by PreToolUse hook: )?(.*)")
_REFUSALS = ("blocked by PreToolUse hook", "patch rejected", "rejected by user approval settings")

#: what it warns of, and agentpkg has asked for: the hooks are agentpkg's own, and the user's
_OURS = "--dangerously-bypass-hook-trust"

_OLD_FLAG = re.compile(r"unexpected argument '(--[\w-]+)'|unknown configuration field `?([\w.]+)")
_PROVIDER = re.compile(
    r"status:? (?:429|5\d\d)|experiencing high demand|at capacity|usage limit|stream disconnected"
    r"|error sending request",
    re.IGNORECASE,
)
_SIGN_IN = re.compile(r"status:? 40[13]|not logged in|refresh token", re.IGNORECASE)
_WAIT = re.compile(r"try again in (?:(\d+) days?)?[ ,]*(?:(\d+) hours?)?[ ,]*(?:(\d+) minutes?)?", re.IGNORECASE)

_COUNTS = {"input_tokens": "input_tokens", "output_tokens": "output_tokens",
           "cached_input_tokens": "cached_input_tokens", "reasoning_output_tokens": "reasoning_tokens"}  # fmt: skip


class CodexReader:
    """Understands one session; what it does not know becomes an event of kind ``other``.

    Args:
        before: what the conversation had used up before this session; the program counts over all of it.
        private: the private git dir, where the hook tells what was used before the end of a turn.
    """

    def __init__(self, before: Mapping[str, Any] | None = None, private: Path | None = None) -> None:
        self._before, self._private = before or {}, private
        self._error: bool | None = None
        self._text = ""
        self._usage: dict[str, Any] = {}
        self._turns = 0
        self._denials: list[str] = []
        self._complaint = self._told = ""

    def feed(self, stream: Stream, line: str) -> Sequence[SessionEvent | Reply]:
        """What a line means."""
        if stream == "stderr":
            return self._complained(line)
        said = json_object(line)
        if said is None:
            return (output(stream, line),) if line.strip() else ()
        return tuple(self._understand(said))

    def _complained(self, line: str) -> Sequence[SessionEvent]:
        refused = _REFUSED.search(line)
        if refused and any(words in line for words in _REFUSALS):
            self._denials.append(short(refused[1], 300))
            return (SessionEvent("permission", short(refused[1], 1000), {"decision": "refused"}),)
        if line.strip():
            self._complaint = line.strip()[:1000] if not self._complaint else self._complaint
            return (output("stderr", line),)
        return ()

    def _understand(self, said: Said) -> Iterator[SessionEvent]:
        match said.get("type"):
            case "thread.started":
                thread = str(said.get("thread_id"))
                yield SessionEvent("session", f"conversation {thread}", {"conversation": thread})
            case "turn.started":
                pass
            case "turn.completed":
                self._error, self._turns = False, self._turns + 1
                self._usage = self._used(mapping(said.get("usage")))
                yield SessionEvent("usage", ", ".join(f"{k} {v}" for k, v in self._usage.items()), self._usage)
            case "turn.failed":
                self._error, self._text = True, str(mapping(said.get("error")).get("message") or "it failed")
                # what fails a turn was told as an error just before
                if self._text != self._told:
                    yield SessionEvent("notice", self._text)
            case "error":
                self._told = str(said.get("message"))
                yield SessionEvent("notice", self._told)
            case "item.started" | "item.completed" | "item.updated":
                yield from self._item(str(said["type"]), mapping(said.get("item")))
            case kind:
                yield unknown(said, str(kind))

    def _used(self, usage: Said) -> dict[str, Any]:
        counts = {name: whole(usage.get(key)) for key, name in _COUNTS.items() if key in usage}
        used = {name: max(0, count - whole(self._before.get(name))) for name, count in counts.items()}
        # cached input and reasoning are parts of the others here
        parts = [used[name] for name in ("input_tokens", "output_tokens") if name in used]
        return {**used, "total_tokens": sum(parts)} if parts else used

    @property
    def used(self) -> Mapping[str, Any]:
        """What its last turn told, or its hook since."""
        told = self._used(mailbox.used(self._private)) if self._private else {}
        more = whole(told.get("total_tokens")) > whole(self._usage.get("total_tokens"))
        return told if more else self._usage

    def _item(self, what: str, item: Said) -> Iterator[SessionEvent]:
        done = what == "item.completed"
        match item.get("type"):
            case "agent_message":
                if done:
                    self._text = str(item.get("text"))
                    yield SessionEvent("text", self._text)
            case "reasoning":
                if done:
                    yield SessionEvent("thinking", str(item.get("text")))
            case "command_execution":
                yield _command(item, done)
            case "file_change":
                if done:
                    yield _change(item)
            case "error":
                if _OURS not in str(item.get("message")):
                    yield SessionEvent("notice", str(item.get("message")))
            case kind:
                yield unknown(item, f"{what}/{kind}")

    # ----------------------------------------------------------------- the end

    def end(self, exit_code: int) -> StreamEnd:
        """The last turn decides: completed or failed."""
        error, text, fault = self._error, self._text, self._fault()
        if error is None and exit_code:
            error, text = True, self._start_failed()
        return StreamEnd(
            error=error, text=short(text), usage=self.used, denials=tuple(self._denials[-100:]),
            fault=fault if error else "agent", retry_after=_wait(text) if error and fault == "provider" else None,
        )  # fmt: skip

    def _start_failed(self) -> str:
        old = _OLD_FLAG.search(self._complaint)
        if old:
            return f"this version of codex does not know {old[1] or old[2]}; update it: npm install -g @openai/codex"
        return self._complaint

    def _fault(self) -> Fault:
        text = self._text if self._error else self._complaint
        if _SIGN_IN.search(text) or (self._error is None and _OLD_FLAG.search(text)):
            return "environment"
        return "provider" if _PROVIDER.search(text) or provider_message([text]) else "agent"


def _command(item: Said, done: bool) -> SessionEvent:
    line = str(item.get("command"))
    if not done:
        return SessionEvent("tool", short(line, 500), {"tool": "shell", "id": str(item.get("id"))})
    data = {"id": str(item.get("id")), "error": item.get("status") != "completed", "exit_code": item.get("exit_code")}
    return SessionEvent("tool_result", short(str(item.get("aggregated_output") or "")), data)


def _change(item: Said) -> SessionEvent:
    changes = [f"{mapping(one).get('kind')} {mapping(one).get('path')}" for one in items(item.get("changes"))]
    data = {"tool": "edit", "id": str(item.get("id")), "error": item.get("status") != "completed",
            "changes": bounded(changes)}  # fmt: skip
    return SessionEvent("tool", short("\n".join(changes)), data)


def _wait(text: str) -> int | None:
    told = _WAIT.search(text)
    days, hours, minutes = (int(part or 0) for part in told.groups()) if told else (0, 0, 0)
    return (days * 24 + hours) * 3600 + minutes * 60 or retry_after([text], time.time())
