"""Google's generateContent (ai.google.dev/api/generate-content), as much as Gemini CLI uses."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tests.support.models.turns import Call, Cut, Edit, Fail, Flood, Say, Shell, Step, Turn, Write, flooded

#: how many events at the end of a stream close it
CLOSING = 1

_KINDS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE"}
_USED = {"promptTokenCount": 1000, "candidatesTokenCount": 40, "cachedContentTokenCount": 200, "totalTokenCount": 1040}


def is_side(body: Mapping[str, Any]) -> bool:
    """Requests without tools are for routing, titles and the like."""
    return not body.get("tools")


def error(fail: Fail) -> dict[str, Any]:
    """The body of an HTTP error."""
    said: dict[str, Any] = {"code": fail.status, "message": fail.message, "status": _KINDS.get(fail.status, "INTERNAL")}
    if fail.retry_after is not None:
        kind = "type.googleapis.com/google.rpc.RetryInfo"
        said["details"] = [{"@type": kind, "retryDelay": f"{fail.retry_after}s"}]
    return {"error": said}


def part(step: Step) -> dict[str, Any]:
    """One part of the content."""
    match step:
        case Say(text) | Cut(text):
            return {"text": text}
        case Flood():
            return {"text": flooded(step)}
        case Write(path, text):
            return _use("write_file", {"file_path": path, "content": text})
        case Edit(path, old, new):
            return _use("replace", {"file_path": path, "old_string": old, "new_string": new, "instruction": "replace"})
        case Shell(command):
            return _use("run_shell_command", {"command": command})
        case Call(name, given):
            return _use(name, dict(given))
        case _:
            raise ValueError(step)


def _use(name: str, given: dict[str, Any]) -> dict[str, Any]:
    return {"functionCall": {"name": name, "args": given}}


def whole(body: Mapping[str, Any], turn: Turn) -> dict[str, Any]:
    """An answer without streaming."""
    schema = (body.get("generationConfig") or {}).get("responseJsonSchema")
    parts = [{"text": json.dumps(_of(schema))}] if schema else [part(step) for step in turn]
    return _answer(parts, finishReason="STOP")


def _of(schema: Mapping[str, Any]) -> Any:
    """Something that fits a schema: side requests ask for choices."""
    kind = str(schema.get("type")).lower()
    if kind == "object":
        return {name: _of(one) for name, one in schema.get("properties", {}).items()}
    if "enum" in schema:
        return schema["enum"][0]
    return {"number": 0, "integer": 0, "boolean": False}.get(kind, "ok")


def _answer(parts: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    candidate = {"content": {"role": "model", "parts": parts}, "index": 0, **more}
    return {"candidates": [candidate], "usageMetadata": _USED, "modelVersion": "scripted-1"}


def stream(body: Mapping[str, Any], turn: Turn) -> Iterator[bytes]:
    """The same as server-sent events."""
    for step in turn:
        yield _event(_answer([part(step)]))
    yield _event(_answer([{"text": ""}], finishReason="STOP"))


def _event(data: Any) -> bytes:
    return f"data: {json.dumps(data)}\r\n\r\n".encode()
