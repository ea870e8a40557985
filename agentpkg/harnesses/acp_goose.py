"""What goose says in words of its own where the protocol has others.

It ends a turn that the model's provider broke off like one that ended well, with a last message that it writes itself.
To a client that wants to know it tells in an extension what each answer used, and what it gives up.
"""

from collections.abc import Mapping
from typing import Any

from agentpkg.harnesses.programs import mapping

#: what it calls itself
NAME = "goose"

#: capability of a client that wants its updates
WANTED: Mapping[str, Any] = {"goose": {"customNotifications": True}}

#: the method of its updates
UPDATE = "_goose/unstable/session/update"

#: how its messages about errors end
_CLOSINGS = (
    "Please retry if you think this is a transient or recoverable error.",
    "Please resend your message to try again.",
    "Please resend your message to continue.",
)

#: how errors begin that are the provider's
_REFUSED = ("Rate limit exceeded", "Server error", "Network error")


def trouble(text: str) -> str | None:
    """The error that a message of its own, or a notice, tells; None where it tells none."""
    text = text.strip()
    closing = next((one for one in _CLOSINGS if text.endswith(one)), None)
    if closing is not None:
        return text.removesuffix(closing).strip().removeprefix("Ran into this error: ").removesuffix(".")
    return text if text.startswith("Unable to continue: ") else None


def refused(trouble: str) -> bool:
    """Whether an error is the provider's."""
    return trouble.startswith(_REFUSED)


def notice(update: Mapping[str, Any]) -> str:
    """What an update says to people; empty where it says nothing."""
    return str(mapping(update.get("status")).get("message") or "")
