"""The dependency graph of work packages: what is ready, what a merge unblocks, what takes longest.

A node is a name such as ``WP02``, or ``002-billing/WP04`` for a package of another feature. A graph is a mapping
from each package to the names it depends on. Everything here is a function of plain values; no order of a mapping
or a set changes a result.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple

from agentpkg.core.model import State

Dependencies = Mapping[str, Sequence[str]]

#: more cycles than anybody wants to read at once
_MOST_CYCLES = 50


class Length(NamedTuple):
    """How long a path is: compared by seconds, then by packages.

    A package without an estimate weighs no seconds: nothing is made up. Where no estimates are given, paths are
    therefore compared by the number of their packages alone.
    """

    seconds: int
    packages: int

    def plus(self, seconds: int) -> "Length":
        """This path with one more package before it."""
        return Length(self.seconds + seconds, self.packages + 1)


def full_name(node: str, feature: str) -> str:
    """``WP02`` of ``003-auth`` is ``003-auth/WP02``; a name that has its feature stays."""
    return node if "/" in node else f"{feature}/{node}"


def local_name(node: str, feature: str) -> str:
    """``003-auth/WP02`` seen from ``003-auth`` is ``WP02``; names of other features stay."""
    return node.removeprefix(f"{feature}/")


def cycles(dependencies: Dependencies) -> list[list[str]]:
    """Circular dependencies as paths ``[A, B, A]``: A depends on B, which depends on A.

    Not every cycle of the graph (there may be exponentially many), but enough of them that taking one dependency
    out of each leaves none; at most fifty.
    """
    left = {node: list(dict.fromkeys(needs)) for node, needs in sorted(dependencies.items())}
    found: list[list[str]] = []
    while len(found) < _MOST_CYCLES and (cycle := _any_cycle(left)):
        found.append(cycle)
        left[cycle[0]].remove(cycle[1])
    return found


def _any_cycle(dependencies: Dependencies) -> list[str]:
    try:
        TopologicalSorter(dependencies).prepare()
    except CycleError as error:
        # graphlib names each node before the one that depends on it, and the first once more at the end
        ring = list(reversed(error.args[1]))[:-1]
        start = ring.index(min(ring))
        return [*ring[start:], *ring[:start], ring[start]]
    return []


def dependents(dependencies: Dependencies) -> dict[str, list[str]]:
    """For every name in the graph, the packages that depend on it directly, sorted."""
    out: dict[str, list[str]] = {node: [] for node in dependencies}
    for node in sorted(dependencies):
        for need in dict.fromkeys(dependencies[node]):
            out.setdefault(need, []).append(node)
    return out


def open_dependencies(wp: str, dependencies: Dependencies, done: Container[str]) -> list[str]:
    """What ``wp`` still waits for, in the order its file gives."""
    return [need for need in dict.fromkeys(dependencies.get(wp, ())) if need not in done]


def ready(dependencies: Dependencies, states: Mapping[str, State], done: Container[str]) -> list[str]:
    """The packages that may start: planned (as is one without a state), every dependency in ``done``; sorted."""
    return [node for node in sorted(dependencies) if _is_ready(node, dependencies, states, done)]


def _is_ready(wp: str, dependencies: Dependencies, states: Mapping[str, State], done: Container[str]) -> bool:
    planned = states.get(wp, State.PLANNED) is State.PLANNED and wp not in done
    return planned and not open_dependencies(wp, dependencies, done)


def in_order(dependencies: Dependencies) -> list[str]:
    """The packages with every dependency before its dependents, and sorted names among equals.

    Names that are only depended on (packages of other features) are left out.

    Raises:
        ValueError: for a graph with a cycle.
    """
    sorter = TopologicalSorter({node: [n for n in needs if n in dependencies] for node, needs in dependencies.items()})
    sorter.prepare()
    order: list[str] = []
    while sorter.is_active():
        layer = sorted(sorter.get_ready())
        order += layer
        sorter.done(*layer)
    return order


def remaining_paths(dependencies: Dependencies, seconds: Mapping[str, int], over: Container[str]) -> dict[str, Length]:
    """For every package, the longest path of unfinished work that begins with it: what waits behind it.

    Args:
        dependencies: the graph, without cycles.
        seconds: the estimates there are.
        over: packages that need no more work, done or cancelled; they have no path.
    """
    behind = dependents(dependencies)
    out: dict[str, Length] = {}
    for node in reversed(in_order(dependencies)):
        if node not in over:
            after = max((out[other] for other in behind[node] if other in out), default=Length(0, 0))
            out[node] = after.plus(seconds.get(node, 0))
    return out


def critical_path(
    dependencies: Dependencies, seconds: Mapping[str, int], over: Container[str]
) -> tuple[list[str], int]:
    """The longest path of unfinished work and its estimated seconds.

    Longest by estimated seconds, then by number of packages; a package without an estimate counts no seconds.

    Args:
        dependencies: the graph, without cycles.
        seconds: the estimates there are.
        over: packages that need no more work, done or cancelled.

    Returns:
        The packages in the order they have to be done, and the sum of their estimates; ``([], 0)`` when all is over.
    """
    left = [node for node in in_order(dependencies) if node not in over]
    if len(left) < 2:
        return left, sum(seconds.get(node, 0) for node in left)
    path = _longest_path(left, dependencies, seconds)
    return path, sum(seconds.get(node, 0) for node in path)


def _longest_path(left: Sequence[str], dependencies: Dependencies, seconds: Mapping[str, int]) -> list[str]:
    import networkx as nx

    inside = set(left)
    # one more than any path has packages, so that their number only decides between equal seconds
    scale = len(left) + 1
    graph: nx.DiGraph[str] = nx.DiGraph()
    for node in left:
        weight = seconds.get(node, 0) * scale + 1
        # the empty name comes before every package, and gives the first one of a path its weight
        for need in ["", *_inside(dependencies[node], inside)]:
            graph.add_edge(need, node, weight=weight)
    path: list[str] = nx.dag_longest_path(graph, weight="weight")
    return path[1:]


def _inside(needs: Iterable[str], inside: Container[str]) -> list[str]:
    return [need for need in needs if need in inside]
