"""Levels of isolation, best first: what stands between an agent and the rest of the machine."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agentpkg.core.errors import Lacking
from agentpkg.isolation.base import Isolation, Network, Place, Probe, Room, Status, Wrapped
from agentpkg.isolation.basic import Basic
from agentpkg.isolation.medium import Medium
from agentpkg.isolation.remembered import remembered
from agentpkg.isolation.strong import Strong

__all__ = [
    "ISOLATIONS", "LEVELS", "Isolation", "Network", "Place", "Probe", "Room", "Status", "Walls", "Wrapped", "choose",
    "probe_all",
]  # fmt: skip

#: every level's name, best first
LEVELS = ("strong", "medium", "basic")

#: the levels there are
ISOLATIONS: Mapping[str, Isolation] = {level.name: level for level in (Strong(), Medium(), Basic())}


@dataclass(frozen=True, slots=True)
class Walls:
    """A level that works on this machine, and what its probe found: what a process is put inside with.

    Attributes:
        level: its name.
        facts: see :class:`Probe`.
        detail: one line for people: what it promises.
        warning: why it is no better, with the fix, where an agent has no walls and nobody asked for that.
    """

    level: str
    facts: Mapping[str, str] = field(default_factory=dict)
    detail: str = ""
    warning: str = ""

    @property
    def covers_git(self) -> bool:
        """Whether the private git dir appears in place of the repository's own."""
        return ISOLATIONS[self.level].covers_git

    @property
    def moves(self) -> bool:
        """Whether things can appear under another path than their own."""
        return ISOLATIONS[self.level].moves

    @property
    def network_over(self) -> str:
        """See :class:`Isolation`."""
        return ISOLATIONS[self.level].network_over

    @property
    def cuts_network(self) -> bool:
        """Whether nothing can be reached but through a :class:`Network`."""
        return ISOLATIONS[self.level].cuts_network

    def wrap(self, argv: tuple[str, ...], env: Mapping[str, str], place: Place) -> Wrapped:
        """The command that runs ``argv`` inside; see :meth:`Isolation.wrap`."""
        return ISOLATIONS[self.level].wrap(argv, env, place, self.facts)

    def wrap_room(self, argv: tuple[str, ...], env: Mapping[str, str], room: Room) -> Wrapped:
        """The command that runs ``argv`` in a copy of the project; see :meth:`Isolation.wrap_room`."""
        return ISOLATIONS[self.level].wrap_room(argv, env, room, self.facts)

    def reader(self, program: str, reads: tuple[str, ...], writes: tuple[str, ...]) -> tuple[str, ...]:
        """What stands before a command that reads what an agent wrote; see :meth:`Isolation.reader`."""
        return ISOLATIONS[self.level].reader(program, reads, writes, self.facts)


def probe_all(memory: Path | None = None) -> dict[str, Probe]:
    """What each level says of this machine, best first.

    Args:
        memory: the file that keeps what was found until the machine or the programs change; None: look anew.
    """
    return remembered(memory, {name: ISOLATIONS[name] for name in LEVELS if name in ISOLATIONS})


def choose(minimum: str = "basic", level: str | None = None, memory: Path | None = None) -> Walls:
    """The level to use: the best that works here, or the one that is asked for.

    Args:
        minimum: the least level that the user accepts.
        level: the level that the user asks for; None: the best.
        memory: as in :func:`probe_all`.

    Raises:
        Lacking: when only lesser ones work, or the one that is asked for does not, or is less than the minimum.
    """
    probes = probe_all(memory)
    best = level if level is not None and probes[level].works else None
    if level is None:
        best = next(name for name in LEVELS if name in probes and probes[name].works)
    if best is None:
        assert level is not None
        raise _missing(f"isolation {level} is asked for, but", probes[level])
    if LEVELS.index(best) > LEVELS.index(minimum):
        if level is not None:
            raise Lacking(
                f"isolation.level is {level}, which is less than isolation.minimum {minimum}",
                "correct one of the two in .kittify/config.yaml", code="isolation_unavailable",
            )  # fmt: skip
        raise _missing(f"isolation {minimum} is required, but this machine has only {best}:", probes[minimum])
    warning = "" if level is not None or best != LEVELS[-1] else _bare(probes[LEVELS[0]])
    return Walls(best, probes[best].facts, probes[best].detail, warning)


def _bare(best: Probe) -> str:
    return f"agents run without walls here, with all that you may do; {best.detail}; {best.fix}".removesuffix("; ")


def _missing(said: str, probe: Probe) -> Lacking:
    fix = probe.fix or "set isolation.minimum to less in .kittify/config.yaml if that is enough"
    return Lacking(f"{said} {probe.detail}", fix, code="isolation_unavailable")
