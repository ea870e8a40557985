import json
from pathlib import Path
from typing import Any

import pytest

from agentpkg.core.records import SessionEvent
from agentpkg.core.scope import Scope
from agentpkg.harnesses import acp_ends
from agentpkg.harnesses.acp_permission import answer, judge
from agentpkg.harnesses.acp_stream import AcpReader
from agentpkg.harnesses.base import Reply
from tests.support.sessions_jobs import job

SCOPE = Scope(owned=("src/",), commands=("cargo test",))
OPTIONS = [
    {"optionId": "always", "name": "Always", "kind": "allow_always"},
    {"optionId": "yes", "name": "y", "kind": "allow_once"},
    {"optionId": "no", "name": "No", "kind": "reject_once"},
]  # fmt: skip


class Talk:
    """A conversation with a reader, line by line."""

    def __init__(self, root: Path, **more: Any) -> None:
        self.reader = AcpReader(job(root, scope=SCOPE, **more))
        self.events: list[SessionEvent] = []
        self.closed = False

    def __call__(self, **said: Any) -> list[dict[str, Any]]:
        """What is answered to one message."""
        answers = []
        for found in self.reader.feed("stdout", json.dumps({"jsonrpc": "2.0", **said})):
            if isinstance(found, Reply):
                self.closed = self.closed or found.close
                answers += [json.loads(line) for line in found.data.splitlines()]
            else:
                self.events.append(found)
        return answers

    def begin(self, **capabilities: Any) -> list[dict[str, Any]]:
        self(id=1, result={"protocolVersion": 1, "agentCapabilities": capabilities})
        return self(id=2, result={"sessionId": "c1"})

    def update(self, what: str, **more: Any) -> list[dict[str, Any]]:
        return self(method="session/update", params={"sessionId": "c1", "update": {"sessionUpdate": what, **more}})


@pytest.fixture
def talk(tmp_path: Path) -> Talk:
    return Talk(tmp_path)


@pytest.mark.slow
def test_a_session_is_opened_and_prompted(talk: Talk, tmp_path: Path) -> None:
    (opening,) = talk(id=1, result={"protocolVersion": 1})
    assert (opening["method"], opening["params"]["cwd"]) == ("session/new", str(tmp_path))
    (prompt,) = talk(id=2, result={"sessionId": "c1"})
    assert (prompt["method"], prompt["params"]["prompt"][0]["text"]) == ("session/prompt", "# Mission\nDo it.\n")
    assert [event.data["conversation"] for event in talk.events if event.kind == "session"] == ["c1"]


def test_pieces_of_text_become_one_event(talk: Talk) -> None:
    talk.begin()
    talk.update("agent_message_chunk", content={"type": "text", "text": "I "})
    talk.update("agent_message_chunk", content={"type": "text", "text": "begin"})
    talk.update("tool_call", toolCallId="t1", title="Write a", kind="edit")
    assert [(event.kind, event.text) for event in talk.events[-2:]] == [("text", "I begin"), ("tool", "Write a")]


def test_the_end_of_the_turn_ends_the_session(talk: Talk) -> None:
    talk.begin()
    talk(id=10, result={"stopReason": "end_turn", "usage": {"inputTokens": 5, "outputTokens": 2, "totalTokens": 7}})
    assert (talk.closed, talk.reader.finished) == (True, True)
    end = talk.reader.end(0)
    assert (end.error, end.usage) == (False, {"input_tokens": 5, "output_tokens": 2})


