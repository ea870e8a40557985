"""The JSON lines of Claude Code's ``--output-format stream-json`` (code.claude.com/docs/en/headless), as events."""

import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from agentpkg.core.records import SessionEvent
from agentpkg.harnesses import claude_control
from agentpkg.harnesses.base import Ask, Decided, Fault, Job, Reply, Stream, StreamEnd, json_object, output
from agentpkg.harnesses.faults import provider_message, retry_after
from agentpkg.harnesses.programs import bounded, items, mapping, money, short, telling, unknown, whole

Said = Mapping[str, Any]

_OLD_FLAG = re.compile(r"unknown option '?(--[\w-]+)'?")
_LIMIT_UNTIL = re.compile(r"limit reached\|(\d{9,})")
_LIMITS = re.compile(r"(?:usage|session|weekly|hour) limit|hit your limit", re.IGNORECASE)
_SIGN_IN = re.compile(r"not logged in|invalid api key|run /login|failed to authenticate|oauth token", re.IGNORECASE)

#: ``API Error: 529 Overloaded``, ``API Error: Request rejected (429)``; the status field is empty after some retries
_STATUS = re.compile(r"API Error: [^\n]{0,40}?\b([45]\d\d)\b")

_COUNTS = {"input_tokens": "input_tokens", "output_tokens": "output_tokens",
           "cache_read_input_tokens": "cached_input_tokens",
           "cache_creation_input_tokens": "cache_written_tokens"}  # fmt: skip
_BY_MODEL = {"inputTokens": "input_tokens", "outputTokens": "output_tokens",
             "cacheReadInputTokens": "cached_input_tokens",
             "cacheCreationInputTokens": "cache_written_tokens"}  # fmt: skip

#: how the kinds of what it lets work in the background end, where that is no command
_AGENTS = ("agent", "workflow")

#: seconds that it may stay when its turn is over: for commands in the background, as many as it lets one in the
#: foreground run; until it is told of one that has ended; when nothing more is to come
_COMMANDS, _NEXT, _NOTHING = 600.0, 30.0, 5.0


def user_message(text: str) -> bytes:
    """What a user says, as a line of ``--input-format stream-json``."""
    message = {"role": "user", "content": [{"type": "text", "text": text}]}
    return json.dumps({"type": "user", "message": message}).encode() + b"\n"


