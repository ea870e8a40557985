"""What has landed gets into the ledger: right after it did, or by whoever finds that a landing was cut short.

Before the target moves, what is about to happen is written to ``landing-intent.json``; whoever finds that file after a
crash asks the target's history whether it did happen, and records it or forgets it (:func:`recover`). A batch is
recorded in one transaction: all of it, or nothing yet.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from agentpkg import files
from agentpkg.core.errors import Busy, NotAllowed
from agentpkg.core.model import State
from agentpkg.core.proof import Landable, OfOne, Together, Warrant, Word, give_word
from agentpkg.core.records import PackageRow, ReviewRow
from agentpkg.engine import transition
from agentpkg.engine.cleaning import after_landing
from agentpkg.engine.judging import proving
from agentpkg.engine.landing import elsewhere
from agentpkg.engine.landing import intent as intents
from agentpkg.engine.landing.intent import Intent
from agentpkg.engine.project import Project
from agentpkg.git.landing_recovery import recover as recover_landings
from agentpkg.git.refs import tree_of
from agentpkg.git.remote import Unreachable

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


def landing_lock(project: Project, timeout: float = _PATIENCE) -> AbstractContextManager[Any]:
    """Held by whoever lands something."""
    return files.lock(project.state / "locks" / "landing.lock", timeout=timeout, what="landing")


def record(project: Project, warrant: Warrant, intent: Intent) -> list[Merged]:
    """Records what the target has, in one transaction, and removes the worktrees and branches that nothing needs."""
    parts: Sequence[OfOne] = warrant.parts if isinstance(warrant, Together) else (warrant,)
    with project.ledger.write() as tx:
        done = [
            transition.landed(tx, part, intent.actor, intent.facts(), _evidence(project, part))
            for part in parts
            # of a batch those are left out that a person has moved meanwhile
            if len(parts) == 1 or _waits(tx.package(part.feature, part.wp))
        ]
    project.poke()
    return [_cleaned(project, row, unblocked) for row, unblocked in done]


def _waits(row: PackageRow | None) -> bool:
    return row is not None and row.state is State.FOR_REVIEW


def _cleaned(project: Project, done: PackageRow, unblocked: Sequence[str]) -> Merged:
    kept = after_landing(project, done)
    return Merged(done, done.merge_commit or "", tuple(unblocked), (f"{kept.path}: {kept.reason}",) if kept else ())


def _evidence(project: Project, part: OfOne) -> list[Mapping[str, str]]:
    """The evidence that the review's own entry named."""
    refs: list[Mapping[str, str]] = []
    if isinstance(part, Word):
        return refs
    for entry in project.ledger.entries(part.feature, wp=part.wp):
        if entry.metadata.get("kind") == "review" and entry.metadata.get("candidate") == part.review.candidate:
            refs = list(entry.evidence_refs)
    return refs


# --------------------------------------------------------------------------- what was cut short


def cut_short(project: Project) -> bool:
    """Whether a landing left something behind, and no command is landing something now."""
    if not intents.left_behind(project):
        return False
    try:
        with landing_lock(project, timeout=0):
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
        with landing_lock(project, timeout=0):
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
    rows = [project.ledger.package(intent.feature, piece.wp) for piece in intent.pieces]
    waiting = [row.wp for row in rows if row is not None and row.state is State.FOR_REVIEW]
    done: list[str] = []
    if intent.remote is not None and waiting:
        elsewhere.catch_up(project, intent.target)
    # None where the target is gone since: then nothing of it can have landed
    tip = project.branch_tip(intent.target)
    if waiting and tip is not None and is_on(project, intent.candidate, tip):
        record(project, _warrant(project, intent), intent)
        done.append(f"{', '.join(waiting)} had landed; it is recorded now")
    elif not waiting:
        for row, piece in zip(rows, intent.pieces, strict=True):
            if row is not None and row.state is State.DONE and row.merge_commit == piece.candidate:
                after_landing(project, row)
    intents.forget(project)
    return done


def _warrant(project: Project, intent: Intent) -> Warrant:
    if intent.forced is not None:
        there = Landable(intent.candidate, tree_of(project.repository.git, intent.candidate), intent.base, intent.head)
        return give_word(intent.feature, intent.wp, there, intent.actor, intent.forced)
    return proving.proof_of_landed(project, [_review(project, intent, piece) for piece in intent.pieces])


def _review(project: Project, intent: Intent, piece: intents.Piece) -> ReviewRow:
    found = project.ledger.review(intent.feature, piece.wp, piece.head, piece.base, piece.definitions)
    if found is None:
        raise NotAllowed(f"{piece.wp} landed without a recorded review", "run `agentpkg doctor`")
    return found


def is_on(project: Project, commit: str, tip: str) -> bool:
    """Whether a commit is in the history of a tip."""
    asked = project.repository.git.run("merge-base", "--is-ancestor", commit, tip, ok=(0, 1, 128))
    return asked.returncode == 0
