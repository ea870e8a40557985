"""``demo``: the whole loop in a scratch repository, with agents that replay recorded work."""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from agentpkg.cli import render, render_demo
from agentpkg.cli.common import Speaker, verb
from agentpkg.cli.run import drive
from agentpkg.core.errors import BadInput
from agentpkg.core.model import Verdict
from agentpkg.core.records import ReviewRow
from agentpkg.engine import demo
from agentpkg.engine.project import Project, open_project
from agentpkg.engine.running.values import Options
from agentpkg.engine.upkeep import auditing


@verb(
    """agentpkg demo
agentpkg demo --dir ~/agentpkg-demo"""
)
@click.option(
    "--dir", "folder", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Where to make the scratch repository; a new temporary folder by default.",
)  # fmt: skip
def command(folder: Path | None, repo: Path | None, speak: Speaker) -> int:
    """See the whole loop in a scratch repository: no account, no network.

    Six work packages are dispatched to agents that replay recorded work: real processes that write real code and
    commit it. Everything else is what your own repository would get: worktrees, reviews with pytest, a rejection and
    its second try, merges, unblocking through NATS, the audit chain.
    """
    place = _place(folder)
    demo.make(place)
    # the reviews run `python -m pytest`, which came with agentpkg and may not be on the user's PATH
    environ = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])}
    project = open_project(place, environ)
    feature = project.good_feature(demo.FEATURE)
    if not speak.json:
        render.show(render_demo.opening(feature, place, project.settings.run.jobs), stderr=True)
    finished, document = drive(project, feature, Options(project.settings.run.jobs), speak)
    report = auditing.verify(project, feature.id)
    if speak.json:
        speak.line({**document, "repository": str(place), "audit": report.as_json()})
    else:
        render.show(render_demo.closing(report, place, _rejected(project, feature.id)))
    return 0 if report.ok and not finished.stuck else 1


def _place(folder: Path | None) -> Path:
    if folder is None:
        return Path(os.path.realpath(tempfile.mkdtemp(prefix="agentpkg-demo-")))
    place = Path(os.path.realpath(folder.expanduser()))
    if place.exists() and any(place.iterdir()):
        raise BadInput(f"{place} is not empty", "name an empty or a new folder with --dir")
    place.mkdir(parents=True, exist_ok=True)
    return place


def _rejected(project: Project, feature: str) -> list[tuple[str, str, str]]:
    """Each rejection: the package, what the review said, and where the next prompt with it lies."""
    return [found for row in project.ledger.packages(feature) for found in _rejections(project, row.feature, row.wp)]


def _rejections(project: Project, feature: str, wp: str) -> Iterator[tuple[str, str, str]]:
    sessions = project.ledger.sessions(feature, wp)
    rejected = [r for r in project.ledger.reviews(feature, wp) if r.verdict is Verdict.CHANGES_REQUESTED]
    for review, following in zip(rejected, sessions[1:], strict=False):
        prompt = project.state / "sessions" / following.id / "prompt.md"
        yield wp, _first_failure(review), os.path.relpath(prompt, project.work_tree)


def _first_failure(review: ReviewRow) -> str:
    failed: list[Any] = [c for c in review.checks if c.status == "fail"]
    return f"{failed[-1].name}: {failed[-1].detail}" if failed else "see the review"