class ClaudeReader:
    """Understands one session; what it does not know becomes an event of kind ``other``.

    Args:
        job: its worktree and scope; None for a reader that only understands.
    """

    def __init__(self, job: Job | None = None) -> None:
        self._job = job
        self._result: Said | None = None
        self._last = ""
        self._complaint = ""
        self._retry: Said = {}
        self._resets: int | None = None
        #: what each message of the model since the last result has used, by its id; provisional
        self._messages: dict[str, dict[str, Any]] = {}
        #: what its conversation had used before, where its results count that as well; None before the first
        self._before: Said | None = None
        #: its turn is over; nothing more is said to it
        self._over = self._closed = False
        #: its conversation is that of an earlier try
        self._goes_on = False
        #: the kinds of what works on in the background; it begins a further turn when one of them has ended
        self._background: tuple[str, ...] = ()

    @property
    def used(self) -> Mapping[str, Any]:
        """What its result says, and its messages since; money comes with a result alone."""
        told = self._own(self._result) if self._result is not None else {}
        counts = {name: told[name] for name in _COUNTS.values() if name in told}
        return {**told, **_added([counts, *self._messages.values()])}

    @property
    def finished(self) -> bool:
        """Its turn is over, and no agent of its own works on."""
        return self._over and not any(kind.endswith(_AGENTS) for kind in self._background)

    @property
    def linger(self) -> float:
        """Commands in the background may be tests that it waits for, or a server that never ends."""
        return _COMMANDS if self._background else _NOTHING if self._closed else _NEXT

    def instruct(self, text: str) -> Reply | None:
        """A word of the user's, which it hears at its next call of the model."""
        return None if self._closed else Reply(user_message(text))

    def decided(self, decided: Decided) -> Sequence[SessionEvent | Reply]:
        """The answer to a request for permission."""
        return (claude_control.answer(decided),)

    def feed(self, stream: Stream, line: str) -> Sequence[SessionEvent | Reply | Ask]:
        """What a line means."""
        said = json_object(line) if stream == "stdout" else None
        if said is None and stream == "stdout" and (refusal := claude_control.unreadable(line)) is not None:
            return refusal
        if said is None:
            self._complaint = line.strip()[:1000] or self._complaint
            return (output(stream, line),) if line.strip() else ()
        return tuple(self._understand(said))

    def _understand(self, said: Said) -> Iterator[SessionEvent | Reply | Ask]:
        match said.get("type"):
            case "control_request":
                yield from claude_control.request(said, self._job)
            case "system":
                yield from self._system(said)
            case "assistant":
                self._over = self._over and _parent(said)
                yield from self._assistant(mapping(said.get("message")))
            case "user":
                yield from self._user(mapping(said.get("message")))
            case "result":
                yield from self._ended_turn(said)
            case "rate_limit_event":
                yield self._rate_limit(mapping(said.get("rate_limit_info")))
            case kind:
                yield unknown(said, str(kind))

    def _ended_turn(self, said: Said) -> Iterator[SessionEvent | Reply]:
        if self._before is None:
            self._before = self._counted_before(said)
        self._result, self._over = said, True
        self._messages.clear()
        used = self._own(said)
        yield SessionEvent("usage", ", ".join(f"{key} {value}" for key, value in used.items()), used)
        if self._background:
            what = ", ".join(self._background)
            yield SessionEvent("notice", f"its turn is over; it waits for what it has started: {what}")
        else:
            # it answers what it was told meanwhile, and ends
            self._closed = True
            yield Reply(b"", close=True)

    def _counted_before(self, said: Said) -> Said:
        """What an earlier try has told already of what a result counts.

        Some versions go on counting when they go on with a conversation, if they find what they wrote down of it; the
        messages of this session tell which it is.
        """
        before = self._job.used if self._job is not None and self._goes_on else {}
        more = _tokens(_usage(said)) - _tokens(_added(self._messages.values()))
        return before if before and 2 * more >= _tokens(before) else {}

    def _own(self, said: Said) -> dict[str, Any]:
        """A result's usage without what an earlier try has told already."""
        used, before = _usage(said), self._before or {}
        for name in set(_COUNTS.values()) & used.keys():
            used[name] = max(0, used[name] - whole(before.get(name)))
        if "cost_usd" in used and "cost_usd" in before:
            used["cost_usd"] = money(max(Decimal(0), Decimal(used["cost_usd"]) - Decimal(before["cost_usd"])))
        return used

    def _system(self, said: Said) -> Iterator[SessionEvent]:
        kind = said.get("subtype")
        if kind == "background_tasks_changed":
            self._background = tuple(str(mapping(task).get("task_type")) for task in items(said.get("tasks")))
            yield unknown(said, f"system/{kind}")
        elif kind == "init":
            self._over = False
            self._goes_on = self._job is not None and said.get("session_id") == self._job.resume
            data = {
                "conversation": str(said.get("session_id")),
                "model": str(said.get("model")),
                "permission_mode": str(said.get("permissionMode")),
                "version": str(said.get("claude_code_version")),
            }
            yield SessionEvent("session", f"model {data['model']}, conversation {data['conversation']}", data)
        elif kind == "api_retry":
            self._retry = said
            status = said.get("error_status")
            what = f"answered {status} ({said.get('error')})" if status else "did not answer, or broke off"
            again = f"asked again ({said.get('attempt')} of {said.get('max_retries')})"
            yield SessionEvent("notice", f"the model's provider {what}: {again}")
        else:
            yield unknown(said, f"system/{kind}")

    def _assistant(self, message: Said) -> Iterator[SessionEvent]:
        if counts := _counts(mapping(message.get("usage"))):
            self._messages[str(message.get("id"))] = counts
        for block in map(mapping, items(message.get("content"))):
            match block.get("type"):
                case "text":
                    self._last = str(block.get("text"))
                    yield SessionEvent("text", self._last)
                case "thinking":
                    yield SessionEvent("thinking", str(block.get("thinking")))
                case "tool_use":
                    yield _tool(block)
                case kind:
                    yield unknown(block, f"assistant/{kind}")

    def _user(self, message: Said) -> Iterator[SessionEvent]:
        for block in map(mapping, items(message.get("content"))):
            if block.get("type") == "tool_result":
                data = {"id": str(block.get("tool_use_id")), "error": block.get("is_error") is True}
                yield SessionEvent("tool_result", short(_plain(block.get("content"))), data)
            elif block.get("type") == "text":
                yield SessionEvent("notice", f"it was told by its program: {short(str(block.get('text')), 1000)}")

    def _rate_limit(self, info: Said) -> SessionEvent:
        if info.get("status") == "rejected":
            self._resets = whole(info.get("resetsAt")) or None
        return SessionEvent("notice", f"the provider's limit: {info.get('status')}", {"event": bounded(info)})

    # ----------------------------------------------------------------- the end

    def end(self, exit_code: int) -> StreamEnd:
        """The last ``result`` decides, by its error flag; its subtype says ``success`` of errors too."""
        if self._result is None:
            return self._without_result(exit_code)
        said, used = self._result, self.used
        failed = said.get("is_error") is not False
        text = str(said.get("result") or "") or _why(said)
        denials = tuple(_denial(mapping(one)) for one in items(said.get("permission_denials")))
        fault = self._fault(text, said.get("api_error_status")) if failed else "agent"
        if said.get("subtype") == "error_max_budget_usd":
            fault = "budget"
        return StreamEnd(
            error=failed, text=short(text), usage=used, denials=denials, fault=fault,
            retry_after=self._wait(text) if fault == "provider" else None,
        )  # fmt: skip

    def _without_result(self, exit_code: int) -> StreamEnd:
        """Killed, or never begun: a flag that this version lacks, a conversation that it does not have."""
        old = _OLD_FLAG.search(self._complaint)
        if old:
            said = f"this version of claude does not know {old[1]}; update it: npm install -g @anthropic-ai/claude-code"
            return StreamEnd(error=True, text=said, fault="environment")
        text = self._complaint or self._last
        fault = self._fault(text, self._retry.get("error_status")) if exit_code == 1 else "agent"
        return StreamEnd(error=True if exit_code else None, text=short(text), fault=fault, usage=self.used)

    def _fault(self, text: str, status: object) -> Fault:
        """Whose an end in error is."""
        told = _STATUS.search(text)
        code = whole(status) or (int(told[1]) if told else 0)
        if code in (401, 403) or (not code and _SIGN_IN.search(text)):
            return "environment"
        limited = code == 429 or code >= 500 or self._resets is not None
        return "provider" if limited or _LIMITS.search(text) or provider_message([text]) else "agent"

    def _wait(self, text: str) -> int | None:
        told = _LIMIT_UNTIL.search(text)
        until = int(told[1]) if told else self._resets
        return max(0, until - int(time.time())) if until else retry_after([text], time.time())