def test_a_request_is_answered_for_this_once_by_the_scope(talk: Talk, tmp_path: Path) -> None:
    talk.begin()
    good = {"toolCallId": "t1", "kind": "edit", "locations": [{"path": str(tmp_path / "src/a")}]}
    bad = {"toolCallId": "t2", "kind": "edit", "title": "Write", "locations": [{"path": str(tmp_path / "docs/a")}]}
    (yes,) = talk(id="a", method="session/request_permission", params={"toolCall": good, "options": OPTIONS})
    (no,) = talk(id="b", method="session/request_permission", params={"toolCall": bad, "options": OPTIONS})
    assert yes == {"jsonrpc": "2.0", "id": "a", "result": {"outcome": {"outcome": "selected", "optionId": "yes"}}}
    assert no["result"]["outcome"]["optionId"] == "no"
    assert [event.data["decision"] for event in talk.events if event.kind == "permission"] == ["allowed", "refused"]
    (again,) = talk(id=10, result={"stopReason": "cancelled"})
    assert "docs/a is out of scope" in again["params"]["prompt"][0]["text"]
    talk(id=11, result={"stopReason": "end_turn"})
    assert talk.closed
    assert len(talk.reader.end(0).denials) == 1


@pytest.mark.parametrize(
    ("call", "word"),
    [
        ({"kind": "execute", "rawInput": {"command": "cargo test"}}, "forbidden"),
        ({"kind": "execute", "title": "cargo test --all"}, "forbidden"), ({"kind": "execute", "title": "make"}, None),
        ({"kind": "edit", "content": [{"type": "diff", "path": "docs/a"}]}, "out of scope"),
        ({"kind": "other", "rawInput": {"filepath": "../x"}}, "outside"), ({"kind": "read"}, None),
        ({}, "nothing is known"),
        ({"kind": "fetch", "rawInput": {"url": "http://x"}}, "nothing is known"),
        ({"kind": "edit", "rawInput": {"changes": {"docs/b": {}}}}, "out of scope"),
        ({"title": "tree · .", "rawInput": {"path": "."}}, None),
        ({"title": "write · docs/c", "rawInput": {"path": "docs/c"}}, "out of scope"),
    ],
)  # fmt: skip
def test_calls_are_judged_by_whatever_they_tell(tmp_path: Path, call: dict[str, Any], word: str | None) -> None:
    found = judge(call, SCOPE, str(tmp_path))
    assert found.decision == ("allow" if word is None else "ask" if "nothing is known" in word else "deny")
    assert str(word or "") in found.why


def test_nothing_is_ever_allowed_for_good() -> None:
    found = answer({"toolCall": {"kind": "read"}, "options": OPTIONS[:1]}, None)
    assert found.option is None
    assert found.refused


def test_an_earlier_conversation_is_loaded_without_its_echo(tmp_path: Path) -> None:
    talk = Talk(tmp_path, resume="c0")
    (load,) = talk(id=1, result={"agentCapabilities": {"loadSession": True}})
    assert (load["method"], load["params"]["sessionId"]) == ("session/load", "c0")
    talk.update("agent_message_chunk", content={"type": "text", "text": "an echo"})
    (prompt,) = talk(id=2, result={})
    assert prompt["params"]["sessionId"] == "c0"
    assert "an echo" not in [event.text for event in talk.events]


def test_where_it_cannot_be_loaded_a_new_one_is_begun(tmp_path: Path) -> None:
    talk = Talk(tmp_path, resume="c0")
    talk(id=1, result={"agentCapabilities": {"loadSession": True}})
    (again,) = talk(id=2, error={"code": -32602, "message": "no such session"})
    assert again["method"] == "session/new"


def test_an_instruction_is_a_turn_of_its_own(talk: Talk) -> None:
    assert talk.reader.instruct("too early") is None
    talk.begin()
    told = talk.reader.instruct("Look at b as well.")
    assert told is not None
    assert json.loads(told.data)["params"]["prompt"][0]["text"] == "Look at b as well."
    talk(id=10, result={"stopReason": "end_turn"})
    assert not talk.closed
    talk(id=11, result={"stopReason": "end_turn"})
    assert talk.closed


def test_what_is_not_offered_is_refused_and_kept(talk: Talk) -> None:
    (answer,) = talk(id=7, method="fs/write_text_file", params={"path": "/etc/passwd"})
    assert answer["error"]["code"] == -32601
    assert talk.events[-1].kind == "other"


