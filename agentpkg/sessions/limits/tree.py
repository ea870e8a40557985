"""Bounds on what all processes of a session take together: memory, their number, processor time."""

from dataclasses import dataclass, field

from agentpkg.proc import Load, fair_memory
from agentpkg.sessions.limits.base import Breach, Usage


@dataclass
class Memory:
    """The most memory that its processes may take, in bytes.

    The sum of their resident sets is looked at first, as it costs nothing. It counts shared pages more than once, so
    only what is too much with such pages divided as well is a breach.
    """

    most: int
    _judged: Load = field(default_factory=Load)

    def exceeded(self, usage: Usage) -> Breach | None:
        """``memory`` when they take more."""
        if usage.load.memory <= self.most or usage.load is self._judged:
            return None
        self._judged = usage.load
        taken = fair_memory(usage.load.members)
        if taken <= self.most:
            return None
        said = f"its processes took {taken} bytes of memory, the limit is {self.most}"
        return Breach("memory", said, urgent=True)


@dataclass(frozen=True, slots=True)
class Processes:
    """The most processes it may have at once; those that ended and nobody waited for count too."""

    most: int

    def exceeded(self, usage: Usage) -> Breach | None:
        """``processes`` when there are more."""
        count = usage.load.processes
        if count <= self.most:
            return None
        return Breach("processes", f"it had {count} processes at once, the limit is {self.most}", urgent=True)


@dataclass(frozen=True, slots=True)
class Cpu:
    """The most seconds of processor time that its processes may use, ended ones included."""

    most: int

    def exceeded(self, usage: Usage) -> Breach | None:
        """``cpu`` when they have used more."""
        used = usage.load.cpu
        if used <= self.most:
            return None
        return Breach("cpu", f"its processes used {used:.1f} s of processor time, the limit is {self.most}")
