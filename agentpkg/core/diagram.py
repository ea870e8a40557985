"""The dependency graph of a feature for people and for other programs: text, mermaid, dot, JSON-ready values."""

import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agentpkg.core.graph import critical_path, dependents, in_order, open_dependencies
from agentpkg.core.model import Feature, State
from agentpkg.core.overlap import Behind, behind
from agentpkg.core.stages import in_stages

#: deeper trees are drawn with the longest branch straight down, see :func:`text`
_DEEPEST_INDENT = 12
_WIDEST_LABEL = 72
_MOST_NAMED = 8


@dataclass(frozen=True, slots=True)
class Node:
    """A work package in a diagram.

    Attributes:
        blocked_by: dependencies that are still open.
        ready: planned, with nothing open.
        stage: the stage it belongs to.
        behind: packages that own the same files, go first and are not over yet.
    """

    id: str
    title: str
    state: State
    ready: bool
    dependencies: tuple[str, ...]
    blocked_by: tuple[str, ...]
    dependents: tuple[str, ...]
    estimate_seconds: int | None = None
    stage: str | None = None
    behind: tuple[Behind, ...] = ()

    @property
    def status(self) -> str:
        """The state as a person wants it: a planned package is ``ready`` or ``planned``."""
        return "ready" if self.ready else str(self.state)


@dataclass(frozen=True, slots=True)
class GraphView:
    """A feature's graph, its nodes in an order in which they could be done."""

    feature: str
    title: str
    nodes: tuple[Node, ...]
    critical_path: tuple[str, ...]
    estimate_seconds: int


def view(
    feature: Feature, states: Mapping[str, State], done: Container[str] = (), waits: Container[str] = ()
) -> GraphView:  # fmt: skip
    """The graph of a feature as it stands.

    Args:
        feature: without problems: a circular graph has no order.
        states: the packages' current states; planned where there is none.
        done: packages of other features that are done, as ``002-billing/WP04``.
        waits: packages whose stages wait for others.
    """
    home = {wp: stage.name for stage in feature.stages for wp in stage.packages}
    graph = {wp: package.dependencies for wp, package in feature.packages.items()}
    current = {wp: states.get(wp, State.PLANNED) for wp in graph}
    after = dependents(graph)
    finished = {wp for wp, state in current.items() if state is State.DONE}
    over = {wp for wp, state in current.items() if state in (State.DONE, State.CANCELLED)}
    first = behind(feature)
    nodes = []
    for wp in in_order(graph):
        package, state = feature.packages[wp], current[wp]
        open_ = tuple(need for need in open_dependencies(wp, graph, finished) if need not in done)
        ready = state is State.PLANNED and not open_ and wp not in waits
        waits_behind = tuple(one for one in first.get(wp, ()) if one.wp not in over) if wp not in over else ()
        nodes.append(Node(
            wp, package.title, state, ready, graph[wp], open_, tuple(after[wp]), package.estimate_seconds,
            home.get(wp), waits_behind,
        ))  # fmt: skip
    seconds = {wp: package.estimate_seconds or 0 for wp, package in feature.packages.items()}
    path, total = critical_path(in_stages(feature, graph), seconds, over)
    return GraphView(feature.id, feature.title, tuple(nodes), tuple(path), total)


def as_json(graph: GraphView) -> dict[str, Any]:
    """The graph as plain values: nodes named as in ``status --json``, edges from a dependency to its dependent."""
    return {
        "feature": {"id": graph.feature, "title": graph.title},
        "nodes": [
            {
                "id": node.id,
                "title": node.title,
                "state": str(node.state),
                "ready": node.ready,
                "dependencies": list(node.dependencies),
                "blocked_by": list(node.blocked_by),
                "dependents": list(node.dependents),
                "estimate_seconds": node.estimate_seconds,
                "stage": node.stage,
            }
            for node in graph.nodes
        ],
        "edges": [{"from": need, "to": node} for need, node in _edges(graph)],
        "order": [{"from": one.wp, "to": wp, "reason": one.reason} for wp, one in _order(graph)],
        "critical_path": list(graph.critical_path),
        "estimate_seconds": graph.estimate_seconds,
    }


