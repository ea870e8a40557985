"""Holds a recorded approval against what is true now: the one place where the proof is made that landing takes."""

from collections.abc import Sequence

from agentpkg.checks.definitions import definitions_key
from agentpkg.core.errors import NotAllowed
from agentpkg.core.proof import Landable, Live, Proof, Stale, Together, prove, prove_together
from agentpkg.core.records import PackageRow, ReviewRow
from agentpkg.engine.judging import frozen
from agentpkg.engine.project import Project


def proof(project: Project, review: ReviewRow) -> Proof | Stale:
    """The proof that a review's candidate may land at this moment, or what has changed since.

    Raises:
        NotAllowed: it was not approved, or the ledger does not know the review.
    """
    known = _known(project, review)
    return prove(known, live(project, project.row(review.feature, review.wp), known))


def proof_of_batch(project: Project, reviews: Sequence[ReviewRow]) -> Together | Stale:
    """The proof that packages which were judged together may land together at this moment, or what has changed since.

    Raises:
        NotAllowed: one was not approved, or the ledger does not know its review.
    """
    known = [_known(project, review) for review in reviews]
    return prove_together(known, [live(project, project.row(one.feature, one.wp), one) for one in known])


def proof_of_landed(project: Project, reviews: Sequence[ReviewRow]) -> Proof | Together:
    """The same for candidates that the target has by now: their landing was cut short before it was recorded.

    Args:
        reviews: of one package, or of a whole batch.

    Raises:
        NotAllowed: nothing on record approved what landed.
    """
    known = [_known(project, review) for review in reviews]
    lives = [Live(one.head, one.base, one.definitions, landable(project, one)) for one in known]
    made = prove_together(known, lives) if known[0].batch else prove(known[0], lives[0])
    if isinstance(made, Stale):
        raise NotAllowed(
            f"{known[0].wp} landed, and its candidate is gone", "run `agentpkg doctor`", code="no_approval"
        )
    return made


def live(project: Project, row: PackageRow, review: ReviewRow) -> Live:
    """What is true now of what a review rests on."""
    feature = project.ledger.feature(row.feature)
    assert feature is not None
    package = frozen.work_package(project, row)
    key = definitions_key(project.settings, project.policy, package, frozen.digests(project, row))
    head = project.branch_tip(row.branch or "") or ""
    return Live(head, project.target_tip(feature.target), key, landable(project, review))


def landable(project: Project, review: ReviewRow) -> Landable | None:
    """A review's candidate as git has it; None when it is gone, or does not stand on the review's base."""
    if review.candidate is None:
        return None
    names = [f"{review.candidate}^{{tree}}", f"{review.base}^{{commit}}"]
    asked = project.control.run("rev-parse", "--revs-only", "--end-of-options", *names, ok=(0, 128))
    tree = asked.text.split()[:1]
    on = project.control.run("merge-base", "--is-ancestor", review.base, review.candidate, ok=(0, 1, 128))
    if asked.returncode or on.returncode or not tree:
        return None
    return Landable(review.candidate, tree[0], review.base, review.head)


def _known(project: Project, review: ReviewRow) -> ReviewRow:
    known = project.ledger.review(review.feature, review.wp, review.head, review.base, review.definitions)
    if known is None or known.candidate != review.candidate:
        raise NotAllowed(f"{review.wp} has no approval", "run `agentpkg review` first", code="no_approval")
    return known
