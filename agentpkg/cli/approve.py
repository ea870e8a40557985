"""``approve``: a person's yes to the candidate of a work package."""

from pathlib import Path

import click

from agentpkg.cli import answering
from agentpkg.cli.common import Speaker, verb
from agentpkg.core.questions import YES


@verb(
    """agentpkg approve 003 WP02
agentpkg approve WP02 --reason 'agreed with the security team'"""
)
@click.argument("words", nargs=-1, required=True, metavar="[FEATURE] WP")
@click.option("--reason", help="Why; kept in the audit chain.")
def command(words: tuple[str, ...], reason: str | None, repo: Path | None, speak: Speaker) -> int:
    """Approve the candidate that a work package's question is about, and no other.

    A run that is under way lands it at once; without one, land it with move --to done. What was denied, or not answered
    in time, can be approved with a --reason.
    """
    return answering.decide(words, YES, reason, repo, speak)
