"""What a limit is, and what it looks at."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from agentpkg.proc import Load


@dataclass(frozen=True, slots=True)
class Usage:
    """What limits look at; all times are of one monotonic clock, in seconds.

    Attributes:
        started: when the agent was started.
        now: the present.
        heard: when it last wrote to a stream.
        pid: the agent's process.
        output: bytes it has written so far.
        load: what its processes take; measured about twice a second.
        ended: the agent's process has ended: the last look there is.
        used: tokens and the like, as far as the agent's program has told.
    """

    started: float
    now: float
    heard: float
    pid: int
    output: int
    load: Load = field(default_factory=Load)
    ended: bool = False
    used: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Breach:
    """A limit that was exceeded.

    Attributes:
        reason: the word by which records name it: the limit's key in the configuration, or ``timeout``.
        said: for people: what was used and what is allowed.
        urgent: there is no time for being polite: what it takes grows while it is asked to stop.
    """

    reason: str
    said: str
    urgent: bool = False

    def __str__(self) -> str:
        return f"{self.reason}: {self.said}" if self.said else self.reason


class Limit(Protocol):
    """One bound on a session."""

    def exceeded(self, usage: Usage) -> Breach | None:
        """How the session exceeds it, None while all is well; asked several times a second, so it has to be quick."""
