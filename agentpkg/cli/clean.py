"""``clean``: worktrees and branches that nothing needs any more."""

from pathlib import Path

import click

from agentpkg.cli.common import Speaker, project_at, verb
from agentpkg.engine import cleaning
from agentpkg.engine.upkeep import recovery


@verb(
    """agentpkg clean --dry-run
agentpkg clean"""
)
@click.option("--dry-run", is_flag=True, help="Only tell what would go.")
def command(dry_run: bool, repo: Path | None, speak: Speaker) -> int:
    """Remove worktrees and branches that nothing needs any more; what would lose work stays, and is named."""
    project = project_at(repo)
    document: dict[str, list[object]] = {"removed": [], "kept": []}
    if project.ledger_if_any is not None:
        if not dry_run:
            project.require_person("clean up")
            speak.warn_all(recovery.reconcile(project))
        done = cleaning.clean(project, dry_run)
        kept = [{"path": left.path, "reason": left.reason} for left in done.kept]
        document = {"removed": list(done.removed), "kept": [*kept]}
    if speak.json:
        speak.document(document)
        return 0
    from agentpkg.cli import render, render_tables

    render.show(render_tables.cleaned(document, dry_run))
    return 0
