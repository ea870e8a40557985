"""``snapshots``: the uncommitted work of a package that was kept."""

from pathlib import Path

import click

from agentpkg.cli.common import Speaker, package_words, project_at, verb
from agentpkg.engine.upkeep import rewinding


@verb("agentpkg snapshots 003 WP02")
@click.argument("words", nargs=-1, required=True, metavar="[FEATURE] WP")
def command(words: tuple[str, ...], repo: Path | None, speak: Speaker) -> int:
    """List what was kept of a work package's uncommitted work, oldest first; times are UTC."""
    name, wp = package_words(words)
    project = project_at(repo)
    feature, wp = project.find_package(wp, name)
    found = [one.as_json() for one in rewinding.listed(project, feature, wp)]
    document = {"feature": feature, "wp": wp, "snapshots": found}
    if speak.json:
        speak.document(document)
        return 0
    from agentpkg.cli import render, render_snapshots

    render.show(render_snapshots.snapshots(document))
    return 0
