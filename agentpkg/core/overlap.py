"""Packages that own the same files, and which of them goes first. Pure.

Two packages that may change the same file would conflict if they worked side by side. So the one waits for the other,
as far as their dependencies have not put them in order anyway. Who comes first is decided by one order of all packages:
dependencies and stages, then priority, then id. All edges follow it, so there is never a cycle.
"""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations, product

from agentpkg.core.globs import candidates, common_path
from agentpkg.core.graph import Dependencies, dependents
from agentpkg.core.model import Feature
from agentpkg.core.patterns import Patterns
from agentpkg.core.stages import in_stages


@dataclass(frozen=True, slots=True)
class Behind:
    """A package that goes first, and why.

    Attributes:
        wp: which one.
        pattern: what it owns; ``own`` what the one behind it owns.
        path: an example of a path that both may change.
    """

    wp: str
    pattern: str
    own: str
    path: str

    @property
    def reason(self) -> str:
        """In words."""
        if self.pattern == self.own:
            return f"both own {self.own}"
        return f"it owns {self.pattern}, this one {self.own}: both may change {self.path}"


def behind(feature: Feature) -> dict[str, tuple[Behind, ...]]:
    """For each package that has to wait for others by what they own: those, in the order in which they go.

    A package without ``owned_files`` claims nothing, and waits for nobody. A feature whose dependencies are circular
    has no order.
    """
    graph = in_stages(feature, {wp: package.dependencies for wp, package in feature.packages.items()})
    line = _line(graph, {wp: package.priority for wp, package in feature.packages.items()})
    found: dict[str, list[Behind]] = {}
    for (first, second), (pattern, own, path) in _shared(feature, line, _before(line, graph)).items():
        found.setdefault(second, []).append(Behind(first, pattern, own, path))
    place = {wp: at for at, wp in enumerate(line)}
    return {wp: tuple(sorted(those, key=lambda one: place[one.wp])) for wp, those in sorted(found.items())}


def _line(graph: Dependencies, priorities: Mapping[str, int]) -> list[str]:
    """The packages in an order that keeps all dependencies: priority, then id, among those that may come next."""
    left = {wp: len({need for need in needs if need in graph}) for wp, needs in graph.items()}
    after = dependents(graph)
    waiting = [(-priorities.get(wp, 0), wp) for wp, count in left.items() if not count]
    heapq.heapify(waiting)
    order: list[str] = []
    while waiting:
        wp = heapq.heappop(waiting)[1]
        order.append(wp)
        for other in after[wp]:
            left[other] -= 1
            if not left[other]:
                heapq.heappush(waiting, (-priorities.get(other, 0), other))
    return order


def _before(line: Sequence[str], graph: Dependencies) -> dict[str, int]:
    """For each package, all it depends on, directly or not: a bit for each place in the line."""
    place = {wp: at for at, wp in enumerate(line)}
    found: dict[str, int] = {}
    for wp in line:
        bits = 0
        for need in graph[wp]:
            if need in place:
                bits |= found[need] | 1 << place[need]
        found[wp] = bits
    return found


def _shared(
    feature: Feature, line: Sequence[str], before: Mapping[str, int]
) -> dict[tuple[str, str], tuple[str, str, str]]:  # fmt: skip
    """The pairs ``(first, second)`` in no other order that may change the same path: what each owns, and the path."""
    place = {wp: at for at, wp in enumerate(line)}
    owners = _owners({wp: feature.packages[wp].owned_files for wp in line})
    claimed = cache(lambda wp: Patterns(feature.packages[wp].owned_files))
    found: dict[tuple[str, str], tuple[str, str, str]] = {}
    pairs = [*((pattern, pattern) for pattern, wps in owners.items() if len(wps) > 1), *candidates(list(owners))]
    for mine, theirs in pairs:
        path = common_path(mine, theirs)
        if path is None:
            continue
        ones, others = ([wp for wp in owners[pattern] if path in claimed(wp)] for pattern in (mine, theirs))
        for one, other in combinations(ones, 2) if mine == theirs else product(ones, others):
            first, second = (one, other) if place[one] < place[other] else (other, one)
            if one != other and not before[second] >> place[first] & 1 and (first, second) not in found:
                found[first, second] = (mine, theirs, path) if first == one else (theirs, mine, path)
    return found


def _owners(owned: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Who claims what each pattern includes."""
    owners: dict[str, list[str]] = {}
    for wp, patterns in owned.items():
        for pattern in dict.fromkeys(patterns):
            if not pattern.startswith(("!", "#")):
                owners.setdefault(pattern, []).append(wp)
    return owners
