"""``deny``: a person's no to the candidate of a work package."""

from pathlib import Path

import click

from agentpkg.cli import answering
from agentpkg.cli.common import Speaker, verb
from agentpkg.core.questions import NO


@verb("agentpkg deny 003 WP02 --reason 'no new dependency for this'")
@click.argument("words", nargs=-1, required=True, metavar="[FEATURE] WP")
@click.option("--reason", help="Why; kept in the audit chain, and told to the next agent.")
def command(words: tuple[str, ...], reason: str | None, repo: Path | None, speak: Speaker) -> int:
    """Deny the candidate that a work package's question is about; its branch stays for_review as it is."""
    return answering.decide(words, NO, reason, repo, speak)
