"""``queue``: what waits to land, in which order, and why."""

from pathlib import Path

import click

from agentpkg.cli.common import Speaker, project_at, verb


@verb(
    """agentpkg queue
agentpkg queue 003 --json"""
)
@click.argument("feature", required=False)
def command(feature: str | None, repo: Path | None, speak: Speaker) -> int:
    """Show the merge queue: what lands in which order and why, and how far its checks are."""
    from agentpkg.engine.running import queueing

    project = project_at(repo)
    found = queueing.look(project, project.feature_id(feature) if feature else None)
    document = {"queue": [one.as_json() for one in found]}
    if speak.json:
        speak.document(document)
        return 0
    from agentpkg.cli import render, render_queue

    render.show(render_queue.listed(document["queue"]))
    return 0
