"""The merge queue as a person reads it."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from agentpkg.cli import render
from agentpkg.cli.render import Part, line
from agentpkg.cli.render_package import some

Json = Mapping[str, Any]

_STYLES = {"passed": "green", "approved": "green", "landing": "green", "failed": "red", "rejected": "red",
           "checking": "yellow", "person": "yellow"}  # fmt: skip
_WORDS = {"person": "waits for a person"}


def listed(queue: Sequence[Json]) -> list[Text]:
    """Every package in it, by feature, with its place, how far it is, and why it stands there."""
    if not queue:
        return [line("Nothing waits to land.")]
    lines: list[Text] = []
    for feature in dict.fromkeys(one["feature"] for one in queue):
        rows = [one for one in queue if one["feature"] == feature]
        head = line((feature, "bold"), (f"  lands on {rows[0]['target']}", "dim"))
        lines += [*([Text("")] if lines else []), head, *render.table([_row(one) for one in rows], "  ")]
    return lines


def _row(one: Json) -> Sequence[Part]:
    place = f"{one['place']}." if one["place"] else "-"
    state = str(one["state"])
    on = f" on {one['behind']}" if one["behind"] and state in ("checking", "passed", "failed") else ""
    on = f" as one of {some(one['batch'], 4)}" if one["batch"] else on
    why = f"{render.safe(one['reason'])}{_with(one)}"
    shown = (_WORDS.get(state, state) + on, _STYLES.get(state, ""))
    return place, (one["wp"], "bold"), render.safe(one["title"]), shown, (why, "dim")


def _with(one: Json) -> str:
    """Whether it touches what those before it touch."""
    if one["place"] in (None, 1):
        return ""
    if one["independent"]:
        return "; independent of those before it"
    return "; " + ", ".join(f"changes {some(share['paths'], 2)} as {share['wp']} does" for share in one["shares"][:3])
