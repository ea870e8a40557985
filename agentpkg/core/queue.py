"""The merge queue's one order: which of the packages that wait for review lands before which. Pure."""

import heapq
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from agentpkg.core import schedule
from agentpkg.core.schedule import Candidate


@dataclass(frozen=True, slots=True)
class Placed:
    """A package's place in the queue.

    Attributes:
        reason: why it stands there, as one that asks would be answered.
    """

    wp: str
    reason: str


def order(
    waiting: Sequence[Candidate], dependencies: Mapping[str, Sequence[str]], under_way: Collection[str] = ()
) -> list[Placed]:  # fmt: skip
    """The packages in the order in which they land.

    A package comes after those of the queue that it depends on; then the higher priority comes first; among equals
    those whose checks run already, so that no work is thrown away; then the one that the longest remaining path of
    work waits for; then the name.

    Args:
        waiting: what waits for review, in any order.
        dependencies: the graph, whatever else is in it; without cycles.
        under_way: the packages that candidates have been made of.
    """
    inside = {one.wp: one for one in waiting}
    needs = {wp: _inside(wp, dependencies, inside) for wp in inside}
    left = {wp: set(found) for wp, found in needs.items()}
    ready = [(_key(one, under_way), wp) for wp, one in inside.items() if not left[wp]]
    heapq.heapify(ready)
    placed: list[Placed] = []
    while ready:
        wp = heapq.heappop(ready)[1]
        placed.append(Placed(wp, _reason(inside[wp], needs[wp], wp in under_way)))
        for other, open_ in left.items():
            if wp in open_:
                open_.remove(wp)
                if not open_:
                    heapq.heappush(ready, (_key(inside[other], under_way), other))
    return placed


def _key(one: Candidate, under_way: Collection[str]) -> tuple[int, bool, tuple[int, int, int, str]]:
    return (-one.priority, one.wp not in under_way, schedule.order(one))


def _inside(wp: str, dependencies: Mapping[str, Sequence[str]], inside: Collection[str]) -> list[str]:
    """The packages of the queue that one depends on, be it through others."""
    found: set[str] = set()
    seen: set[str] = set()
    left = list(dependencies.get(wp, ()))
    while left:
        need = left.pop()
        if need in seen:
            continue
        seen.add(need)
        if need in inside:
            found.add(need)
        left += dependencies.get(need, ())
    return sorted(found)


def _reason(one: Candidate, needs: Sequence[str], under_way: bool) -> str:
    parts = [f"depends on {', '.join(needs)}"] if needs else []
    if one.priority:
        parts.append(f"priority {one.priority}")
    if under_way:
        parts.append("its checks run already")
    behind = one.remaining.packages - 1
    if behind > 0:
        parts.append(f"{behind} package{'s' if behind > 1 else ''} wait{'s' if behind == 1 else ''} for it")
    return "; ".join(parts) or "by its name"
