"""``features``: every feature, one line each."""

from pathlib import Path

from agentpkg.cli.common import Speaker, project_at, verb
from agentpkg.cli.status import MOST, listing
from agentpkg.engine import looking


@verb(
    """agentpkg features
agentpkg features --json"""
)
def command(repo: Path | None, speak: Speaker) -> int:
    """List every feature, one line each; what is wrong in any of them is a warning."""
    project = project_at(repo)
    document = listing(project, looking.see_all(project))
    speak.warn_all(document["warnings"], MOST)
    if speak.json:
        speak.document(document)
        return 0
    from agentpkg.cli import render, render_tables

    render.show(render_tables.features(document))
    return 0
