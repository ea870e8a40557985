"""How a turn of an ACP agent ended, and whose fault it was where it did not end well."""

import json
import re
import time
from collections.abc import Mapping
from typing import Any

from agentpkg.harnesses import acp_goose
from agentpkg.harnesses.base import Fault, StreamEnd
from agentpkg.harnesses.faults import provider_message, retry_after
from agentpkg.harnesses.programs import mapping, short, whole

Said = Mapping[str, Any]

#: the protocol's code for "sign in first"
_SIGN_IN = -32000

#: kinds of errors that the adapters of Claude Code tell: its model's provider refused, or was out of reach
_REFUSED = ("rate_limit", "server_error", "overloaded")

#: how providers refuse a key (OpenAI, Anthropic, Google), where a program passes on their words and no code
_KEY_REFUSED = re.compile(
    r"\bincorrect api key\b|\binvalid[ _](?:x-)?api[ _-]key\b|\bapi key not valid\b|\bauthentication_error\b",
    re.IGNORECASE,
)

#: how programs say that they lost, or never had, the way to their provider
_OUT_OF_REACH = re.compile(
    r"\bcannot connect to api\b|\bconnection (?:was )?(?:closed|reset|refused|dropped)\b|\bsocket hang up\b"
    r"|\bECONN(?:RESET|REFUSED)\b|\bETIMEDOUT\b|\bfetch failed\b",
    re.IGNORECASE,
)

#: keys of what programs tell of an error beside its message: a name for it
_KINDS = {"errorKind", "errorName", "reason"}


def of_turn(reason: str, last: str, name: str) -> StreamEnd:
    """The end of a turn that was not an error of the protocol's.

    Args:
        reason: why it stopped.
        last: what was said last.
        name: what the agent calls itself.
    """
    trouble = acp_goose.trouble(last) if name == acp_goose.NAME else None
    if trouble is not None:
        return error(trouble, "provider" if acp_goose.refused(trouble) else None)
    bad = reason in ("refusal", "max_tokens", "max_turn_requests")
    return StreamEnd(error=bad, text=f"it stopped: {reason}" if bad else short(last))


def of_error(said: Said) -> StreamEnd:
    """The end of a turn, or of what comes before it, by an error of the protocol's."""
    text = error_text(said)
    return error(text, _fault(said, text))


def error(text: str, fault: Fault | None = None) -> StreamEnd:
    """An end with an error, which is the provider's where the text says so and nothing else is known."""
    whose = fault or ("provider" if provider_message([text]) else "agent")
    return StreamEnd(error=True, text=short(text), fault=whose, retry_after=retry_after([text], time.time()))


def _fault(error: Said, text: str) -> Fault:
    """Whose it is; Gemini puts the status of HTTP where the protocol's own codes are negative."""
    code = error.get("code")
    data = mapping(error.get("data"))
    refused = (
        data.get("errorKind") in _REFUSED
        or data.get("reason") == "credits_exhausted"
        or code == 429
        or 500 <= whole(code) < 600
    )
    if refused or provider_message([text]) or _OUT_OF_REACH.search(text):
        return "provider"
    signed_out = code in (_SIGN_IN, 401, 403) or data.get("errorName") == "ProviderAuthError"
    return "environment" if signed_out or _KEY_REFUSED.search(text) else "agent"


def error_text(error: Said) -> str:
    """What an error says to people."""
    data = error.get("data")
    more = data if isinstance(data, str) else mapping(data).get("message") or mapping(data).get("details") or ""
    if not more and data and not _KINDS & mapping(data).keys():
        more = json.dumps(data, default=str)
    status = whole(error.get("code"))
    said = f"the model's provider answered {status}" if status >= 400 else ""
    # the protocol's name for its code says nothing where more follows
    message = str(error.get("message") or "it failed").removeprefix("Internal error: ")
    return ": ".join(part for part in (said, message, str(more)) if part)
