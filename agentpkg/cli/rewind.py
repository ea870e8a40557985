"""``rewind``: bring a snapshot back into a package's worktree."""

from pathlib import Path

import click

from agentpkg.cli.common import Speaker, package_words, project_at, verb
from agentpkg.engine.upkeep import rewinding


@verb(
    """agentpkg rewind 003 WP02
agentpkg rewind 003 WP02 5f1d0c2b9a41"""
)
@click.argument("words", nargs=-1, required=True, metavar="[FEATURE] WP [SNAPSHOT]")
def command(words: tuple[str, ...], repo: Path | None, speak: Speaker) -> int:
    """Bring a snapshot back into a work package's worktree, the newest by default; what is there is kept first."""
    words, wanted = _split(words)
    name, wp = package_words(words)
    project = project_at(repo)
    feature, wp = project.find_package(wp, name)
    done = rewinding.rewind(project, feature, wp, wanted)
    document = {
        "feature": feature, "wp": wp, "snapshot": done.listed.id, "session": done.listed.session,
        "worktree": str(done.worktree), "files": done.files, "saved": done.saved,
    }  # fmt: skip
    if speak.json:
        speak.document(document)
        return 0
    from agentpkg.cli import render, render_snapshots

    render.show(render_snapshots.rewound(document))
    return 0


def _split(words: tuple[str, ...]) -> tuple[tuple[str, ...], str | None]:
    """The words that name a package, and the snapshot where one is named: it stands behind a ``WPnn``."""
    last = len(words) - 1
    if last > 0 and words[last - 1].startswith("WP") and not words[last].startswith("WP"):
        return words[:last], words[last]
    return words, None
