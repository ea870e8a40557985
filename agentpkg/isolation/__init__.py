"""Levels of isolation, best first: what stands between an agent and the rest of the machine."""

from collections.abc import Mapping

from agentpkg.core.errors import Lacking
from agentpkg.isolation.base import Isolation, Place, Probe, Wrapped
from agentpkg.isolation.basic import Basic

__all__ = ["ISOLATIONS", "LEVELS", "Isolation", "Place", "Probe", "Wrapped", "choose", "probe_all"]

#: every level's name, best first
LEVELS = ("strong", "medium", "basic")

#: the levels there are
ISOLATIONS: Mapping[str, Isolation] = {level.name: level for level in (Basic(),)}


def probe_all() -> dict[str, Probe]:
    """What each level says of this machine, best first."""
    missing = Probe(False, "this version of agentpkg does not have it")
    return {name: ISOLATIONS[name].probe() if name in ISOLATIONS else missing for name in LEVELS}


def choose(minimum: str = "basic") -> tuple[Isolation, Probe]:
    """The best level that works here, and what its probe said.

    Args:
        minimum: the least level that the user accepts.

    Raises:
        Lacking: when only lesser ones work.
    """
    probes = probe_all()
    best = next(name for name in LEVELS if probes[name].works)
    if LEVELS.index(best) > LEVELS.index(minimum):
        raise Lacking(
            f"isolation {minimum} is required, but this machine has only {best}: {probes[minimum].detail}",
            probes[minimum].fix or f"set isolation.minimum to {best} in .kittify/config.yaml if that is enough",
            code="isolation_unavailable",
        )
    return ISOLATIONS[best], probes[best]
