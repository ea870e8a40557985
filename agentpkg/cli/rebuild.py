"""``rebuild``: make a lost or damaged ledger again."""

from pathlib import Path

from agentpkg.cli.common import Speaker, project_at, verb
from agentpkg.engine.upkeep import rebuilding


@verb("agentpkg rebuild")
def command(repo: Path | None, speak: Speaker) -> int:
    """Make a lost or damaged ledger again from git and the sessions' folders; a sound one is left alone."""
    project = project_at(repo)
    done = rebuilding.rebuild(project)
    document = {
        "rebuilt": done.why is not None, "why": done.why, "kept": str(done.kept) if done.kept else None,
        "features": [one.as_json() for one in done.chains], "unknown": [*done.unknown], "finished": [*done.finished],
    }  # fmt: skip
    if speak.json:
        speak.document(document)
        return 0
    from agentpkg.cli import render, render_rebuild

    render.show(render_rebuild.rebuilt(document))
    return 0