def test_errors_end_it_and_say_whose_they_are(talk: Talk) -> None:
    talk.begin()
    talk(id=10, error={"code": -32603, "message": "Internal error", "data": {"details": "API Error: 529 Overloaded"}})
    end = talk.reader.end(0)
    assert (end.error, end.fault) == (True, "provider")


def test_one_that_goes_away_in_the_middle_has_failed(talk: Talk) -> None:
    talk.begin()
    assert talk.reader.end(0).error is True


def test_a_model_is_asked_for_in_the_agents_own_way_before_the_first_turn(tmp_path: Path) -> None:
    talk = Talk(tmp_path, model="big")
    talk(id=1, result={"protocolVersion": 1})
    options = [{"id": "mode", "category": "mode"}, {"id": "llm", "category": "model"}]
    (wish,) = talk(id=2, result={"sessionId": "c1", "configOptions": options})
    assert wish["method"] == "session/set_config_option"
    assert wish["params"] == {"sessionId": "c1", "configId": "llm", "value": "big"}
    (prompt,) = talk(id=wish["id"], error={"code": -32602, "message": "no such model"})
    assert prompt["method"] == "session/prompt"
    assert talk.events[-1].text == "it does not take model big: no such model"
    older = Talk(tmp_path, model="big")
    older(id=1, result={"protocolVersion": 1})
    (wish,) = older(id=2, result={"sessionId": "c1", "models": {"currentModelId": "small"}})
    assert (wish["method"], wish["params"]) == ("session/set_model", {"sessionId": "c1", "modelId": "big"})
    without = Talk(tmp_path, model="big")
    (prompt,) = without.begin()
    assert prompt["method"] == "session/prompt"
    assert "no way to be told of model big" in without.events[-1].text


def test_a_call_is_told_once_and_an_error_by_its_kind(talk: Talk) -> None:
    talk.begin()
    talk.update("tool_call", toolCallId="t1", kind="execute", title="git status")
    talk.update("tool_call_update", toolCallId="t1", status="in_progress")
    talk.update("tool_call_update", toolCallId="t1", title="git status")
    talk.update("tool_call_update", toolCallId="t1", title="git status -s")
    talk.update("config_option_update", configOptions=[])
    told = [(event.kind, event.data.get("tool"), event.text) for event in talk.events if event.kind != "session"]
    assert told == [("tool", "execute", "git status"), ("tool", "execute", "git status -s")]
    talk(id=10, error={"code": -32603, "message": "connection dropped", "data": {"errorKind": "server_error"}})
    end = talk.reader.end(0)
    assert (end.error, end.fault, end.text) == (True, "provider", "connection dropped")
    talk(id=10, error={"code": 500, "message": "terminated"})
    end = talk.reader.end(0)
    assert (end.fault, end.text) == ("provider", "the model's provider answered 500: terminated")
    assert end.usage == {}


def test_goose_tells_errors_and_usage_in_words_of_its_own(talk: Talk) -> None:
    def extra(**update: Any) -> None:
        talk(method="_goose/unstable/session/update", params={"sessionId": "c1", "update": update})

    def chunk(message: str, text: str) -> None:
        talk.update("agent_message_chunk", messageId=message, content={"type": "text", "text": text})

    talk(id=1, result={"protocolVersion": 1, "agentInfo": {"name": "goose", "version": "1.50.0"}})
    talk(id=2, result={"sessionId": "c1"})
    # it goes on in a conversation, of which it tells the sum
    extra(sessionUpdate="usage_update", accumulatedInputTokens=5000, accumulatedOutputTokens=100)
    for _ in range(2):
        extra(sessionUpdate="message_usage", usage={"inputTokens": 1000, "outputTokens": 40, "cost": 0.1})
        assert talk.reader.used["cost_usd"] in ("0.1", "0.2")
    chunk("m1", "I was")
    chunk("m2", "Network error: Stream decode error\n\nPlease resend your message to try again.")
    extra(sessionUpdate="usage_update", accumulatedInputTokens=8000, accumulatedOutputTokens=220)
    talk(id=10, result={"stopReason": "end_turn", "usage": {"inputTokens": 1000, "outputTokens": 40}})
    assert next(event.text for event in talk.events if event.kind == "text") == "I was"
    end = talk.reader.end(0)
    assert (end.error, end.fault, end.text) == (True, "provider", "Network error: Stream decode error")
    assert end.usage == {"input_tokens": 3000, "output_tokens": 120, "cost_usd": "0.2"}


