"""``questions``: the one queue of what waits for people."""

from pathlib import Path

import click

from agentpkg import views
from agentpkg.cli.common import Speaker, project_at, verb


@verb(
    """agentpkg questions
agentpkg questions 003 --all --json"""
)
@click.argument("feature", required=False)
@click.option("--all", "everything", is_flag=True, help="Those that are closed, too.")
def command(feature: str | None, everything: bool, repo: Path | None, speak: Speaker) -> int:
    """List what waits for a person's answer: about what, who may answer, by when, and what happens otherwise."""
    project = project_at(repo)
    wanted = project.feature_id(feature) if feature else None
    ledger = project.ledger_if_any
    rows = ledger.questions(wanted, open_only=not everything) if ledger else []
    now = ledger.now() if ledger else ""
    document = {"questions": [views.question(row, now) for row in rows]}
    if speak.json:
        speak.document(document)
        return 0
    from agentpkg.cli import render, render_questions

    render.show(render_questions.listed(document["questions"]))
    return 0
