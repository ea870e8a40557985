"""``resume``: let a paused run go on."""

from pathlib import Path

import click

from agentpkg.cli.common import Speaker, project_at, verb
from agentpkg.engine.running import steering


@verb("agentpkg resume 003")
@click.argument("feature")
def command(feature: str, repo: Path | None, speak: Speaker) -> int:
    """Let the paused runs of a feature go on."""
    project = project_at(repo)
    done = steering.resume(project, feature)
    runner = done.runner.as_json() if done.runner else None
    if speak.json:
        speak.document({"feature": done.feature, "paused": done.paused, "changed": done.changed, "runner": runner})
        return 0
    from agentpkg.cli import render, render_run

    pid = done.runner.pid if done.runner else None
    render.show(render_run.steered(done.feature, done.paused, done.changed, pid))
    return 0
