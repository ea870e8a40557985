"""``cancel``: stop a package's session; its commits are kept."""

from pathlib import Path

import click

from agentpkg.cli.common import Speaker, package_words, project_at, verb
from agentpkg.engine import moving


@verb("agentpkg cancel 003 WP02 --reason 'no longer wanted'")
@click.argument("words", nargs=-1, required=True, metavar="[FEATURE] WP")
@click.option("--reason", required=True, help="Why; kept in the audit chain.")
def command(words: tuple[str, ...], reason: str, repo: Path | None, speak: Speaker) -> int:
    """Stop a work package's session, if it has one, and cancel the package; its commits are kept."""
    name, wp = package_words(words)
    project = project_at(repo)
    project.require_person(f"cancel {wp}")
    feature, wp = project.find_package(wp, name)
    row = moving.cancel(project, feature, wp, reason)
    document = {"feature": feature, "wp": wp, "state": row.state, "session": row.session}
    if speak.json:
        speak.document(document)
        return 0
    from agentpkg.cli import render, render_work

    kept = row.branch if row.branch and project.branch_tip(row.branch) else None
    render.show(render_work.cancelled(document, kept))
    return 0
