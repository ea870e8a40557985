"""The Anthropic Messages API (docs.anthropic.com/en/api/messages-streaming), as much as its clients use."""

import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from tests.support.models.turns import Call, Cut, Edit, Fail, Flood, Say, Shell, Step, Turn, Write, flooded

#: how many events at the end of a stream close it
CLOSING = 3

_KINDS = {400: "invalid_request_error", 401: "authentication_error", 429: "rate_limit_error", 529: "overloaded_error"}


def is_side(body: Mapping[str, Any]) -> bool:
    """Requests without tools are for titles and the like."""
    return not body.get("tools")


def error(fail: Fail) -> dict[str, Any]:
    """The body of an HTTP error."""
    return {"type": "error", "error": {"type": _KINDS.get(fail.status, "api_error"), "message": fail.message}}


def block(step: Step) -> dict[str, Any]:
    """One content block."""
    match step:
        case Say(text) | Cut(text):
            return {"type": "text", "text": text}
        case Flood():
            return {"type": "text", "text": flooded(step)}
        case Write(path, text):
            return _use("Write", {"file_path": path, "content": text})
        case Edit(path, old, new):
            return _use("Edit", {"file_path": path, "old_string": old, "new_string": new})
        case Shell(command):
            return _use("Bash", {"command": command})
        case Call(name, given):
            return _use(name, dict(given))
        case _:
            raise ValueError(step)


def _use(name: str, given: dict[str, Any]) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"toolu_{uuid.uuid4().hex[:16]}", "name": name, "input": given}


def whole(body: Mapping[str, Any], turn: Turn) -> dict[str, Any]:
    """An answer without streaming."""
    blocks = [block(step) for step in turn]
    return {
        "id": f"msg_{uuid.uuid4().hex[:16]}", "type": "message", "role": "assistant", "model": body.get("model"),
        "content": blocks, "stop_reason": _reason(blocks), "stop_sequence": None,
        "usage": {"input_tokens": 1000, "output_tokens": 40, "cache_read_input_tokens": 200,
                  "cache_creation_input_tokens": 0},
    }  # fmt: skip


def _reason(blocks: list[dict[str, Any]]) -> str:
    return "tool_use" if any(one["type"] == "tool_use" for one in blocks) else "end_turn"


def stream(body: Mapping[str, Any], turn: Turn) -> Iterator[bytes]:
    """The same as server-sent events."""
    message = whole(body, turn)
    blocks, usage = message["content"], message["usage"]
    yield _event("message_start", message={**message, "content": [], "stop_reason": None})
    for index, one in enumerate(blocks):
        text = one["type"] == "text"
        start = {"type": "text", "text": ""} if text else {**one, "input": {}}
        yield _event("content_block_start", index=index, content_block=start)
        if text:
            for at in range(0, len(one["text"]), 1 << 16):
                yield _delta(index, type="text_delta", text=one["text"][at : at + (1 << 16)])
        else:
            yield _delta(index, type="input_json_delta", partial_json=json.dumps(one["input"]))
        yield _event("content_block_stop", index=index)
    end = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield _event("message_delta", delta=end, usage={"output_tokens": usage["output_tokens"]})
    yield _event("message_stop")


def _delta(index: int, **delta: Any) -> bytes:
    return _event("content_block_delta", index=index, delta=delta)


def _event(kind: str, **data: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n".encode()
