"""What a session may use up: one small class each. The runner keeps a list of them and knows none by name."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Usage:
    """What limits look at; all times are of one monotonic clock, in seconds.

    Attributes:
        started: when the agent was started.
        now: the present.
        heard: when it last wrote to a stream.
        pid: the agent's process.
        output: bytes it has written so far.
    """

    started: float
    now: float
    heard: float
    pid: int
    output: int


class Limit(Protocol):
    """One bound on a session."""

    def exceeded(self, usage: Usage) -> str | None:
        """The reason to stop the session, as its record will name it, None while all is well."""


@dataclass(frozen=True, slots=True)
class WallTime:
    """The longest a session may take: ``timeout``."""

    seconds: float

    def exceeded(self, usage: Usage) -> str | None:
        """``timeout`` when it has taken longer."""
        return "timeout" if usage.now - usage.started >= self.seconds else None


@dataclass(frozen=True, slots=True)
class Silence:
    """The longest an agent may write nothing: ``silence``."""

    seconds: float

    def exceeded(self, usage: Usage) -> str | None:
        """``silence`` when nothing was heard of it for longer."""
        return "silence" if usage.now - usage.heard >= self.seconds else None
