"""``policy check``: what packages will need of people, told beforehand."""

from dataclasses import asdict
from pathlib import Path

import click

from agentpkg.cli.common import Speaker, group, project_at, verb
from agentpkg.core.errors import BadInput
from agentpkg.engine.asking import forecast


@group("What needs a person, and what is forbidden: .kittify/governance.yaml.", "agentpkg policy check 003 WP02")
def command() -> None:
    """Holds ``check``."""


@verb(
    """agentpkg policy check 003
agentpkg policy check 003 WP02 --json"""
)
@click.argument("feature")
@click.argument("wp", required=False)
def check(feature: str, wp: str | None, repo: Path | None, speak: Speaker) -> int:
    """Tell what packages will need of people before they land, and what their reviews will fail for.

    Judged by what a package's branch changes; without a branch by its deliverables and owned_files. Exit 1 when
    something is forbidden.
    """
    project = project_at(repo)
    found = project.good_feature(feature)
    if wp is not None and wp not in found.packages:
        known = ", ".join(found.packages) or "no work packages"
        raise BadInput(f"{found.id} has no {wp}", f"it has {known}", code="unknown_package")
    told = [forecast.forecast(project, found, one) for one in ([wp] if wp else found.packages)]
    document = {
        "feature": found.id, "approval": asdict(project.policy.approval), "packages": [asdict(one) for one in told],
    }  # fmt: skip
    if speak.json:
        speak.document(document)
    else:
        from agentpkg.cli import render, render_questions

        render.show(render_questions.forecasts(document))
    return 1 if any(one.forbidden for one in told) else 0


command.add_command(check, "check")
