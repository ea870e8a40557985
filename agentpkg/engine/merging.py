"""Landing a package: the target moves by compare-and-swap to the very candidate that a review approved.

Before the target moves, what is about to happen is written to ``landing-intent.json``; whoever finds that file after a
crash asks the target's history whether it did happen, and records it or forgets it (:func:`recover`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agentpkg import files
from agentpkg.core.errors import Busy, FellShort, NotAllowed
from agentpkg.core.model import State, Verdict
from agentpkg.core.proof import Landable, Proof, Stale, Warrant, Word, give_word
from agentpkg.core.records import PackageRow, QuestionRow, ReviewRow
from agentpkg.engine import approvals, elsewhere, frozen, proving, transition
from agentpkg.engine import intent as intents
from agentpkg.engine.approvals import Waiting
from agentpkg.engine.cleaning import after_landing
from agentpkg.engine.intent import Intent
from agentpkg.engine.project import Project
from agentpkg.engine.review import Cancelled, Judged, approval, make_candidate, require_for_review, review, tips
from agentpkg.git import candidate, landing
from agentpkg.git.landing_recovery import recover as recover_landings
from agentpkg.git.remote import Unreachable

#: how often a target that moves under us is followed before giving up for now
_ROUNDS = 10
#: how often before a person is told
_TOLD = 3
#: seconds to wait for another command that lands something
_PATIENCE = 600.0


@dataclass(frozen=True, slots=True)
class Merged:
    """A package has landed.

    Attributes:
        commits: how many of its own commits came with it.
        kept: what could not be cleaned up, for people.
    """

    row: PackageRow
    merge_commit: str
    unblocked: tuple[str, ...]
    kept: tuple[str, ...] = ()


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
    with _landing_lock(project):
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
            merged = _move_target(project, judged.row, proof, actor, people)
            if merged is not None:
                return merged
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
    with _landing_lock(project):
        recover_record(project)
        for _ in range(_ROUNDS):
            elsewhere.catch_up(project, _target(project, feature))
            head, base = tips(project, row)
            if _is_on(project, head, base):
                there = Landable(head, _tree(project, head), base, head)
                word = give_word(feature, wp, there, actor, reason)
                return _record(project, row, word, _intent(project, row, word, actor))
            made = make_candidate(project, row, frozen.work_package(project, row), head, base)
            if isinstance(made, candidate.Conflict):
                raise FellShort(
                    f"{wp} conflicts with the target in {', '.join(made.paths)}",
                    "merge the target into its branch first",
                    code="conflict",
                )
            word = give_word(feature, wp, Landable(made.commit, made.tree, base, head), actor, reason)
            merged = _move_target(project, row, word, actor)
            if merged is not None:
                return merged
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
    with _landing_lock(project):
        return elsewhere.catch_up(project, target)


def cut_short(project: Project) -> bool:
    """Whether a landing left something behind, and no command is landing something now."""
    if not intents.left_behind(project):
        return False
    try:
        with _landing_lock(project, timeout=0):
            return intents.left_behind(project)
    except Busy:
        return False


def recover(project: Project) -> list[str]:
    """Finishes what a landing that was cut short left behind; nothing while another command lands something.

    Returns:
        What was done, one sentence each.
    """
    if not intents.left_behind(project):
        return []
    try:
        with _landing_lock(project, timeout=0):
            done = [
                f"a landing on {found.ref} was {found.how}"
                for found in recover_landings(project.repository, project.control)
            ]
            return done + recover_record(project)
    except (Busy, Unreachable):
        # the next one that lands something asks again, and says what keeps it from knowing
        return []


def recover_record(project: Project) -> list[str]:
    """Records a landing that has happened and is not recorded; the caller holds the lock ``landing``.

    Raises:
        Unreachable: it was pushed, and the remote does not say whether it arrived.
    """
    intent = intents.read(project)
    if intent is None:
        return []
    row = project.ledger.package(intent.feature, intent.wp)
    done: list[str] = []
    if intent.remote is not None and row is not None and row.state is State.FOR_REVIEW:
        elsewhere.catch_up(project, intent.target)
    # None where the target is gone since: then nothing of it can have landed
    tip = project.branch_tip(intent.target)
    waiting = row is not None and row.state is State.FOR_REVIEW
    if row is not None and tip is not None and waiting and _is_on(project, intent.candidate, tip):
        _record(project, row, _warrant(project, intent), intent)
        done.append(f"{intent.wp} had landed; it is recorded now")
    elif row is not None and row.state is State.DONE and row.merge_commit == intent.candidate:
        after_landing(project, row)
    intents.forget(project)
    return done


def _warrant(project: Project, intent: Intent) -> Warrant:
    if intent.forced is not None:
        there = Landable(intent.candidate, _tree(project, intent.candidate), intent.base, intent.head)
        return give_word(intent.feature, intent.wp, there, intent.actor, intent.forced)
    found = project.ledger.review(intent.feature, intent.wp, intent.head, intent.base, intent.definitions)
    if found is None:
        raise NotAllowed(f"{intent.wp} landed without a recorded review", "run `agentpkg doctor`")
    return proving.proof_of_landed(project, found)


def _tree(project: Project, commit: str) -> str:
    return project.repository.git.text("rev-parse", "--verify", "--end-of-options", f"{commit}^{{tree}}")


# --------------------------------------------------------------------------- one try


def _move_target(
    project: Project, row: PackageRow, warrant: Warrant, actor: str, people: QuestionRow | None = None
) -> Merged | None:  # fmt: skip
    """Moves the target to the candidate and records it; None when the target is elsewhere by now."""
    intent = _intent(project, row, warrant, actor)
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
            f"{outcome.remote} does not take {row.wp}: {outcome.reason}",
            "it stays as it is, approved: let the remote take it, then `agentpkg move` lands it", code="push_refused",
        )  # fmt: skip
    if isinstance(outcome, landing.InTheWay):
        raise _in_the_way(row, outcome)
    if isinstance(outcome, landing.Locked):
        raise Busy(
            f"another git process holds {outcome.lock.name}", f"let it end, or remove {outcome.lock} if none is there",
            code="git_locked",
        )  # fmt: skip
    if isinstance(outcome, landing.TargetMoved):
        return None
    merged = _record(project, row, warrant, intent)
    elsewhere.note_tip(project, intent.target)
    intents.forget(project)
    return merged


def _intent(project: Project, row: PackageRow, warrant: Warrant, actor: str) -> Intent:
    feature = project.ledger.feature(row.feature)
    assert feature is not None
    what = warrant.candidate
    return Intent(
        feature=row.feature, wp=row.wp, actor=actor, target=feature.target, candidate=what.commit, base=what.base,
        head=what.head, strategy=project.settings.merge.strategy,
        forced=warrant.reason if isinstance(warrant, Word) else None,
        definitions=warrant.review.definitions if isinstance(warrant, Proof) else "",
        remote=project.settings.merge.remote,
    )  # fmt: skip


def _target(project: Project, feature: str) -> str:
    row = project.ledger.feature(feature)
    assert row is not None
    return row.target


def _plan(project: Project, intent: Intent, warrant: Warrant) -> landing.LandingPlan:
    return landing.LandingPlan(
        target=intent.target, warrant=warrant, filters=project.settings.worktree.filters, identity=project.user,
        note=f"agentpkg: land {intent.feature} {intent.wp}",
    )  # fmt: skip


def _has_landed(project: Project, intent: Intent) -> bool:
    return project.branch_tip(intent.target) == intent.candidate


def _record(project: Project, row: PackageRow, warrant: Warrant, intent: Intent) -> Merged:
    evidence: list[Mapping[str, str]] = []
    if isinstance(warrant, Proof):
        evidence = _evidence(project, warrant.review)
    with project.ledger.write() as tx:
        done, unblocked = transition.landed(tx, warrant, intent.actor, intent.facts(), evidence)
    project.poke()
    kept = after_landing(project, done)
    return Merged(done, intent.candidate, tuple(unblocked), (f"{kept.path}: {kept.reason}",) if kept else ())


def _evidence(project: Project, found: ReviewRow) -> list[Mapping[str, str]]:
    """The evidence that the review's own entry named."""
    refs: list[Mapping[str, str]] = []
    for entry in project.ledger.entries(found.feature, wp=found.wp):
        if entry.metadata.get("kind") == "review" and entry.metadata.get("candidate") == found.candidate:
            refs = list(entry.evidence_refs)
    return refs


def _is_on(project: Project, commit: str, tip: str) -> bool:
    asked = project.repository.git.run("merge-base", "--is-ancestor", commit, tip, ok=(0, 1, 128))
    return asked.returncode == 0


def _landing_lock(project: Project, timeout: float = _PATIENCE) -> Any:
    return files.lock(project.state / "locks" / "landing.lock", timeout=timeout, what="landing")


def _in_the_way(row: PackageRow, outcome: landing.InTheWay) -> NotAllowed:
    where = Path(outcome.checkout).name if outcome.checkout else "the repository"
    paths = f": {', '.join(outcome.paths[:10])}" if outcome.paths else ""
    return NotAllowed(
        f"{row.wp} cannot land in {where}, {outcome.why}{paths}",
        "commit, move or stash them; the package stays for_review, and the same command lands it then",
        code="in_the_way",
        details={"paths": list(outcome.paths)},
    )


def _restless() -> Busy:
    return Busy("the target keeps moving", "try again when it rests", code="target_moves")