def _tool(block: Said) -> SessionEvent:
    given = mapping(block.get("input"))
    data = {"tool": str(block.get("name")), "id": str(block.get("id")), "input": bounded(given)}
    return SessionEvent("tool", short(telling(given), 500), data)


def _plain(content: object) -> str:
    if isinstance(content, list):
        return "\n".join(str(mapping(part).get("text", "")) for part in content)
    return "" if content is None else str(content)


def _why(said: Said) -> str:
    errors = "; ".join(map(str, items(said.get("errors"))))
    return f"{said.get('subtype')}: {errors}" if errors else str(said.get("subtype") or "")


def _denial(one: Said) -> str:
    return short(f"{one.get('tool_name')} {telling(mapping(one.get('tool_input')))}".strip(), 300)


def _parent(said: Said) -> bool:
    """A line of an agent that it has started, not of its own."""
    return bool(said.get("parent_tool_use_id"))


def _usage(said: Said) -> dict[str, Any]:
    models = list(map(mapping, mapping(said.get("modelUsage")).values()))
    # by model it counts all of the session, with its agents; without, its last turn alone
    each = [{name: whole(one.get(key)) for key, name in _BY_MODEL.items() if key in one} for one in models]
    usage: dict[str, Any] = _added(each) or _counts(mapping(said.get("usage")))
    if said.get("total_cost_usd") is not None:
        usage["cost_usd"] = money(said["total_cost_usd"])
    if "num_turns" in said:
        usage["turns"] = whole(said["num_turns"])
    names = list(mapping(said.get("modelUsage")))
    return {**usage, "model": str(names[0])} if names else usage


def _counts(said: Said) -> dict[str, Any]:
    return {name: whole(said.get(key)) for key, name in _COUNTS.items() if key in said}


def _added(counts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    total: dict[str, Any] = {}
    for one in counts:
        total.update({key: total.get(key, 0) + value for key, value in one.items()})
    return total


def _tokens(usage: Said) -> int:
    return sum(whole(usage.get(name)) for name in set(_COUNTS.values()))
