"""What a recorded review looked at and ran, and whether it, or a part of it, would have to run again now."""

from collections.abc import Container, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from agentpkg.checks import pipeline, reuse
from agentpkg.checks.integrity.judgement import SUMMARY
from agentpkg.core.errors import NotAllowed
from agentpkg.core.model import State
from agentpkg.core.proof import stale
from agentpkg.core.records import CheckResult, PackageRow, ReviewRow
from agentpkg.engine.enclosing import walls
from agentpkg.engine.judging import agent_review, frozen, proving, review
from agentpkg.engine.project import Project
from agentpkg.git import candidate


@dataclass(frozen=True, slots=True)
class Explained:
    """One check of a recorded review.

    Attributes:
        looked_at: in words.
        ran: the command, None where nothing of the candidate's ran.
        milliseconds: how long it took, None where that is not known.
        reused: the evidence of the earlier run it was taken from.
        again: it would run again if the package were reviewed now.
        why: why it would, or would not.
    """

    result: CheckResult
    looked_at: str
    ran: str | None
    milliseconds: int | None
    reused: str | None
    again: bool
    why: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """A recorded review, explained.

    Attributes:
        stale: what the verdict rests on and is otherwise by now: ``branch``, ``target``, ``definitions``,
            ``candidate``; empty while the verdict holds.
        reviewer: who judged; None where the evidence is gone.
        tree: the candidate's.
    """

    review: ReviewRow
    stale: tuple[str, ...]
    reviewer: str | None
    tree: str | None
    checks: tuple[Explained, ...]


@dataclass(frozen=True, slots=True)
class _Now:
    """What the parts of a review would be bound to now; ``why`` there is nothing to be bound to."""

    stale: tuple[str, ...]
    bound: Mapping[str, reuse.Parts]
    why: str = ""


def explain(project: Project, feature: str, wp: str) -> Explanation:
    """Explains the newest review of a package; judges nothing, and runs nothing of the candidate's.

    Raises:
        NotAllowed: there is none.
    """
    row = project.row(feature, wp)
    reviews = project.ledger.reviews(feature, wp)
    if not reviews:
        raise NotAllowed(f"{wp} has not been reviewed", f"`agentpkg review {feature} {wp}` does it", code="no_review")
    newest = reviews[-1]
    now = _landed(row) if row.state is not State.FOR_REVIEW else _now(project, row, newest)
    store = frozen.store(project)
    read = [(result, reuse.read(store, result.evidence)) for result in newest.checks]
    first = next((document for _, document in read if document), {})
    checks = tuple(_explained(result, document, now) for result, document in read)
    return Explanation(newest, now.stale, first.get("reviewer"), first.get("tree"), checks)


def _landed(row: PackageRow) -> _Now:
    return _Now((), {}, f"the package is {row.state}: nothing of it waits for a review")


def _now(project: Project, row: PackageRow, newest: ReviewRow) -> _Now:
    parts = tuple(stale(newest, proving.live(project, row, newest)))
    if not parts:
        return _Now((), {}, "nothing has changed: the verdict is answered from the record")
    head, base = review.tips(project, row)
    package = frozen.work_package(project, row)
    made = review.make_candidate(project, row, package, head, base)
    if isinstance(made, candidate.Conflict):
        return _Now(parts, {}, "it would not come to that: the package conflicts with the target")
    context = review.context(project, row, package, made)
    by_agent = agent_review.bound_now(project, row, package, context)
    return _Now(parts, {**pipeline.bound(context, walls.of(project).level), **by_agent})


def _explained(result: CheckResult, document: Mapping[str, Any], now: _Now) -> Explained:
    data = document.get("data") or {}
    command = data.get("command")
    known = document.get("bound_to")
    runs = command is not None or known is not None or result.name == SUMMARY
    # an agent's approval may have remarks
    taken = ("pass", "warn") if "verdict" in data else ("pass",)
    again, why = _again(result, known, now, runs, taken)
    return Explained(
        result, _looked_at(document, known, command), command, data.get("milliseconds"), data.get("reused"), again, why
    )


def _looked_at(document: Mapping[str, Any], known: Mapping[str, str] | None, command: str | None) -> str:
    tree = str(document.get("tree", "?"))[:10]
    batch = document.get("batch") or {}
    if command is not None and batch:
        return f"a copy of tree {str(batch['tree'])[:10]}, which has {', '.join(batch['packages'])} together"
    if command is not None:
        return f"a copy of tree {tree}"
    if known is not None:
        return f"what tree {tree} changes on the target's, and copies of both"
    return f"commits and tree {tree} as data" if document else "evidence that is gone"


def _again(
    result: CheckResult, known: Mapping[str, str] | None, now: _Now, runs: bool, taken: Container[str]
) -> tuple[bool, str]:  # fmt: skip
    if now.why:
        return False, now.why
    if not runs:
        return True, "looks at commits and files only, and does so in each review"
    wanted = now.bound.get(result.name)
    if wanted is None:
        return False, "the definitions have no such check any more"
    if known is None:
        return True, "what it was bound to is not known"
    changed = reuse.changed(known, wanted)
    if changed:
        return True, f"it looks at something else now: {', '.join(changed)}"
    if result.status not in taken:
        return True, "it did not pass"
    return False, "it looks at the very same, and passed"


def as_json(explained: Explanation) -> dict[str, Any]:
    """What ``review --explain --json`` has besides the review."""
    return {
        "stale": list(explained.stale), "reviewer": explained.reviewer, "tree": explained.tree,
        "reviewed_at": explained.review.created_at or None,
        "batch": asdict(explained.review.batch) if explained.review.batch else None,
        "checks": [
            {
                "group": one.result.group, "name": one.result.name, "status": one.result.status,
                "looked_at": one.looked_at, "ran": one.ran, "milliseconds": one.milliseconds, "reused": one.reused,
                "again": one.again, "why": one.why,
            }
            for one in explained.checks
        ],
    }  # fmt: skip
