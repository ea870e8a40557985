"""The OpenAI Responses API (platform.openai.com/docs/api-reference/responses-streaming), as much as Codex uses."""

import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from tests.support.models.turns import Call, Cut, Edit, Fail, Flood, Say, Shell, Step, Turn, Write, flooded

#: how many events at the end of a stream close it
CLOSING = 2


def is_side(body: Mapping[str, Any]) -> bool:
    """Requests without tools are for titles and the like."""
    return not _offered(body)


def _offered(body: Mapping[str, Any]) -> set[str]:
    """The names of the tools a request offers; newer models of Codex get them as an item of the input."""
    extra = [tool for one in body.get("input", []) if one.get("type") == "additional_tools" for tool in one["tools"]]
    return {str(tool.get("name") or tool.get("type")) for tool in [*(body.get("tools") or []), *extra]}


def error(fail: Fail) -> dict[str, Any]:
    """The body of an HTTP error."""
    kinds = {429: "rate_limit_exceeded", 401: "invalid_api_key", 400: "invalid_request_error"}
    return {"error": {"type": kinds.get(fail.status, "server_error"), "code": kinds.get(fail.status),
                      "message": fail.message}}  # fmt: skip


def item(step: Step, offered: set[str]) -> dict[str, Any]:
    """One output item, made of the tools that are offered."""
    match step:
        case Say(text) | Cut(text):
            return _message(text)
        case Flood():
            return _message(flooded(step))
        case Write(path, text):
            body = "".join(f"+{line}\n" for line in text.splitlines())
            return _patch(f"*** Begin Patch\n*** Add File: {path}\n{body}*** End Patch\n", offered)
        case Edit(path, old, new):
            text = f"*** Begin Patch\n*** Update File: {path}\n@@\n-{old}\n+{new}\n*** End Patch\n"
            return _patch(text, offered)
        case Shell(command):
            if "exec" in offered:
                return _custom("exec", f"text(await tools.exec_command({json.dumps({'cmd': command})}))")
            return _function("exec_command", {"cmd": command})
        case Call(name, given):
            return _function(name, dict(given))
        case _:
            raise ValueError(step)


def _id(kind: str) -> str:
    return f"{kind}_{uuid.uuid4().hex[:16]}"


def _message(text: str) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"type": "message", "id": _id("msg"), "role": "assistant", "status": "completed", "content": content}


def _function(name: str, given: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function_call", "id": _id("fc"), "call_id": _id("call"), "name": name,
            "arguments": json.dumps(given), "status": "completed"}  # fmt: skip


def _patch(text: str, offered: set[str]) -> dict[str, Any]:
    if "exec" in offered:
        return _custom("exec", f"text(await tools.apply_patch({json.dumps(text)}))")
    if "apply_patch" in offered:
        return _custom("apply_patch", text)
    # models that the program does not know patch through the shell, which it sees through
    return _function("exec_command", {"cmd": f"apply_patch <<'PATCH'\n{text}PATCH\n"})


def _custom(name: str, text: str) -> dict[str, Any]:
    return {"type": "custom_tool_call", "id": _id("ctc"), "call_id": _id("call"), "name": name, "input": text,
            "status": "completed"}  # fmt: skip


def whole(body: Mapping[str, Any], turn: Turn) -> dict[str, Any]:
    """An answer without streaming."""
    return {
        "id": _id("resp"), "object": "response", "status": "completed", "model": body.get("model"),
        "output": [item(step, _offered(body)) for step in turn],
        "usage": {"input_tokens": 1000, "input_tokens_details": {"cached_tokens": 200}, "output_tokens": 40,
                  "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 1040},
    }  # fmt: skip


def stream(body: Mapping[str, Any], turn: Turn) -> Iterator[bytes]:
    """The same as server-sent events."""
    answer = whole(body, turn)
    yield _event("response.created", response={**answer, "status": "in_progress", "output": []})
    for index, one in enumerate(answer["output"]):
        begun = {**one, "content": []} if one["type"] == "message" else one
        yield _event("response.output_item.added", output_index=index, item=begun)
        if one["type"] == "message":
            yield _event("response.output_text.delta", output_index=index, item_id=one["id"], content_index=0,
                         delta=one["content"][0]["text"])  # fmt: skip
        yield _event("response.output_item.done", output_index=index, item=one)
    yield _event("response.completed", response=answer)


def _event(kind: str, **data: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n".encode()
