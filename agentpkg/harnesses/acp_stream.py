"""One conversation with an ACP agent: understands its JSON-RPC lines, and says what comes next.

Tolerant where agents differ: calls that appear first as an update or twice, fields that are missing, updates and
methods that nobody knows. The order is initialize, session/new or session/load, session/set_mode if a mode is wanted,
what sets the model if one is, session/prompt, and further prompts for what there is to say.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from agentpkg.core.records import SessionEvent
from agentpkg.core.scope import Scope
from agentpkg.harnesses import acp_ends as ends
from agentpkg.harnesses import acp_goose
from agentpkg.harnesses import acp_messages as say
from agentpkg.harnesses.acp_permission import answer, judge
from agentpkg.harnesses.acp_usage import Usage
from agentpkg.harnesses.base import Ask, Decided, Fault, Job, Reply, Stream, StreamEnd, json_object, output
from agentpkg.harnesses.programs import bounded, items, mapping, short, unknown, whole

Said = Mapping[str, Any]
Found = SessionEvent | Reply | Ask

#: how often an agent that ended its turn at a refusal is told the reason and asked to go on
_MOST_REASONS = 5

#: how lines of a program's journal begin, which complain of nothing
_TAGGED = re.compile(r"\[[a-z][\w./-]*\] ")

#: agents whose counts of tokens are too small, by the name they tell
_UNDERCOUNTS = {"OpenCode": "of the tokens of a turn it tells those of the last answer alone"}

_TOLD = """\
These calls were refused, since they are outside of what this work package may do:
{reasons}
Reach the goal of the work package another way, within its scope, and commit the result.
"""


class AcpReader:
    """One session.

    Args:
        job: its prompt, worktree, scope and conversation; None for a reader that only understands.
        mode: the mode of the agent to work in.
        also: kinds of calls that are allowed besides what the scope allows.
        meta: what a session begins with besides, for extensions.
    """

    def __init__(
        self, job: Job | None = None, mode: str | None = None, also: frozenset[str] = frozenset(),
        meta: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self._prompt, self._resume = (job.prompt, job.resume) if job else ("", None)
        self._worktree, self._scope = (job.worktree, job.scope) if job else ("/", Scope())
        self._mode, self._also, self._meta = mode, also, meta
        self._cap = job.allowance.get("cost_usd") if job else None
        self._model, self._used = (job.model, job.used) if job else (None, {})
        #: what is still to be set before the first turn
        self._wishes: list[bytes] = []
        self._conversation: str | None = None
        self._loading = False
        self._next, self._open = say.PROMPT, 0
        self._chunks: dict[str, list[str]] = {"text": [], "thinking": []}
        self._message: object = None
        self._reasons: list[str] = []
        #: the kind of each call, and what was last told of it
        self._calls: dict[str, tuple[str, str]] = {}
        #: what is asked of a person, by the request's id as text
        self._asked_for: dict[str, tuple[Any, Said]] = {}
        self._told_reasons = 0
        self._denials: list[str] = []
        self._usage = Usage()
        self._name, self._begun = "", False
        self._end: StreamEnd | None = None
        self._last, self._complaint = "", ""
        #: nothing more is to be said; agents that stay all the same may be ended, after some seconds
        self.finished, self.linger = False, 5.0

    # ----------------------------------------------------------------- lines

    def feed(self, stream: Stream, line: str) -> Sequence[Found]:
        """What a line means, and what is answered."""
        said = json_object(line) if stream == "stdout" else None
        if said is None or said.get("jsonrpc") != "2.0":
            return self._beside(stream, line) if line.strip() else ()
        if "method" in said:
            return tuple(self._asked(said))
        return tuple(self._answered(said))

    def _beside(self, stream: Stream, line: str) -> Sequence[Found]:
        """A line that is none of the protocol's; the protocol gives standard error to the agent's own diagnostics."""
        if not _TAGGED.match(line):
            self._complaint = line.strip()[:1000]
        if stream == "stderr" and self._begun:
            return (SessionEvent("diagnostic", line),)
        return (output(stream, line),)

    @property
    def used(self) -> Mapping[str, Any]:
        """What it has told so far."""
        return self._usage.told

    def instruct(self, text: str) -> Reply | None:
        """An instruction is a further turn; the agent takes it up when it has ended the one it is in."""
        if self._conversation is None or self.finished:
            return None
        return self._turn(text)

    def _turn(self, text: str) -> Reply:
        assert self._conversation is not None
        number, self._next, self._open = self._next, self._next + 1, self._open + 1
        return Reply(say.prompt(number, self._conversation, text))

    # ----------------------------------------------------------------- what the agent asks and tells

    def _asked(self, said: Said) -> Iterator[Found]:
        method, params = str(said["method"]), mapping(said.get("params"))
        update = mapping(params.get("update"))
        if method == "session/update":
            if update.get("sessionUpdate") == "usage_update":
                # goose says the same, and more, in its own words
                if self._name != acp_goose.NAME:
                    self._usage.update(update, self._loading)
            elif not self._loading:
                yield from self._update(update)
        elif method == acp_goose.UPDATE:
            self._usage.of_goose(update, self._loading)
            yield from self._noticed(acp_goose.notice(update))
        elif method == "session/request_permission":
            yield from self._permission(said.get("id"), params)
        elif "id" in said:
            yield Reply(say.not_offered(said["id"], method))
            yield unknown(params, method)
        else:
            yield unknown(params, method)

    def _permission(self, number: Any, params: Said) -> Iterator[Found]:
        call = mapping(params.get("toolCall"))
        yield from self._spoken()
        if str(call.get("toolCallId")) not in self._calls:
            # Gemini tells of a call by asking for it
            yield from self._tool({**call, "status": "pending"})
        word = judge(call, self._scope, self._worktree, self._also)
        if word.decision == "ask":
            self._asked_for[str(number)] = number, params
            tool = str(call.get("kind") or "other")
            yield Ask(str(number), tool, _title(params), word.why, mapping(bounded(call.get("rawInput"))))
        else:
            reply, refused = self._permitted(number, params, word.why if word.decision == "deny" else None)
            text = f"{_title(params)}: {refused}" if refused else _title(params)
            yield SessionEvent("permission", text, {"decision": "refused" if refused else "allowed"})
            yield reply

    def decided(self, decided: Decided) -> Sequence[SessionEvent | Reply]:
        """The answer to a request that a person has decided on."""
        number, params = self._asked_for.pop(decided.ask.id)
        return (self._permitted(number, params, None if decided.allowed else decided.reason)[0],)

    def _permitted(self, number: Any, params: Said, refused: str | None) -> tuple[Reply, str | None]:
        """The reply, and why it is a refusal after all."""
        found = answer(params, refused)
        if found.refused:
            self._denials.append(f"{_title(params)}: {found.refused}")
            self._reasons.append(found.refused)
        return Reply(say.permission(number, found.option)), found.refused

    def _update(self, update: Said) -> Iterator[Found]:
        kind = str(update.get("sessionUpdate"))
        chunks = {"agent_message_chunk": "text", "agent_thought_chunk": "thinking"}
        if kind in chunks:
            if update.get("messageId") != self._message:
                yield from self._spoken()
                self._message = update.get("messageId")
            self._chunks[chunks[kind]].append(str(mapping(update.get("content")).get("text") or ""))
            return
        yield from self._spoken()
        match kind:
            case "tool_call" | "tool_call_update":
                yield from self._tool(update)
            case "plan":
                lines = [
                    f"{mapping(e).get('status')}: {mapping(e).get('content')}" for e in items(update.get("entries"))
                ]
                yield SessionEvent("plan", short("\n".join(lines)))
            case "user_message_chunk" | "available_commands_update" | "current_mode_update" | "session_info_update":
                pass
            case "config_option_update":
                pass
            case _:
                yield unknown(update, kind)

    def _noticed(self, text: str) -> Iterator[SessionEvent]:
        if text:
            yield from self._spoken()
            self._last = text
            yield SessionEvent("notice", text)

    def _tool(self, update: Said) -> Iterator[SessionEvent]:
        """A call is told in pieces, some of which say nothing new."""
        number = str(update.get("toolCallId"))
        kind, text = self._calls.get(number, ("tool", ""))
        kind = str(update.get("kind") or kind)
        event = _tool(update, kind)
        if event.kind == "tool_result" or (event.text and event.text != text):
            self._calls[number] = kind, event.text
            yield event

    def _spoken(self) -> Iterator[SessionEvent]:
        """What was said in pieces, as whole events."""
        for kind, parts in self._chunks.items():
            text = "".join(parts)
            parts.clear()
            if text.strip():
                self._last = text if kind == "text" else self._last
                yield SessionEvent(kind, text)

    # ----------------------------------------------------------------- answers to what was said

    def _answered(self, said: Said) -> Iterator[Found]:
        number, error, result = said.get("id"), said.get("error"), mapping(said.get("result"))
        if number == say.INITIALIZE:
            yield from self._failed(error) if error else self._initialized(result)
        elif number == say.SESSION:
            yield from self._opened(error, result)
        elif number in (say.MODE, say.MODEL):
            if error:
                what = f"mode {self._mode}" if number == say.MODE else f"model {self._model}"
                yield SessionEvent("notice", f"it does not take {what}: {ends.error_text(mapping(error))}")
            yield self._onward()
        elif whole(number) >= say.PROMPT:
            self._open -= 1
            yield from self._failed(error) if error else self._ended_turn(result)
        else:
            yield unknown(said, "answer")

    def _initialized(self, result: Said) -> Iterator[Found]:
        self._begun = True
        info = mapping(result.get("agentInfo"))
        self._name = str(info.get("name") or "")
        if info:
            yield SessionEvent("notice", f"agent {self._name} {info.get('version')}")
        can_load = mapping(result.get("agentCapabilities")).get("loadSession") is True
        self._loading = bool(self._resume) and can_load
        if self._loading:
            self._usage.begin_at(self._used, self._name)
        opening = say.load_session(self._worktree, self._resume, self._meta) if self._loading and self._resume else None
        yield Reply(opening or say.new_session(self._worktree, self._meta))

    def _opened(self, error: Any, result: Said) -> Iterator[Found]:
        if error and self._loading:
            self._loading, self._resume = False, None
            yield SessionEvent("notice", f"a new conversation is begun: {mapping(error).get('message')}")
            yield Reply(say.new_session(self._worktree, self._meta))
            return
        if error:
            yield from self._failed(error)
            return
        self._conversation = str((self._resume if self._loading else None) or result.get("sessionId"))
        self._loading = False
        model = str(mapping(result.get("models")).get("currentModelId") or "")
        data = {"conversation": self._conversation, "model": model}
        yield SessionEvent("session", f"conversation {self._conversation}", data)
        self._wishes = [say.set_mode(self._conversation, self._mode)] if self._mode else []
        if self._model:
            yield from self._wish_model(self._conversation, self._model, result)
        yield self._onward()

    def _wish_model(self, conversation: str, model: str, result: Said) -> Iterator[Found]:
        """Agents tell how a model is chosen, if they let their clients choose."""
        options = [mapping(one) for one in items(result.get("configOptions"))]
        names = [str(one.get("id")) for one in options if "model" in (one.get("category"), one.get("id"))]
        if names or result.get("models"):
            self._wishes.append(say.set_model(conversation, model, next(iter(names), None)))
        else:
            yield SessionEvent("notice", f"it has no way to be told of model {model}, and uses its own")

    def _onward(self) -> Reply:
        """Sets the next of what is wished, then begins."""
        return Reply(self._wishes.pop(0)) if self._wishes else self._turn(self._prompt)

    def _ended_turn(self, result: Said) -> Iterator[Found]:
        yield from self._spoken()
        self._usage.turn(result)
        self._end = ends.of_turn(str(result.get("stopReason") or "end_turn"), self._last, self._name)
        if self._open > 0:
            return
        if self._reasons and self._told_reasons < _MOST_REASONS and not self._end.error:
            self._told_reasons += 1
            reasons = "\n".join(f"- {one}" for one in dict.fromkeys(self._reasons))
            self._reasons.clear()
            yield SessionEvent("notice", "it is told why calls were refused")
            yield self._turn(_TOLD.format(reasons=reasons))
            return
        yield from self._finish()

    def _failed(self, error: Any) -> Iterator[Found]:
        yield from self._spoken()
        self._end = ends.of_error(mapping(error))
        yield SessionEvent("notice", short(self._end.text, 1000))
        if self._open <= 0:
            yield from self._finish()

    def _finish(self) -> Iterator[Found]:
        self.finished = True
        told = self._usage.told
        if told:
            yield SessionEvent("usage", ", ".join(f"{k} {v}" for k, v in told.items()), told)
        if told and self._name in _UNDERCOUNTS:
            yield SessionEvent("notice", _UNDERCOUNTS[self._name])
        yield Reply(b"", close=True)

    # ----------------------------------------------------------------- the end

    def end(self, exit_code: int) -> StreamEnd:
        """How the last turn ended; an agent that went away in the middle of one has failed."""
        denials = tuple(self._denials[-100:])
        if self._end is not None and self._open <= 0:
            fault: Fault = "budget" if self._end.error and self._usage.reached(self._cap) else self._end.fault
            return replace(self._end, fault=fault, usage=self._usage.told, denials=denials)
        text = self._complaint or "it went away in the middle of a turn"
        return replace(ends.error(text), usage=self._usage.told, denials=denials)


def _title(params: Said) -> str:
    call = mapping(params.get("toolCall"))
    return short(str(call.get("title") or call.get("toolCallId") or "a call"), 300)


def _tool(update: Said, kind: str) -> SessionEvent:
    number, status = str(update.get("toolCallId")), str(update.get("status") or "")
    if status in ("completed", "failed"):
        texts = [_content(mapping(part)) for part in items(update.get("content"))]
        text = "\n".join(filter(None, texts)) or str(update.get("title") or "")
        return SessionEvent("tool_result", short(text), {"id": number, "error": status == "failed"})
    places = [str(mapping(place).get("path")) for place in items(update.get("locations"))]
    text = str(update.get("title") or ", ".join(places))
    data = {"id": number, "tool": kind, "input": bounded(update.get("rawInput") or {})}
    return SessionEvent("tool", short(text, 500), data)


def _content(part: Said) -> str:
    if part.get("type") == "diff":
        return f"changes {part.get('path')}"
    return str(mapping(part.get("content")).get("text") or "")
