"""What ``rebuild`` did, as a person reads it."""

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from agentpkg.cli import render
from agentpkg.cli.render import line

Json = Mapping[str, Any]


def rebuilt(document: Json) -> list[Text]:
    """What was wrong, what each chain was made of, what could not be known, and what to do next."""
    if not document["rebuilt"]:
        return [line(render.mark("pass"), " The ledger is sound; nothing was done.")]
    lines = [line(render.mark("pass"), (" The ledger was made again: ", "bold"), document["why"])]
    if document["kept"]:
        lines.append(line(f"  The damaged file is kept in {document['kept']}"))
    lines += [line("  ", (one["id"], "bold"), f"  {_made_of(one)}") for one in document["features"]]
    lines += [line(render.mark("warn"), f" not known: {text}") for text in document["unknown"]]
    lines += [line(render.mark("pass"), f" {text}") for text in document["finished"]]
    return [*lines, line(("Look at it: agentpkg events audit-verify, agentpkg status", "dim"))]


def _made_of(one: Json) -> str:
    parts = [f"{one['anchored']} from git", f"{one['read']} read from the damaged file", f"{one['found']} found anew"]
    kept = [part for part in parts if not part.startswith("0 ")]
    return f"{render.count(one['entries'], 'entry', 'entries')}: {', '.join(kept) or 'none'}"