def duration(seconds: int) -> str:
    """Seconds as a person says them: ``3d 4h``, ``25m``, ``40s``; a day has 24 hours."""
    parts = [(seconds // 86400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "m"), (seconds % 60, "s")]
    return " ".join(f"{number}{unit}" for number, unit in [part for part in parts if part[0]][:2]) or "0s"


# --------------------------------------------------------------------------- text


def text(graph: GraphView) -> str:
    """The graph as a tree.

    Each package stands once, below the last of its dependencies to be reached on the longest way from a start. The
    packages that another dependency leads to as well are named there in a line ``also →``. A tree more than twelve
    levels deep is drawn with the heaviest branch of each package straight below it after a ``↓``, so that a chain of a
    thousand packages is a column, and no indent is deeper than the binary logarithm of their number.
    """
    if not graph.nodes:
        return "no work packages\n"
    tree = _Tree(graph)
    width = max(len(label) for label, _ in tree.rows if label is not None)
    lines = [f"{label:<{width}}  {rest}".rstrip() for label, rest in tree.rows]
    return "\n".join([*lines, *_summary(graph)]) + "\n"


def _summary(graph: GraphView) -> list[str]:
    states = [node.state for node in graph.nodes]
    cancelled = states.count(State.CANCELLED)
    lines = [
        "",
        f"{states.count(State.DONE)} of {len(states)} done" + (f", {cancelled} cancelled" if cancelled else ""),
    ]
    if graph.critical_path:
        time = f" ({duration(graph.estimate_seconds)})" if graph.estimate_seconds else ""
        lines.append(f"critical path: {_named(graph.critical_path, ' → ', 3 * _MOST_NAMED)}{time}")
    return lines


def _named(names: Sequence[str], between: str = ", ", most: int = _MOST_NAMED) -> str:
    more = len(names) - most
    return between.join(names[:most]) + (f"{between}… {more} more" if more > 0 else "")


class _Tree:
    """Rows of a drawn tree: a label with its branches, and what stands right of it."""

    def __init__(self, graph: GraphView) -> None:
        self.nodes = {node.id: node for node in graph.nodes}
        self.depth: dict[str, int] = {}
        self.parent: dict[str, str | None] = {}
        self.children: dict[str | None, list[str]] = {None: []}
        self._place()
        self.size = self._sizes()
        self.straight = max(self.depth.values()) >= _DEEPEST_INDENT
        self.rows: list[tuple[str, str]] = []
        self._draw()

    def _place(self) -> None:
        for node in self.nodes.values():
            inside = [need for need in node.dependencies if need in self.nodes]
            # the deepest dependency: below it, all others have been drawn or are on another branch
            parent = max(inside, key=lambda need: self.depth[need], default=None)
            self.parent[node.id] = parent
            self.depth[node.id] = 0 if parent is None else self.depth[parent] + 1
            self.children.setdefault(parent, []).append(node.id)

    def _sizes(self) -> dict[str, int]:
        size = dict.fromkeys(self.nodes, 1)
        for node in reversed(self.nodes):
            parent = self.parent[node]
            if parent is not None:
                size[parent] += size[node]
        return size

    def _draw(self) -> None:
        # (node, prefix of its own line, prefix of what is below it); the last one is drawn next
        waiting = [(root, "", "") for root in reversed(self.children[None])]
        while waiting:
            node, head, below = waiting.pop()
            self.rows.append((_clipped(f"{head}{node} {self.nodes[node].title}"), self._right(self.nodes[node])))
            below_children, straight = self._split(node)
            also = self._also(node)
            if also:
                more = "├" if below_children else "└"
                self.rows.append((f"{below}{more}╌ also → {_named(also)}", ""))
            last = len(below_children) - 1
            branches = [
                (child, f"{below}{'└─ ' if i == last else '├─ '}", f"{below}{'   ' if i == last else '│  '}")
                for i, child in enumerate(below_children)
            ]
            column = below[: len(head) - 2] if head.endswith("↓ ") else below
            waiting += [(child, f"{column}↓ ", f"{column}  ") for child in straight]
            waiting += reversed(branches)

    def _split(self, node: str) -> tuple[list[str], list[str]]:
        """The children to draw indented, and the one to draw straight below."""
        children = self.children.get(node, [])
        if not self.straight or not children:
            return children, []
        heaviest = max(children, key=lambda child: self.size[child])
        return [child for child in children if child != heaviest], [heaviest]

    def _also(self, node: str) -> list[str]:
        return [other for other in self.nodes[node].dependents if self.parent[other] != node]

    def _right(self, node: Node) -> str:
        others = [self._with_state(need) for need in node.blocked_by]
        waits = f"  waits for {_named(others)}" if others and node.state is not State.DONE else ""
        return f"{node.status}{waits}" + _after(node) + (f"  ({node.stage})" if node.stage else "")

    def _with_state(self, need: str) -> str:
        other = self.nodes.get(need)
        return f"{need} (cancelled)" if other and other.state is State.CANCELLED else need


def _after(node: Node) -> str:
    """The last of those that go first, and why: it goes after the others itself, as a rule."""
    if not node.behind:
        return ""
    more = f" and {len(node.behind) - 1} more" if len(node.behind) > 1 else ""
    return f"  after {node.behind[-1].wp}{more}: {node.behind[-1].reason}"


def _clipped(label: str) -> str:
    return label if len(label) <= _WIDEST_LABEL else label[: _WIDEST_LABEL - 1] + "…"


# --------------------------------------------------------------------------- mermaid and dot

_COLOURS = {
    "planned": "#e5e7eb",
    "ready": "#bfdbfe",
    "doing": "#fde68a",
    "for_review": "#ddd6fe",
    "done": "#bbf7d0",
    "blocked": "#fecaca",
    "cancelled": "#f3f4f6",
    "other": "#ffffff",
}


def mermaid(graph: GraphView) -> str:
    """The graph as a mermaid flowchart (https://mermaid.js.org/syntax/flowchart.html), one class per state."""
    lines = ["flowchart TD"]
    for stage, nodes in _by_stage(graph):
        lines += [f'    subgraph {_name(f"stage {stage}")}["{_html(stage)}"]'] if stage else []
        lines += [f'    {_name(node.id)}["{_html(f"{node.id} {node.title}")}"]:::{node.status}' for node in nodes]
        lines += ["    end"] if stage else []
    lines += [f'    {_name(other)}["{_html(other)}"]:::other' for other in _outside(graph)]
    lines += [f"    {_name(need)} --> {_name(node)}" for need, node in _edges(graph)]
    lines += [f'    {_name(one.wp)} -. "{_html(one.reason)}" .-> {_name(wp)}' for wp, one in _nearest(graph)]
    used = {node.status for node in graph.nodes} | ({"other"} if _outside(graph) else set())
    lines += [f"    classDef {state} fill:{_COLOURS[state]},stroke:#6b7280,color:#111827" for state in sorted(used)]
    return "\n".join(lines) + "\n"


def dot(graph: GraphView) -> str:
    """The graph in the DOT language (https://graphviz.org/doc/info/lang.html); the critical path is drawn bold."""
    path = set(zip(graph.critical_path, graph.critical_path[1:], strict=False))
    lines = [f"digraph {_quoted(graph.feature)} {{", "  node [shape=box, style=filled];"]
    for stage, nodes in _by_stage(graph):
        lines += [f"  subgraph {_quoted(f'cluster {stage}')} {{", f"  label={_quoted(stage)};"] if stage else []
        for node in nodes:
            label = _quoted(f"{node.id} {node.title}\n{node.status}")
            lines.append(f'  {_quoted(node.id)} [label={label}, fillcolor="{_COLOURS[node.status]}"];')
        lines += ["  }"] if stage else []
    lines += [f"  {_quoted(other)} [style=dashed];" for other in _outside(graph)]
    for need, name in _edges(graph):
        bold = " [penwidth=3]" if (need, name) in path else ""
        lines.append(f"  {_quoted(need)} -> {_quoted(name)}{bold};")
    for wp, one in _nearest(graph):
        lines.append(f"  {_quoted(one.wp)} -> {_quoted(wp)} [style=dashed, label={_quoted(one.reason)}];")
    return "\n".join([*lines, "}"]) + "\n"


def _by_stage(graph: GraphView) -> list[tuple[str | None, list[Node]]]:
    """The nodes by stage, in the order in which their first ones could be done."""
    found: dict[str | None, list[Node]] = {}
    for node in graph.nodes:
        found.setdefault(node.stage, []).append(node)
    return list(found.items())


def _edges(graph: GraphView) -> Iterable[tuple[str, str]]:
    return ((need, node.id) for node in graph.nodes for need in node.dependencies)


def _order(graph: GraphView) -> Iterable[tuple[str, Behind]]:
    """The edges that shared files add: a package, and one that goes before it."""
    return ((node.id, one) for node in graph.nodes for one in node.behind)


def _nearest(graph: GraphView) -> Iterable[tuple[str, Behind]]:
    """As :func:`_order`, without the edges that go past a package which is drawn between."""
    before = {node.id: {one.wp for one in node.behind} for node in graph.nodes}
    return ((wp, one) for wp, one in _order(graph) if not any(one.wp in before[other] for other in before[wp]))


def _outside(graph: GraphView) -> list[str]:
    own = {node.id for node in graph.nodes}
    return sorted({need for need, _ in _edges(graph)} - own)


def _name(node: str) -> str:
    """An identifier of mermaid's: word characters, a letter first."""
    return re.sub(r"^(?=\d)", "F", re.sub(r"\W", "_", node))


def _html(label: str) -> str:
    """Text inside a mermaid label: https://mermaid.js.org/syntax/flowchart.html#entity-codes-to-escape-characters"""
    return re.sub(r"[^\w .,:;/()—–'-]", lambda match: f"#{ord(match.group())};", label)


def _quoted(label: str) -> str:
    escaped = label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
