"""A candidate is judged, and lands; landing takes a warrant that no code path can make up."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from agentpkg.core import questions, states
from agentpkg.core.model import FailureClass, State, Verdict
from agentpkg.core.proof import OfOne, Word
from agentpkg.core.records import Entry, PackageRow, ReviewRow
from agentpkg.engine.transition.door import REVIEWER, change, open_dependencies, require
from agentpkg.engine.transition.questions import Asked, ask
from agentpkg.ledger.ledger import Transaction


def judged(tx: Transaction, review: ReviewRow, limit: int, evidence: Sequence[Mapping[str, str]]) -> PackageRow:
    """Records a review; a rejection that uses up the cycles also blocks the package.

    Args:
        limit: ``max_review_cycles``.
        evidence: ``[{"fr_id", "evidence_id"}]`` for the chain.
    """
    row = require(tx, review.feature, review.wp)
    rejected = any(
        old.head == review.head and old.verdict is Verdict.CHANGES_REQUESTED for old in tx.reviews(row.feature, row.wp)
    )
    new, used_up = states.decide_judged(row, review.verdict, not rejected, limit)
    new = replace(
        new, head=review.head, candidate=review.candidate, tests_passed=review.tests_passed,
        tests_failed=review.tests_failed, reason=_findings(review),
    )  # fmt: skip
    tx.put_review(review)
    said = _review_metadata(review)
    entry = tx.append(row.feature, row.wp, row.state, new.state, REVIEWER, said, evidence)
    tx.put_package(new)
    tx.emit(
        f"feature.{row.feature}.wp.{row.wp}.review.completed",
        {
            "verdict": review.verdict,
            "cycle": review.cycle,
            "candidate": review.candidate,
            "head": review.head,
            **_batch(review),
        },
        entry=entry,
    )
    return _used_up(tx, new, limit, review) if used_up else new


def recalled(tx: Transaction, review: ReviewRow, limit: int) -> PackageRow:
    """Gives a package the verdict that is on record for its branch tip; the record itself stays as it is."""
    row = require(tx, review.feature, review.wp)
    new, used_up = states.decide_judged(row, review.verdict, False, limit)
    new = replace(
        new, head=review.head, candidate=review.candidate, tests_passed=review.tests_passed,
        tests_failed=review.tests_failed, reason=_findings(review),
    )  # fmt: skip
    tx.put_package(new)
    return _used_up(tx, new, limit, review) if used_up else new


def _used_up(tx: Transaction, row: PackageRow, limit: int, review: ReviewRow) -> PackageRow:
    """Blocks the package; over a conflict a person is asked whether its agent tries anew."""
    reason = f"review cycles used up ({limit}): {row.reason}"
    blocked = replace(row, state=State.BLOCKED, reason=reason, reason_class=FailureClass.REVIEW)
    change(tx, row, blocked, REVIEWER, {"reason": reason, "reason_class": FailureClass.REVIEW})
    tx.put_package(blocked)
    conflict = next((c for c in review.checks if (c.group, c.name, c.status) == ("merge", "conflict", "fail")), None)
    if conflict is not None:
        ask(tx, blocked, Asked(
            questions.CONFLICT, review.head, f"{row.wp} still {conflict.detail}: shall its agent try again?",
            {"head": review.head, "base": review.base, "evidence": conflict.evidence},
            options=(questions.AGAIN, questions.LEAVE), fallback=questions.LEAVE,
        ))  # fmt: skip
    return blocked


def _findings(review: ReviewRow) -> str | None:
    if review.verdict is Verdict.APPROVED:
        return None
    failed = [f"{c.group}/{c.name}: {c.detail}" if c.detail else f"{c.group}/{c.name}" for c in review.checks
              if c.status == "fail"]  # fmt: skip
    return "changes requested: " + "; ".join(line.splitlines()[0][:160] for line in failed[:5])


def _review_metadata(review: ReviewRow) -> dict[str, Any]:
    return {
        "kind": "review",
        "verdict": review.verdict,
        "cycle": review.cycle,
        "head": review.head,
        "base": review.base,
        "candidate": review.candidate,
        "definitions": review.definitions,
        "checks": [
            {"group": c.group, "name": c.name, "status": c.status, "evidence": c.evidence} for c in review.checks
        ],
        **({"needs": [asdict(need) for need in review.needs]} if review.needs else {}),
        **_batch(review),
    }


def _batch(review: ReviewRow) -> dict[str, Any]:
    """Those it was judged with, where it was."""
    return {"batch": asdict(review.batch)} if review.batch else {}


def landed(
    tx: Transaction, warrant: OfOne, actor: str, metadata: Mapping[str, Any],
    evidence: Sequence[Mapping[str, str]] = (),
) -> tuple[PackageRow, list[str]]:  # fmt: skip
    """Records that a candidate is on the target. Gives the package and the packages this unblocked.

    Args:
        warrant: why it may be there; names package, candidate, base and head.
        metadata: what else the entry says.
    """
    row, what = require(tx, warrant.feature, warrant.wp), warrant.candidate
    forced = isinstance(warrant, Word)
    states.check(row, State.DONE, actor)
    new = replace(row, state=State.DONE, merge_commit=what.commit, forced=forced, reason=None)
    said = {
        "merge_commit": what.commit, "candidate": what.commit, "tree": what.tree, "base": what.base, "head": what.head,
        **metadata, "review_cycle": row.cycle,
    }  # fmt: skip
    if isinstance(warrant, Word):
        said |= {"forced": True, "reason": warrant.reason}
    entry = change(tx, row, new, actor, said, evidence)
    new = replace(new, finished_at=entry.timestamp)
    tx.put_package(new)
    return new, _unblock(tx, new, entry)


def _unblock(tx: Transaction, done: PackageRow, entry: Entry) -> list[str]:
    """Tells of each planned package whose last open dependency this was."""
    freed = []
    for row in tx.packages():
        name = done.wp if row.feature == done.feature else f"{done.feature}/{done.wp}"
        if row.state is not State.PLANNED or name not in row.dependencies or open_dependencies(tx, row):
            continue
        tx.emit(
            f"feature.{row.feature}.wp.{row.wp}.unblocked",
            {"wp_id": row.wp, "unblocked_by": name, "ready_to_start": True, "feature_slug": row.feature},
            entry=entry,
        )
        freed.append(row.wp if row.feature == done.feature else f"{row.feature}/{row.wp}")
    return freed
