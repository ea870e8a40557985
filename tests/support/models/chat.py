"""OpenAI chat completions (platform.openai.com/docs/api-reference/chat), as much as opencode, goose and aider use."""

import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from tests.support.models.turns import Call, Cut, Edit, Fail, Flood, Say, Shell, Step, Turn, Write, flooded

#: how many events at the end of a stream close it
CLOSING = 3


def is_side(body: Mapping[str, Any]) -> bool:
    """Requests for titles and commit messages; aider never sends tools, but tells the model how to edit."""
    if body.get("tools"):
        return False
    return "SEARCH/REPLACE" not in json.dumps(body.get("messages", [])[:1])


def error(fail: Fail) -> dict[str, Any]:
    """The body of an HTTP error."""
    return {"error": {"type": "error", "code": fail.status, "message": fail.message}}


def _text(step: Step) -> str:
    match step:
        case Say(text) | Cut(text):
            return text
        case Flood():
            return flooded(step)
        case _:
            return ""


def _call(step: Step, goose: bool) -> tuple[str, dict[str, Any]] | None:
    match step:
        case Write(path, text) if goose:
            return "write", {"path": path, "content": text}
        case Edit(path, old, new) if goose:
            return "edit", {"path": path, "before": old, "after": new}
        case Shell(command) if goose:
            return "shell", {"command": command}
        case Write(path, text):
            return "write", {"filePath": path, "content": text}
        case Edit(path, old, new):
            return "edit", {"filePath": path, "oldString": old, "newString": new}
        case Shell(command):
            return "bash", {"command": command, "description": "scripted"}
        case Call(name, given):
            return name, dict(given)
        case _:
            return None


def _message(body: Mapping[str, Any], turn: Turn) -> dict[str, Any]:
    # goose names its tools otherwise than opencode
    goose = any(tool.get("function", {}).get("name") == "shell" for tool in body.get("tools") or ())
    calls = [
        {"index": number, "id": f"call_{uuid.uuid4().hex[:12]}", "type": "function",
         "function": {"name": name, "arguments": json.dumps(given)}}
        for number, (name, given) in enumerate(filter(None, (_call(step, goose) for step in turn)))
    ]  # fmt: skip
    message: dict[str, Any] = {"role": "assistant", "content": "".join(map(_text, turn))}
    return {**message, "tool_calls": calls} if calls else message


_USAGE = {"prompt_tokens": 1000, "completion_tokens": 40, "total_tokens": 1040}


def whole(body: Mapping[str, Any], turn: Turn) -> dict[str, Any]:
    """An answer without streaming."""
    message = _message(body, turn)
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if "tool_calls" in message else "stop"}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": body.get("model"),
            "choices": [choice], "usage": _USAGE}  # fmt: skip


def stream(body: Mapping[str, Any], turn: Turn) -> Iterator[bytes]:
    """The same as server-sent events."""
    message = _message(body, turn)
    yield _chunk(body, [{"index": 0, "delta": message, "finish_reason": None}])
    reason = "tool_calls" if "tool_calls" in message else "stop"
    yield _chunk(body, [{"index": 0, "delta": {}, "finish_reason": reason}])
    yield _chunk(body, [], usage=_USAGE)
    yield b"data: [DONE]\n\n"


def _chunk(body: Mapping[str, Any], choices: list[Any], **more: Any) -> bytes:
    data = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": body.get("model"),
            "choices": choices, **more}  # fmt: skip
    return f"data: {json.dumps(data)}\n\n".encode()
