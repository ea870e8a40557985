"""Bounds on what all live sessions of a repository take together.

Nobody owns them all, so each decides for itself, from what the others have said of themselves: of those that still
say something the one that takes the most stops, and the others wait for it. Two looks that differ by half a second may
at worst stop two.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from agentpkg.sessions.limits.base import Breach, Usage
from agentpkg.sessions.limits.disk import DiskMeter

#: seconds between two looks at the others
_LOOK = 0.5

#: seconds after which what another one said is old: it counts, but cannot be waited for
_OLD = 5.0


class Share(Protocol):
    """What one session has said of itself; ``agentpkg.sessions.pulse.Pulse`` is one."""

    @property
    def at(self) -> float:
        """When: seconds of the machine's monotonic clock."""

    @property
    def memory(self) -> int:
        """Bytes."""

    @property
    def processes(self) -> int:
        """How many."""

    @property
    def disk(self) -> int:
        """Bytes."""

    @property
    def stopping(self) -> str | None:
        """Why it is being stopped, if it is."""


@dataclass
class Whole:
    """The most that all sessions may take together.

    Args:
        bounds: ``memory`` and ``disk`` in bytes, ``processes``, each where there is a bound.
        me: the session's id.
        others: what the other live sessions have said, by id.
        disk: measures this one's folders.
    """

    bounds: Mapping[str, int]
    me: str
    others: Callable[[], Mapping[str, Share]]
    disk: DiskMeter
    _next: float = 0.0

    def exceeded(self, usage: Usage) -> Breach | None:
        """``run_memory``, ``run_processes`` or ``run_disk`` when all take more and this one takes the most of it."""
        if usage.ended or usage.now < self._next:
            return None
        self._next = usage.now + _LOOK
        if "disk" in self.bounds:
            self.disk.step()
        own = {"memory": usage.load.memory, "processes": usage.load.processes, "disk": self.disk.used}
        others = self.others()
        return next((b for name in self.bounds if (b := self._judge(name, own[name], others)) is not None), None)

    def _judge(self, name: str, own: int, others: Mapping[str, Share]) -> Breach | None:
        shares = {session: int(getattr(share, name)) for session, share in others.items()}
        total, most = own + sum(shares.values()), self.bounds[name]
        fresh = {session for session, share in others.items() if time.monotonic() - share.at < _OLD}
        waited_for = any(others[session].stopping for session in fresh)
        largest = max([(own, self.me), *((shares[session], session) for session in fresh)])
        if total <= most or waited_for or largest[1] != self.me:
            return None
        unit = "processes" if name == "processes" else f"bytes of {name}"
        said = f"all sessions together took {total} {unit}, the limit is {most}; this one took the most, {own}"
        return Breach(f"run_{name}", said, urgent=True)
