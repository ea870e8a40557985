"""``tell``: give a package's agent an instruction."""

from pathlib import Path

import click

from agentpkg.cli.common import Speaker, package_words, project_at, verb
from agentpkg.engine.dispatching import telling


@verb(
    """agentpkg tell 003 WP02 "the token's lifetime is one hour, not one day"
agentpkg tell WP02 'use the existing helper in src/dates.py'"""
)
@click.argument("words", nargs=-1, required=True, metavar="[FEATURE] WP TEXT")
def command(words: tuple[str, ...], repo: Path | None, speak: Speaker) -> int:
    """Give a package's agent an instruction.

    A running agent hears it at once where its harness can tell it; in any case the next try finds it in its prompt.
    """
    if len(words) < 2:
        raise click.UsageError("name a work package and what to tell: [FEATURE] WP TEXT")
    name, wp = package_words(words[:-1])
    project = project_at(repo)
    feature, wp = project.find_package(wp, name)
    told = telling.tell(project, feature, wp, words[-1])
    if speak.json:
        speak.document(told.as_json())
        return 0
    from agentpkg.cli import render, render_run

    render.show(render_run.told(feature, wp, told.session))
    return 0
