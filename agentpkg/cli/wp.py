"""``wp transition``: the same as ``move``, for scripts."""

from pathlib import Path
from typing import Any

import click

from agentpkg.cli.common import Speaker, group, package_words, project_at, verb
from agentpkg.cli.move import options, package


@group("Work packages, for scripts.", "agentpkg wp transition WP02 --to planned")
def command() -> None:
    """Holds ``transition``."""


@verb(
    """agentpkg wp transition WP02 --to planned
agentpkg wp transition 003 WP02 --to done --json"""
)
@click.argument("words", nargs=-1, required=True, metavar="[FEATURE] WP")
@options
def transition(words: tuple[str, ...], repo: Path | None, speak: Speaker, **asked: Any) -> int:
    """Move a work package to another state; the same as move."""
    feature, wp = package_words(words)
    return package(project_at(repo), feature, wp, speak, **asked)


command.add_command(transition, "transition")
