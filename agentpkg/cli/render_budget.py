"""What agents have spent, may spend and will have spent, and whose provider has closed, as ``status`` shows it."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from agentpkg.cli import render
from agentpkg.cli.render import Part, line

Json = Mapping[str, Any]


def lines(document: Json) -> list[Text]:
    """Nothing where nothing is known and nothing is bounded."""
    budget = document.get("budget") or {}
    found = [line("Parked: ", (f"{agent} until {until[:19].replace('T', ' ')} UTC, its provider refuses", "yellow"))
             for agent, until in (document.get("parked") or {}).items()]  # fmt: skip
    if not budget or not (budget["sessions"] or budget["caps"]):
        return found
    caps = budget["caps"].get("feature", {})
    parts: list[Part] = ["Spent: ", *_spent(budget, caps)]
    if any(value is not None for value in budget["expected"]["all"].values()):
        ahead, path = _amounts(budget["expected"]["all"]), _amounts(budget["expected"]["path"])
        parts.append((f"; still to come about {ahead} (critical path {path})", "dim"))
    told = [line(*parts)]
    if budget["used_up"]:
        told.append(line((f"  Budget used up: {budget['used_up']}", "red")))
    elif budget["exceeds"]:
        told.append(line(("  By this the budget will not last", "yellow")))
    return [*told, *found]


def _spent(budget: Json, caps: Json) -> Sequence[Part]:
    known = {unit: value for unit, value in budget["spent"].items() if value is not None}
    parts: list[Part] = [_amounts(known) if known else "unknown"]
    bounds = _amounts({unit: value for unit, value in caps.items() if value is not None})
    if bounds:
        parts.append(f" of {bounds}")
    blind = budget["unknown"]["cost_usd"] if known.get("cost_usd") or caps.get("cost_usd") else 0
    if blind:
        parts.append((f" ({render.count(blind, 'session', 'sessions')} told no money)", "yellow"))
    return parts


def _amounts(found: Json) -> str:
    words = [f"{found['cost_usd']} USD"] if found.get("cost_usd") is not None else []
    words += [f"{found['tokens']:,} tokens"] if found.get("tokens") is not None else []
    return ", ".join(words)
