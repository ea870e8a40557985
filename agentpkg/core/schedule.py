"""Which ready packages start first, and when all would be finished."""

import heapq
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from agentpkg.core.graph import Dependencies, Length, dependents, in_order, remaining_paths

_NOTHING = Length(0, 0)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A ready package that waits for a free slot.

    Attributes:
        wp: its name.
        priority: higher starts first.
        remaining: the longest path of work that begins with it.
    """

    wp: str
    priority: int = 0
    remaining: Length = _NOTHING


def order(candidate: Candidate) -> tuple[int, int, int, str]:
    """The sort key of the only order there is: priority, then the longest remaining path, then the name."""
    return (-candidate.priority, -candidate.remaining.seconds, -candidate.remaining.packages, candidate.wp)


def choose(ready: Sequence[Candidate], running: int, capacity: int) -> list[str]:
    """The packages to start now.

    Args:
        ready: what may start.
        running: how many run already.
        capacity: how many may run at once.
    """
    free = max(0, capacity - running)
    return [candidate.wp for candidate in sorted(ready, key=order)[:free]]


def forecast(
    dependencies: Dependencies,
    seconds: Mapping[str, int],
    over: Container[str],
    jobs: int,
    priorities: Mapping[str, int] | None = None,
) -> int:
    """Estimated seconds until all is finished, with ``jobs`` packages at a time.

    List scheduling in the order of :func:`choose` (R. L. Graham, 1969): never more than twice the best there is, and
    what the dispatcher really does. A package without an estimate counts no seconds; with as many jobs as packages the
    result is the estimate of the critical path.

    Args:
        dependencies: the graph, without cycles.
        seconds: the estimates there are; for a package that runs, what is left of it.
        over: packages that need no more work, done or cancelled.
        jobs: packages at a time, at least one.
        priorities: higher first; 0 for those not named.
    """
    paths = remaining_paths(dependencies, seconds, over)
    left = [node for node in in_order(dependencies) if node not in over]
    candidates = {node: Candidate(node, (priorities or {}).get(node, 0), paths[node]) for node in left}
    return _simulate(candidates, _waits(left, dependencies), dependents(dependencies), seconds, max(1, jobs))


def _waits(left: Sequence[str], dependencies: Dependencies) -> dict[str, int]:
    inside = set(left)
    return {node: len(inside.intersection(dependencies[node])) for node in left}


def _simulate(
    candidates: Mapping[str, Candidate],
    waits: dict[str, int],
    behind: Mapping[str, Sequence[str]],
    seconds: Mapping[str, int],
    jobs: int,
) -> int:
    now = 0
    queue = [(order(candidates[node]), node) for node, open_ in waits.items() if not open_]
    heapq.heapify(queue)
    running: list[tuple[int, str]] = []
    while queue or running:
        while queue and len(running) < jobs:
            node = heapq.heappop(queue)[1]
            heapq.heappush(running, (now + seconds.get(node, 0), node))
        now, ended = heapq.heappop(running)
        for node in behind[ended]:
            if node in waits:
                waits[node] -= 1
                if not waits[node]:
                    heapq.heappush(queue, (order(candidates[node]), node))
    return now
