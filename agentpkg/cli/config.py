"""``config show``: every effective setting and where it came from."""

from pathlib import Path

from agentpkg.cli.common import Speaker, group, project_at, verb
from agentpkg.engine.agents import unknown_harnesses


@group("The configuration in force.", "agentpkg config show")
def command() -> None:
    """Holds ``show``."""


@verb(
    """agentpkg config show
AGENTPKG_RUN_JOBS=8 agentpkg config show --json"""
)
def show(repo: Path | None, speak: Speaker) -> int:
    """Show every effective setting and where it came from: flag, environment, file with its line, or default."""
    project = project_at(repo)
    loaded = project.loaded
    document = {"values": [{"key": key, "value": value, "origin": origin} for key, value, origin in loaded.rows()]}
    speak.warn_all([*map(str, loaded.warnings), *unknown_harnesses(project)])
    if speak.json:
        speak.document(document)
        return 0
    from agentpkg.cli import render, render_tables

    render.show(render_tables.settings(document))
    return 0


command.add_command(show, "show")
