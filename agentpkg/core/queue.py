"""The merge queue's one order, which package lands before which, and who is judged together with whom. Pure."""

import heapq
from collections.abc import Collection, Container, Mapping, Sequence
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


@dataclass(frozen=True, slots=True)
class Link:
    """A package in a stack of candidates.

    Attributes:
        commit: its candidate, None where there is none.
        alone: it is judged by itself, whatever others are.
    """

    wp: str
    commit: str | None
    alone: bool = False


def batches(stack: Sequence[Link], size: int, red: Container[str]) -> list[tuple[Link, ...]]:
    """Which candidates of a stack are judged together, in order: as many as ``size`` by a run at the last one's commit.

    A batch whose last commit is known to fail is halved until it is not, or is of one. So of several the one that
    fails is found in as many runs as they can be halved; what comes behind waits for what comes of that.

    Args:
        stack: candidates, each on the one before it that has a commit.
        red: commits that have failed.
    """
    found: list[tuple[Link, ...]] = []
    at = 0
    while at < len(stack):
        whole = _batch(stack[at : at + max(size, 1)], red)
        part = whole
        while len(part) > 1 and part[-1].commit in red:
            part = part[: (len(part) + 1) // 2]
        found.append(part)
        if len(part) < len(whole):
            break
        at += len(part)
    return found


def _batch(links: Sequence[Link], red: Container[str]) -> tuple[Link, ...]:
    """The first of them, as far as they may be judged together; no further than a commit that has failed."""
    found: list[Link] = []
    for link in links:
        apart = link.alone or link.commit is None
        if apart and found:
            break
        found.append(link)
        if apart or link.commit in red:
            break
    return tuple(found)


def order(
    waiting: Sequence[Candidate], dependencies: Mapping[str, Sequence[str]], under_way: Collection[str] = (),
    passed_by: Mapping[str, Collection[str]] | None = None,
) -> list[Placed]:  # fmt: skip
    """The packages in the order in which they land.

    A package comes after those of the queue that it depends on; then the higher priority comes first; among equals
    those whose checks run already, so that no work is thrown away; then the one that the longest remaining path of
    work waits for; then the name.

    Args:
        waiting: what waits for review, in any order.
        dependencies: the graph, whatever else is in it; without cycles.
        under_way: the packages that candidates have been made of.
        passed_by: packages that are let through before a slow one, none of which depends on it.
    """
    inside = {one.wp: one for one in waiting}
    needs = {wp: _inside(wp, dependencies, inside) for wp in inside}
    passing = {wp: sorted(inside.keys() & set(others)) for wp, others in (passed_by or {}).items()}
    left = {wp: {*found, *passing.get(wp, ())} for wp, found in needs.items()}
    ready = [(_key(one, under_way), wp) for wp, one in inside.items() if not left[wp]]
    heapq.heapify(ready)
    placed: list[Placed] = []
    while ready:
        wp = heapq.heappop(ready)[1]
        placed.append(Placed(wp, _reason(inside[wp], needs[wp], wp in under_way, passing.get(wp, ()))))
        for other, open_ in left.items():
            if wp in open_:
                open_.remove(wp)
                if not open_:
                    heapq.heappush(ready, (_key(inside[other], under_way), other))
    return placed


def _key(one: Candidate, under_way: Collection[str]) -> tuple[int, bool, tuple[int, int, int, str]]:
    return (-one.priority, one.wp not in under_way, schedule.order(one))


def passing(
    slow: str, waiting: Collection[str], dependencies: Mapping[str, Sequence[str]], paths: Mapping[str, Collection[str]]
) -> frozenset[str]:
    """The packages that may land before a slow one: they neither depend on it nor change a path that it changes.

    Args:
        waiting: what waits to land.
        paths: what each of them changes.
    """
    mine = set(paths[slow])
    apart = {wp for wp in waiting if wp != slow and not mine & set(paths[wp])}
    return frozenset(wp for wp in apart if slow not in _inside(wp, dependencies, {slow}))


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


def _reason(one: Candidate, needs: Sequence[str], under_way: bool, passing: Sequence[str] = ()) -> str:
    parts = [f"depends on {', '.join(needs)}"] if needs else []
    if passing:
        parts.append(f"its checks take long: {', '.join(passing)} pass{'es' if len(passing) == 1 else ''} it")
    if one.priority:
        parts.append(f"priority {one.priority}")
    if under_way:
        parts.append("its checks run already")
    behind = one.remaining.packages - 1
    if behind > 0:
        parts.append(f"{behind} package{'s' if behind > 1 else ''} wait{'s' if behind == 1 else ''} for it")
    return "; ".join(parts) or "by its name"
