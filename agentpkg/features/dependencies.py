"""Dependencies judged: do they name something, do they go round in a circle, within a feature and across features."""

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from agentpkg.core.errors import BadInput
from agentpkg.core.graph import cycles, full_name, local_name
from agentpkg.core.model import Feature, Problem
from agentpkg.features.naming import listed, resolve_name
from agentpkg.features.parse import Parsed

_MOST_EDGES = 12


@dataclass(frozen=True, slots=True)
class Draft:
    """A feature as read, before its dependencies are looked at.

    Attributes:
        feature: all that its own files say.
        files: every work package file, good or bad.
        registered: packages that the ledger knows; their files may have vanished.
    """

    feature: Feature
    files: tuple[Parsed, ...] = ()
    registered: frozenset[str] = field(default_factory=frozenset)

    @property
    def ids(self) -> set[str]:
        """Everything that may be depended on."""
        return {file.id for file in self.files if file.id} | self.registered

    def others(self) -> set[str]:
        """The features that this one depends on."""
        return {name.partition("/")[0] for file in self.files for name, _ in file.dependencies if "/" in name}


Lookup = Callable[[str], Draft | None]


def reachable(start: Draft, lookup: Lookup) -> dict[str, Draft]:
    """The feature and all that it depends on, directly or not, by id."""
    found: dict[str, Draft] = {start.feature.id: start}
    waiting = [start]
    while waiting:
        for other in sorted(waiting.pop().others() - found.keys()):
            draft = lookup(other)
            if draft is not None:
                found[other] = draft
                waiting.append(draft)
    return found


def dependency_problems(draft: Draft, known: Mapping[str, Draft], all_ids: Collection[str]) -> list[Problem]:
    """What is wrong with the dependencies of one feature.

    Args:
        draft: the feature.
        known: it and all features that :func:`reachable` finds from it.
        all_ids: every feature there is, for hints.
    """
    ids = {feature: other.ids for feature, other in known.items()}
    missing = [_missing(draft.feature.id, edge, ids, all_ids) for edge in _edges(draft)]
    return [*(problem for problem in missing if problem), *_cycle_problems(draft, known)]


def _edges(draft: Draft) -> Iterable[tuple[Parsed, str, int]]:
    return ((file, name, line) for file in draft.files for name, line in file.dependencies)


def _missing(
    own: str, edge: tuple[Parsed, str, int], known: Mapping[str, Collection[str]], all_ids: Collection[str]
) -> Problem | None:
    file, name, line = edge
    feature, _, wp = full_name(name, own).partition("/")
    if feature not in known:
        return Problem(file.file, line, name, f"a dependency on a feature that is missing; {_meant(feature, all_ids)}")
    if wp in known[feature]:
        return None
    has = listed(sorted(known[feature])) or "no work packages"
    return Problem(file.file, line, name, f"a dependency on a work package that is missing; {feature} has {has}")


def _meant(feature: str, all_ids: Collection[str]) -> str:
    near = [one for one in all_ids if one == _resolved(feature, all_ids)]
    near = near or difflib.get_close_matches(feature, sorted(all_ids), n=1)
    return f"is {near[0]} meant?" if near else f"there are {listed(sorted(all_ids))}"


def _resolved(feature: str, all_ids: Collection[str]) -> str | None:
    try:
        return resolve_name(all_ids, feature)
    except BadInput:
        return None


def _cycle_problems(draft: Draft, known: Mapping[str, Draft]) -> list[Problem]:
    graph: dict[str, list[str]] = {}
    places: dict[tuple[str, str], tuple[str, int]] = {}
    for feature, other in known.items():
        for file, name, line in _edges(other):
            node, need = full_name(file.id, feature), full_name(name, feature)
            graph.setdefault(node, []).append(need)
            places.setdefault((node, need), (file.file, line))
    own = f"{draft.feature.id}/"
    rings = [ring for ring in cycles(graph) if any(node.startswith(own) for node in ring)]
    return [_cycle_problem(draft.feature.id, ring, places) for ring in rings]


def _cycle_problem(feature: str, ring: Sequence[str], places: Mapping[tuple[str, str], tuple[str, int]]) -> Problem:
    edges = list(pairwise(ring))
    first = next(i for i, (node, _) in enumerate(edges) if node.startswith(f"{feature}/"))
    edges = [*edges[first:], *edges[:first]]
    names = [local_name(node, feature) for node, _ in edges]
    steps = [_step(feature, edge, places[edge]) for edge in edges[:_MOST_EDGES]]
    if len(edges) > _MOST_EDGES:
        steps.append(f"and {len(edges) - _MOST_EDGES} more")
    shown = names[:_MOST_EDGES] + (["…"] if len(edges) > _MOST_EDGES else []) + [names[0]]
    file, line = places[edges[0]]
    return Problem(file, line, " -> ".join(shown), f"a cycle: {', '.join(steps)}; take one of these dependencies out")


def _step(feature: str, edge: tuple[str, str], place: tuple[str, int]) -> str:
    return f"{local_name(edge[0], feature)} depends on {local_name(edge[1], feature)} ({place[0]}:{place[1]})"
