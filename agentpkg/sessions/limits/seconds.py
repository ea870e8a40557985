"""Bounds on the clock: how long a session may take, and how long it may say nothing."""

from dataclasses import dataclass

from agentpkg.sessions.limits.base import Breach, Usage


@dataclass(frozen=True, slots=True)
class WallTime:
    """The longest a session may take: ``timeout``."""

    seconds: float

    def exceeded(self, usage: Usage) -> Breach | None:
        """``timeout`` when it has taken longer."""
        taken = usage.now - usage.started
        if usage.ended or taken < self.seconds:
            return None
        return Breach("timeout", f"it outlived its time: it has run for {taken:.0f} s, the limit is {self.seconds:g}")


@dataclass(frozen=True, slots=True)
class Silence:
    """The longest an agent may write nothing: ``silence``."""

    seconds: float

    def exceeded(self, usage: Usage) -> Breach | None:
        """``silence`` when nothing was heard of it for longer."""
        quiet = usage.now - usage.heard
        if usage.ended or quiet < self.seconds:
            return None
        return Breach("silence", f"nothing was heard of it for {quiet:.0f} s, the limit is {self.seconds:g}")
