"""``answer``: a person answers a question by its number."""

import re
from pathlib import Path

import click

from agentpkg.cli import answering
from agentpkg.cli.common import Speaker, project_at, verb
from agentpkg.core.errors import BadInput
from agentpkg.engine.asking import approvals


@verb(
    """agentpkg answer Q3 yes
agentpkg answer 3 no --reason 'not before the release'"""
)
@click.argument("number", metavar="ID")
@click.argument("option", metavar="yes|no|again|leave")
@click.option("--reason", help="Why; kept in the audit chain.")
def command(number: str, option: str, reason: str | None, repo: Path | None, speak: Speaker) -> int:
    """Answer a question of the queue; `agentpkg questions` lists them."""
    found = re.fullmatch(r"[Qq]?([1-9][0-9]{0,8})", number)
    if found is None:
        raise BadInput(f"{number} is no question", "name it as `agentpkg questions` does: Q3", code="unknown_question")
    return answering.told(approvals.answer(project_at(repo), int(found[1]), option.lower(), reason), speak)
