"""``export``: a feature's progress as files that other tools read."""

from pathlib import Path

import click

from agentpkg.cli.common import Speaker, project_at, verb
from agentpkg.engine import exporting


@verb(
    """agentpkg export 003
agentpkg export 003 --dir harness"""
)
@click.argument("feature")
@click.option(
    "--dir", "folder", type=click.Path(path_type=Path, file_okay=False), default=Path(), metavar="DIR",
    help="Where to; the current folder by default.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Write over files that agentpkg did not write.")
def command(feature: str, folder: Path, force: bool, repo: Path | None, speak: Speaker) -> int:
    """Write progress.json (the feature and its stages) and features.json (every work package) for other tools."""
    project = project_at(repo)
    written = [str(path) for path in exporting.export(project, feature, folder, force)]
    if speak.json:
        speak.document({"written": written})
    else:
        for path in written:
            speak.say(path)
    return 0
