"""What agentpkg says to an agent over the Agent Client Protocol (agentclientprotocol.com), one JSON-RPC line each.

The messages are those of the protocol's Python SDK (PyPI ``agent-client-protocol``). Its connection is not used: it
starts the agent's process itself, and takes part in an event loop, where a harness only speaks.
"""

import json
from collections.abc import Mapping
from typing import Any, Protocol

#: the calls that a session makes, by the number each carries; prompts count on from the last
INITIALIZE, SESSION, MODE, MODEL, PROMPT = 1, 2, 3, 4, 10


class _Model(Protocol):
    """A message of the SDK's."""

    def model_dump(self, *, mode: str, by_alias: bool, exclude_none: bool) -> dict[str, Any]:
        """Its fields as JSON data."""


def _line(data: dict[str, Any]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **data}, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


def _call(number: int, method: str, params: _Model) -> bytes:
    return _line({"id": number, "method": method, "params": _plain(params)})


def _plain(model: _Model) -> dict[str, Any]:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


def _meta(more: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return dict(more) if more else None


def initialize(more: Mapping[str, Any] | None = None) -> bytes:
    """The first call. No file system and no terminal is offered: agents use their own, within the isolation.

    Args:
        more: capabilities of extensions.
    """
    from acp import AGENT_METHODS, PROTOCOL_VERSION
    from acp.schema import ClientCapabilities, Implementation, InitializeRequest

    import agentpkg

    me = Implementation(name="agentpkg", title="agentpkg", version=agentpkg.__version__)
    params = InitializeRequest(
        protocol_version=PROTOCOL_VERSION,
        client_capabilities=ClientCapabilities(field_meta=_meta(more)),
        client_info=me,
    )
    return _call(INITIALIZE, AGENT_METHODS["initialize"], params)


def new_session(worktree: str, more: Mapping[str, Any] | None = None) -> bytes:
    """Begins a conversation in a worktree; ``more`` is for extensions."""
    from acp import AGENT_METHODS
    from acp.schema import NewSessionRequest

    return _call(
        SESSION, AGENT_METHODS["session_new"], NewSessionRequest(cwd=worktree, mcp_servers=[], field_meta=_meta(more))
    )


def load_session(worktree: str, conversation: str, more: Mapping[str, Any] | None = None) -> bytes:
    """Goes on with a conversation; ``more`` is for extensions."""
    from acp import AGENT_METHODS
    from acp.schema import LoadSessionRequest

    params = LoadSessionRequest(cwd=worktree, mcp_servers=[], session_id=conversation, field_meta=_meta(more))
    return _call(SESSION, AGENT_METHODS["session_load"], params)


def set_mode(conversation: str, mode: str) -> bytes:
    """Has the agent work in one of its modes."""
    from acp import AGENT_METHODS
    from acp.schema import SetSessionModeRequest

    params = SetSessionModeRequest(session_id=conversation, mode_id=mode)
    return _call(MODE, AGENT_METHODS["session_set_mode"], params)


def set_model(conversation: str, model: str, option: str | None) -> bytes:
    """Has the agent use a model.

    Args:
        option: the option of the session that the model is; None: the older way, which the SDK has no words for.
    """
    from acp import AGENT_METHODS
    from acp.schema import SetSessionConfigOptionSelectRequest

    if option is None:
        params = {"sessionId": conversation, "modelId": model}
        return _line({"id": MODEL, "method": "session/set_model", "params": params})
    wanted = SetSessionConfigOptionSelectRequest(session_id=conversation, config_id=option, value=model)
    return _call(MODEL, AGENT_METHODS["session_set_config_option"], wanted)


def prompt(number: int, conversation: str, text: str) -> bytes:
    """A turn of the conversation."""
    from acp import AGENT_METHODS
    from acp.schema import PromptRequest, TextContentBlock

    params = PromptRequest(session_id=conversation, prompt=[TextContentBlock(type="text", text=text)])
    return _call(number, AGENT_METHODS["session_prompt"], params)


def permission(number: Any, option: str | None) -> bytes:
    """The answer to a request for permission: one of its options, or that nobody chose."""
    from acp.schema import AllowedOutcome, DeniedOutcome, RequestPermissionResponse

    chosen = AllowedOutcome(outcome="selected", option_id=option) if option else DeniedOutcome(outcome="cancelled")
    return _line({"id": number, "result": _plain(RequestPermissionResponse(outcome=chosen))})


def not_offered(number: Any, method: str) -> bytes:
    """The answer to a call of something that was not offered."""
    return _line({"id": number, "error": {"code": -32601, "message": f"{method} is not offered"}})