@pytest.mark.parametrize(
    ("text", "fault", "after"),
    [
        ("Ran into this error: Rate limit exceeded: try again in 40s.\n\nPlease retry if you think this is a "
         "transient or recoverable error.", "provider", 40),
        ("The model returned an empty response. Please resend your message to continue.", "agent", None),
        ("Unable to continue: Context limit still exceeded after compaction.", "agent", None),
        ("I ask you: Please resend", None, None),
    ],
)  # fmt: skip
def test_what_goose_says_last_may_be_an_error(text: str, fault: str | None, after: int | None) -> None:
    end = acp_ends.of_turn("end_turn", text, "goose")
    assert (end.error, end.fault, end.retry_after) == (fault is not None, fault or "agent", after)
    assert not acp_ends.of_turn("end_turn", text, "another").error


def test_what_it_says_on_standard_error_is_its_diagnostics_once_it_speaks_the_protocol(talk: Talk) -> None:
    def err(line: str) -> list[str]:
        return [found.kind for found in talk.reader.feed("stderr", line) if isinstance(found, SessionEvent)]

    assert err("node: not found") == ["output"]
    talk.begin()
    assert err("out of memory") == err("[session/create] phase=modes durationMs=44") == ["diagnostic"]
    # what it may have died of is no line of its journal
    assert talk.reader.end(1).text == "out of memory"


def test_an_adapter_that_watches_its_budget_itself_has_used_it_up(tmp_path: Path) -> None:
    talk = Talk(tmp_path, allowance={"cost_usd": "0.02"})
    talk.begin()
    talk.update("usage_update", used=10, size=100, cost={"amount": 0.0249, "currency": "USD"})
    talk(id=10, error={"code": -32603, "message": "Internal error: Reached maximum budget ($0.02)"})
    end = talk.reader.end(0)
    assert (end.error, end.fault, end.usage) == (True, "budget", {"cost_usd": "0.0249"})
    assert "maximum budget" in end.text


@pytest.mark.parametrize(
    ("message", "data", "fault"),
    [
        ("Internal error: Incorrect API key provided: sk-1", {"errorName": "APIError"}, "environment"),
        ("Internal error: rate limit exceeded, try again in 40s", {"errorName": "APIError"}, "provider"),
        ("Internal error: Cannot connect to API: the socket was closed", {"errorName": "APIError"}, "provider"),
        ("add more credits", {"reason": "credits_exhausted"}, "provider"), ("no", {"errorName": "Other"}, "agent"),
    ],
)  # fmt: skip
def test_whose_an_error_is_by_what_programs_tell_of_it(message: str, data: dict[str, str], fault: str) -> None:
    end = acp_ends.of_error({"code": -32603, "message": message, "data": data})
    assert (end.fault, end.text) == (fault, message.removeprefix("Internal error: "))


def test_money_of_earlier_tries_is_not_counted_again(tmp_path: Path) -> None:
    talk = Talk(tmp_path, resume="c0", used={"cost_usd": "0.01", "input_tokens": 5})
    talk(id=1, result={"agentCapabilities": {"loadSession": True}, "agentInfo": {"name": "OpenCode", "version": "1"}})
    talk(id=2, result={})
    talk.update("usage_update", used=10, size=100, cost={"amount": 0.03, "currency": "USD"})
    assert talk.reader.used == {"cost_usd": "0.02"}
