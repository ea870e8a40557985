"""``pause``: have a feature's runs start and land nothing for now."""

from pathlib import Path

import click

from agentpkg.cli.common import Speaker, project_at, verb
from agentpkg.engine.running import steering


@verb("agentpkg pause 003 --reason lunch")
@click.argument("feature")
@click.option("--reason", help="Why; kept in the audit chain.")
def command(feature: str, reason: str | None, repo: Path | None, speak: Speaker) -> int:
    """Have a feature's runs start and land nothing until `resume`; sessions go on to their end."""
    project = project_at(repo)
    done = steering.pause(project, feature, reason)
    runner = done.runner.as_json() if done.runner else None
    if speak.json:
        speak.document({"feature": done.feature, "paused": done.paused, "changed": done.changed, "runner": runner})
        return 0
    from agentpkg.cli import render, render_run

    pid = done.runner.pid if done.runner else None
    render.show(render_run.steered(done.feature, done.paused, done.changed, pid))
    return 0
