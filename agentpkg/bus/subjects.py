"""Subjects and bodies of events: what may go on the wire, and what is made fit for it.

Subjects are ``<prefix>.feature.…`` and ``<prefix>.agent.…``, their tokens letters, digits, ``_`` and ``-``: the server
would store ``*`` and ``>`` in a published subject as they are, lose an empty token, and cut a client off above 4,096
bytes.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

#: the longest subject that is published, in characters
LONGEST = 255
#: the largest body, in bytes; below the stream's ``max_msg_size``
LARGEST = 200_000
#: what a text of a body that is too large is cut to, in characters
_CUT = 1_000

_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Unpublishable(ValueError):
    """An event that no server would take as it should, however often it is tried."""


def subject(prefix: str, name: str) -> str:
    """The full subject of an event.

    Args:
        name: without the prefix: ``feature.003-auth-system.wp.WP02.state.changed``.

    Raises:
        Unpublishable: a token is empty, too long or has other characters, or the whole is too long.
    """
    full = f"{prefix}.{name}"
    if len(full) > LONGEST or not all(_TOKEN.fullmatch(token) for token in full.split(".")):
        raise Unpublishable(f"not a subject: {full[:300]!r}")
    return full


def stream_name(prefix: str) -> str:
    """The stream that keeps a prefix's events."""
    return prefix


def stream_subjects(prefix: str) -> list[str]:
    """What the stream of a prefix takes: all events, and nothing else under the prefix."""
    return [f"{prefix}.feature.>", f"{prefix}.agent.>"]


def feature_subjects(prefix: str, feature: str | None) -> str:
    """The wildcard for a feature's own events, or for all events."""
    return f"{prefix}.feature.{feature}.>" if feature else f"{prefix}.>"


def body(payload: Mapping[str, Any]) -> bytes:
    """An event as JSON bytes; long texts of one that is too large are cut, and ``truncated`` says so.

    Raises:
        Unpublishable: it is too large even so.
    """
    data = _json(payload)
    if len(data) > LARGEST:
        cut = {key: value[:_CUT] if isinstance(value, str) else value for key, value in payload.items()}
        data = _json({**cut, "truncated": True})
    if len(data) > LARGEST:
        raise Unpublishable(f"an event of {len(data)} bytes")
    return data


def _json(payload: Mapping[str, Any]) -> bytes:
    # surrogates have no UTF-8; as escapes they survive
    text = json.dumps(payload, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace")
