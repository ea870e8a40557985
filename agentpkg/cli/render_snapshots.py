"""Snapshots as a person reads them."""

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from agentpkg.cli import render
from agentpkg.cli.render import line

Json = Mapping[str, Any]

_WHY = {
    "working": "while it worked", "refused": "committed, not taken in", "end": "at its end",
    "rewind": "before a rewind",
}  # fmt: skip


def snapshots(document: Json) -> list[Text]:
    """Every snapshot, one line each, and how one comes back."""
    found = document["snapshots"]
    where = f"{document['feature']} {document['wp']}"
    if not found:
        return [line(f"{where} has no snapshots.")]
    rows = [
        ((one["id"], "bold"), one["time"][:19].replace("T", " "), render.count(one["files"], "file"),
         render.size(one["bytes"]), (_WHY[one["why"]], ""), (one["session"], "dim"))
        for one in found
    ]  # fmt: skip
    return [*render.table(rows), line((f"Bring one back: agentpkg rewind {where} {found[-1]['id']}", "dim"))]


def rewound(document: Json) -> list[Text]:
    """What came back, where, and what was kept."""
    files = render.count(document["files"], "file")
    lines = [line(render.mark("pass"), f" {document['snapshot']} is back in {document['worktree']} ({files} changed)")]
    if document["saved"]:
        lines.append(line(f"  What was there is kept as {document['saved']}."))
    return lines
