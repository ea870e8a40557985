"""Landing a package: the target moves by compare-and-swap to the very candidate that a review approved.

What was judged together lands together, to the commit that the commands ran on (:func:`land_together`). What gets into
the ledger, and what a landing that was cut short leaves behind, is :mod:`agentpkg.engine.landing.recording`'s.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from agentpkg.core.errors import Busy, FellShort, NotAllowed
from agentpkg.core.model import Verdict
from agentpkg.core.proof import Landable, Part, Proof, Stale, Together, Warrant, Word, give_word
from agentpkg.core.records import QuestionRow
from agentpkg.engine.asking import approvals
from agentpkg.engine.asking.approvals import Waiting
from agentpkg.engine.judging import batching, frozen, proving
from agentpkg.engine.judging.review import (
    Cancelled,
    Judged,
    Made,
    approval,
    make_candidate,
    require_for_review,
    review,
    tips,
)
from agentpkg.engine.landing import elsewhere
from agentpkg.engine.landing import intent as intents
from agentpkg.engine.landing.intent import Intent, Piece
from agentpkg.engine.landing.recording import Merged, is_on, landing_lock, record, recover_record
from agentpkg.engine.project import Project
from agentpkg.git import candidate, landing
from agentpkg.git.refs import tree_of
from agentpkg.git.remote import Unreachable

__all__ = ["Merged", "Rejected", "catch_up", "force", "land", "land_approved", "land_together"]

#: how often a target that moves under us is followed before giving up for now
_ROUNDS = 10
#: how often before a person is told
_TOLD = 3


@dataclass(frozen=True, slots=True)
class Rejected:
    """The review of the candidate that would land asked for changes."""

    judged: Judged


def land(
    project: Project, feature: str, wp: str, actor: str, cancelled: Cancelled = lambda: False, *,
    approved_by: str | None = None, warn: Callable[[str], None] = lambda text: None,
) -> Merged | Rejected | Waiting:  # fmt: skip
    """Reviews the package on today's target where no review has, and lands what was approved.

    Args:
        cancelled: asked while checks run; True stops them.
        approved_by: the person whose word this is, where the candidate needs one.
        warn: gets what a person should know of a target that moves all the time.

    Raises:
        NotAllowed: it does not wait for review, ``approved_by`` may not approve it, or the user's own changes are in
            the way.
        Busy: the user's checkout or another command holds what this needs.
        Lacking: no verdict was possible.
        Interrupted: ``cancelled`` said so.
    """
    with landing_lock(project):
        recover_record(project)
        for lost in range(_ROUNDS):
            if lost == _TOLD:
                warn(
                    f"{_target(project, feature)} has moved {lost} times while {wp} was judged; it lands as soon as "
                    "that rests for as long as a review takes"
                )
            elsewhere.catch_up(project, _target(project, feature))
            judged = review(project, feature, wp, cancelled)
            if judged.review.verdict is not Verdict.APPROVED:
                return Rejected(judged)
            people = approvals.require(project, judged.row, judged.review, approved_by)
            if isinstance(people, Waiting):
                return people
            proof = proving.proof(project, judged.review)
            if isinstance(proof, Stale):
                continue
            merged = _move_target(project, proof, actor, people)
            if merged is not None:
                return merged[0]
    raise _restless()


def land_approved(project: Project, feature: str, wp: str, actor: str) -> Merged | Rejected | Waiting:
    """As :func:`land`, for a package whose branch tip has an approval, be it on an older target.

    Raises:
        NotAllowed: there is no approval of this branch tip.
    """
    row = require_for_review(project, feature, wp)
    if approval(project, row) is None:
        raise NotAllowed(
            f"{wp} has no approval at its branch tip", f"judge it with `agentpkg review {feature} {wp}`",
            code="no_approval",
        )  # fmt: skip
    return land(project, feature, wp, actor, approved_by=actor)


def land_together(project: Project, made: Sequence[Made], actor: str) -> list[Merged]:
    """Records the reviews of a batch and lands it, all or nothing; gives nothing where it is no longer what was judged.

    Args:
        made: the reviews of its packages, in order, each an approval.

    Raises:
        NotAllowed: the user's own changes are in the way, or a remote does not take it.
        Busy: the user's checkout or another command holds what this needs.
    """
    with landing_lock(project), ExitStack() as held:
        recover_record(project)
        elsewhere.catch_up(project, _target(project, made[0][0].feature))
        reviews = batching.record(project, made, held)
        proof = proving.proof_of_batch(project, reviews) if reviews else Stale(("batch",))
        if isinstance(proof, Stale):
            return []
        return _move_target(project, proof, actor) or []


def force(project: Project, feature: str, wp: str, actor: str, reason: str) -> Merged:
    """Lands the current candidate without an approval, or accepts a branch tip that is already on the target.

    Raises:
        FellShort: it conflicts with the target.
        NotAllowed: the policy forbids it.
    """
    if project.policy.actions.force == "forbidden":
        raise NotAllowed("the policy forbids to land anything by force", "see .kittify/governance.yaml: actions.force",
                         code="force_forbidden")  # fmt: skip
    row = require_for_review(project, feature, wp)
    with landing_lock(project):
        recover_record(project)
        for _ in range(_ROUNDS):
            elsewhere.catch_up(project, _target(project, feature))
            head, base = tips(project, row)
            if is_on(project, head, base):
                there = Landable(head, tree_of(project.repository.git, head), base, head)
                word = give_word(feature, wp, there, actor, reason)
                return record(project, word, _intent(project, word, actor))[0]
            made = make_candidate(project, row, frozen.work_package(project, row), head, base)
            if isinstance(made, candidate.Conflict):
                raise FellShort(
                    f"{wp} conflicts with the target in {', '.join(made.paths)}",
                    "merge the target into its branch first",
                    code="conflict",
                )
            word = give_word(feature, wp, Landable(made.commit, made.tree, base, head), actor, reason)
            merged = _move_target(project, word, actor)
            if merged is not None:
                return merged[0]
    raise _restless()


def catch_up(project: Project, target: str) -> bool:
    """Brings a target that lives on a remote to where it is there; True when it has moved.

    Raises:
        Unreachable: the remote does not answer.
        NotAllowed: the local target has commits that the remote's lacks, or something of the user's is in the way.
    """
    if project.settings.merge.remote is None:
        return False
    # a first dispatch may be the first thing that happens here
    project.repository.make_state()
    with landing_lock(project):
        return elsewhere.catch_up(project, target)


# --------------------------------------------------------------------------- one try


def _move_target(
    project: Project, warrant: Warrant, actor: str, people: QuestionRow | None = None
) -> list[Merged] | None:  # fmt: skip
    """Moves the target to the candidate and records it; None when the target is elsewhere by now."""
    intent = _intent(project, warrant, actor)
    names = ", ".join(piece.wp for piece in intent.pieces)
    if people is not None:
        intent = replace(intent, approved=approvals.as_mapping(people))
    intents.write(project, intent)
    outcome: landing.Outcome | None = None
    unknown = False
    try:
        publish = elsewhere.publisher(project, intent.target)
        outcome = landing.land(project.repository, project.control, _plan(project, intent, warrant), publish)
    except Unreachable:
        unknown = True
        raise
    finally:
        if not unknown and not isinstance(outcome, landing.Landed) and not _has_landed(project, intent):
            intents.forget(project)
    if isinstance(outcome, landing.Refused):
        raise NotAllowed(
            f"{outcome.remote} does not take {names}: {outcome.reason}",
            "it stays as it is, approved: let the remote take it, then `agentpkg move` lands it", code="push_refused",
        )  # fmt: skip
    if isinstance(outcome, landing.InTheWay):
        raise _in_the_way(names, outcome)
    if isinstance(outcome, landing.Locked):
        raise Busy(
            f"another git process holds {outcome.lock.name}", f"let it end, or remove {outcome.lock} if none is there",
            code="git_locked",
        )  # fmt: skip
    if isinstance(outcome, landing.TargetMoved):
        return None
    merged = record(project, warrant, intent)
    elsewhere.note_tip(project, intent.target)
    intents.forget(project)
    return merged


def _intent(project: Project, warrant: Warrant, actor: str) -> Intent:
    what = warrant.candidate
    return Intent(
        feature=warrant.feature, wp=warrant.wp, actor=actor, target=_target(project, warrant.feature),
        candidate=what.commit, base=what.base, head=what.head, strategy=project.settings.merge.strategy,
        forced=warrant.reason if isinstance(warrant, Word) else None,
        definitions=warrant.review.definitions if isinstance(warrant, Proof) else "",
        remote=project.settings.merge.remote,
        batch=tuple(map(_piece, warrant.parts)) if isinstance(warrant, Together) else (),
    )  # fmt: skip


def _piece(part: Part) -> Piece:
    what = part.candidate
    return Piece(part.wp, what.commit, what.base, what.head, part.review.definitions)


def _target(project: Project, feature: str) -> str:
    row = project.ledger.feature(feature)
    assert row is not None
    return row.target


def _plan(project: Project, intent: Intent, warrant: Warrant) -> landing.LandingPlan:
    return landing.LandingPlan(
        target=intent.target, warrant=warrant, filters=project.settings.worktree.filters, identity=project.user,
        note=f"agentpkg: land {intent.feature} {' '.join(piece.wp for piece in intent.pieces)}",
    )  # fmt: skip


def _has_landed(project: Project, intent: Intent) -> bool:
    return project.branch_tip(intent.target) == intent.candidate


def _in_the_way(names: str, outcome: landing.InTheWay) -> NotAllowed:
    where = Path(outcome.checkout).name if outcome.checkout else "the repository"
    paths = f": {', '.join(outcome.paths[:10])}" if outcome.paths else ""
    return NotAllowed(
        f"{names} cannot land in {where}, {outcome.why}{paths}",
        "commit, move or stash them; it stays for_review, and the same command lands it then",
        code="in_the_way",
        details={"paths": list(outcome.paths)},
    )


def _restless() -> Busy:
    return Busy("the target keeps moving", "try again when it rests", code="target_moves")
