"""``doctor``: what this machine and repository have, and what they lack."""

import os
from pathlib import Path
from typing import Any

import click

from agentpkg.cli.common import Speaker, project_at, verb
from agentpkg.core.errors import Lacking
from agentpkg.engine import doctor
from agentpkg.engine.upkeep import mending


@verb(
    """agentpkg doctor
agentpkg doctor --fix"""
)
@click.option("--fix", is_flag=True, help="Mend what can be mended without losing anything; each thing is told.")
def command(fix: bool, repo: Path | None, speak: Speaker) -> int:
    """Look at what this machine and repository have, and what they lack; exit code 5 when something fails."""
    mended = mending.mend(project_at(repo)) if fix else []
    findings = doctor.look(repo.absolute() if repo else None, os.environ)
    document: dict[str, Any] = {"checks": [one.as_json() for one in findings]}
    if fix:
        document["mended"] = mended
    failed = [one for one in findings if one.status == "fail"]
    if failed:
        names = ", ".join(one.name for one in failed)
        lacking = Lacking(f"not good: {names}", failed[0].fix or "see the checks", code="unhealthy")
        document |= lacking.as_json()
    if speak.json:
        speak.document(document)
    else:
        from agentpkg.cli import render, render_tables

        render.show(render_tables.mended(mended) if fix else ())
        render.show(render_tables.checks(document["checks"]))
    return Lacking.exit_code if failed else 0
