"""A model endpoint on loopback that plays a script, for tests that drive real agent programs.

It speaks the Anthropic Messages API, the OpenAI Responses API, OpenAI chat completions and Google's
generateContent, all with streaming.
"""

from tests.support.models.server import ModelServer, Request
from tests.support.models.turns import Call, Cut, Edit, Fail, Flood, Hang, Say, Shell, Tell, Turn, Write

__all__ = [
    "Call", "Cut", "Edit", "Fail", "Flood", "Hang", "ModelServer", "Request", "Say", "Shell", "Tell", "Turn", "Write",
]  # fmt: skip
