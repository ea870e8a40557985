"""``review``: judge the commit that would land."""

from pathlib import Path
from typing import Any

import click

from agentpkg import views
from agentpkg.cli.common import Speaker, package_words, project_at, titles, verb
from agentpkg.core.model import State, Verdict
from agentpkg.engine.asking.approvals import Waiting
from agentpkg.engine.judging import review as judging
from agentpkg.engine.judging.review import Judged
from agentpkg.engine.landing import merging
from agentpkg.engine.moving import Moved
from agentpkg.engine.project import Project
from agentpkg.engine.upkeep import recovery


@verb(
    """agentpkg review 003 WP02
agentpkg review 003 WP02 --merge
agentpkg review 003 WP02 --explain
agentpkg review 003 WP02 --json"""
)
@click.argument("words", nargs=-1, required=True, metavar="[FEATURE] WP")
@click.option("--merge", is_flag=True, help="Land it if it is approved.")
@click.option("--explain", is_flag=True, help="Judge nothing; say what the last review ran, and what would run again.")
def command(words: tuple[str, ...], merge: bool, explain: bool, repo: Path | None, speak: Speaker) -> int:
    """Judge the commit that would land if the work package landed now.

    The same branch, target and checks are judged once; asked again, the answer comes from the record.
    """
    name, wp = package_words(words)
    project = project_at(repo)
    if explain:
        return _explain(project, *project.find_package(wp, name), speak)
    actor = project.require_person(f"review {wp}")
    feature, wp = project.find_package(wp, name)
    if project.ledger_if_any is not None:
        speak.warn_all(recovery.reconcile(project))
    if not speak.json:
        speak.note(f"judging {feature} {wp} …")
    merging.catch_up(project, project.target(project.read(feature)))
    judged = judging.review(project, feature, wp, insist=True)
    document = views.review(judged.review)
    _show(project, judged, document, merge, speak)
    if judged.review.verdict is Verdict.APPROVED and merge:
        return _land(project, feature, wp, actor, document, speak)
    if speak.json:
        speak.document(document)
    return 0 if judged.review.verdict is Verdict.APPROVED else 1


def _explain(project: Project, feature: str, wp: str, speak: Speaker) -> int:
    from agentpkg.engine.judging import explaining

    found = explaining.explain(project, feature, wp)
    document = views.review(found.review) | {"explain": explaining.as_json(found)}
    if speak.json:
        speak.document(document)
        return 0
    from agentpkg.cli import render, render_review

    render.show(render_review.explained(document))
    return 0


def _show(project: Project, judged: Judged, document: dict[str, Any], merge: bool, speak: Speaker) -> None:
    if speak.json:
        return
    from agentpkg.cli import render, render_review

    evidence = str(project.state / "evidence")
    render.show(render_review.review(document, judged.row.title, reused=judged.reused, evidence=evidence))
    if not merge or judged.review.verdict is not Verdict.APPROVED:
        render.show(render_review.next_step(document, judged.row.state))


def _land(project: Project, feature: str, wp: str, actor: str, document: dict[str, Any], speak: Speaker) -> int:
    """Lands an approved candidate; where the target has moved meanwhile, the new candidate is judged and told too."""
    merged = merging.land(project, feature, wp, actor, warn=speak.warn)
    if isinstance(merged, Waiting):
        raise merged.error()
    if isinstance(merged, merging.Rejected):
        again = views.review(merged.judged.review)
        _show(project, merged.judged, again, False, speak)
        if speak.json:
            speak.document(again)
        return 1
    if speak.json:
        speak.document(document | {"merge_commit": merged.merge_commit, "unblocked": list(merged.unblocked)})
        return 0
    from agentpkg.cli import render, render_work

    row = merged.row
    target = project.target(project.read(feature))
    moved = Moved(
        feature, wp, State.FOR_REVIEW, row.state, merged.merge_commit, merged.unblocked, row.branch, target,
        row.commits, row.files_changed, False, merged.kept,
    )  # fmt: skip
    render.show(render_work.moved(moved, titles(project, feature)))
    return 0
