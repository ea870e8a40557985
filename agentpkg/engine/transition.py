"""The one door through which state changes.

Each function takes an open ledger transaction, asks :mod:`agentpkg.core.states` what may happen, and writes the
chain entry, the current rows and the outbox rows together. Nobody else appends to the ledger. A caller pokes the
relay after the transaction has committed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agentpkg.core import states
from agentpkg.core.errors import NotAllowed
from agentpkg.core.model import (
    Entry,
    FailureClass,
    Feature,
    FeatureRow,
    FeatureState,
    Outcome,
    PackageRow,
    ReviewRow,
    SessionRow,
    State,
    Verdict,
    WorkPackage,
)
from agentpkg.ledger.ledger import Transaction

#: who registers files and ends what no agent ended
SYSTEM = "system:agentpkg"
REVIEWER = "ci:automation"


# --------------------------------------------------------------------------- registration


def register(tx: Transaction, feature: Feature, target: str) -> None:
    """Registers a feature and its packages, or takes over what its files changed (titles, dependencies).

    Args:
        feature: read without problems.
        target: the branch its packages merge into.
    """
    known = tx.feature(feature.id)
    if known is None:
        tx.put_feature(FeatureRow(feature.id, feature.title, FeatureState.PLANNED, target))
        said = {"title": feature.title}
        entry = tx.append(feature.id, None, FeatureState.CREATED, FeatureState.PLANNED, SYSTEM, said)
        _emit_feature(tx, feature.id, FeatureState.CREATED, FeatureState.PLANNED, SYSTEM, entry)
    elif (known.title, known.target) != (feature.title, target):
        tx.put_feature(replace(known, title=feature.title, target=target))
    rows = {row.wp: row for row in tx.packages(feature.id)}
    for package in feature.packages.values():
        row = rows.get(package.id)
        if row is None:
            _register_package(tx, feature.id, package)
        elif (row.title, row.dependencies) != (package.title, package.dependencies):
            tx.put_package(replace(row, title=package.title, dependencies=package.dependencies))
    if any(package.id not in rows for package in feature.packages.values()):
        _follow(tx, feature.id, SYSTEM)


def _register_package(tx: Transaction, feature: str, package: WorkPackage) -> None:
    row = PackageRow(feature, package.id, package.title, State.PLANNED, package.dependencies)
    said = {"path": package.path, "wp_sha256": package.digest}
    tx.append(feature, package.id, states.NONE, State.PLANNED, SYSTEM, said)
    tx.put_package(row)
    if package.lane is not State.PLANNED:
        entry = tx.append(feature, package.id, State.PLANNED, package.lane, SYSTEM, {"kind": "adopted"})
        tx.put_package(replace(row, state=package.lane, finished_at=entry.timestamp))


# --------------------------------------------------------------------------- sessions


def start(tx: Transaction, session: SessionRow, branch: str, metadata: Mapping[str, Any]) -> PackageRow:
    """A dispatch: the package becomes ``doing`` and the session row, which is its lease, is made.

    Raises:
        Busy: another session holds the package.
        NotAllowed: dependencies are open, or the package's state has no way to ``doing``.
    """
    row = require(tx, session.feature, session.wp)
    actor = f"agent:{session.agent}"
    new = replace(
        states.decide_dispatch(row, actor, open_dependencies(tx, row)),
        session=session.id,
        agent=session.agent,
        branch=branch,
        base=session.base,
        head=session.old_head,
        finished_at=None,
    )
    said = {"session": session.id, "epoch": session.epoch, "base": session.base, "head": session.old_head, **metadata}
    entry = _change(tx, row, new, actor, said)
    tx.put_package(replace(new, started_at=entry.timestamp))
    tx.put_session(replace(session, started_at=entry.timestamp))
    return new


def agent_started(tx: Transaction, session: SessionRow) -> None:
    """Tells that the agent's process runs; ``session.agent_pid`` is set."""
    tx.put_session(session)
    tx.emit(
        f"agent.job.{session.id}.started",
        {"feature_slug": session.feature, "wp_id": session.wp, "pid": session.agent_pid, "agent": session.agent},
        key=f"{session.id}:started",
    )


def commit_seen(tx: Transaction, session: str, sha: str, message: str) -> None:
    """Tells of a commit that an agent made; told again, it is the same event."""
    tx.emit(f"agent.job.{session}.commit", {"sha": sha, "message": message}, key=f"{session}:{sha}")


def commits_seen(tx: Transaction, session: str, commits: Sequence[tuple[str, str]], files_changed: int) -> None:
    """Tells of commits seen while a session runs, and counts them for whoever looks.

    Args:
        commits: ids and subjects, oldest first.
        files_changed: how many files differ from where the session began.
    """
    row = tx.session(session)
    if row is None or row.ended_at is not None:
        return
    for sha, subject in commits:
        commit_seen(tx, session, sha, subject)
    tx.put_session(replace(row, commits=row.commits + len(commits), files_changed=files_changed))


@dataclass(frozen=True, slots=True)
class End:
    """How a session ended, as judged by facts."""

    outcome: Outcome
    reason: str | None = None
    cause: FailureClass | None = None
    exit_code: int | None = None
    #: branch tip after admission; None: nothing was admitted
    head: str | None = None
    commits: int = 0
    files_changed: int = 0
    usage: Mapping[str, Any] | None = None
    #: further facts for the chain (findings, timeout, snapshot)
    metadata: Mapping[str, Any] | None = None
    #: where a person's cancel takes the package
    cancelled_by: str | None = None


def finish(tx: Transaction, session_id: str, end: End) -> PackageRow | None:
    """Ends a session and moves its package on. None when its lease is gone: a fenced session changes nothing."""
    session = tx.session(session_id)
    if session is None or session.ended_at is not None:
        return None
    row = require(tx, session.feature, session.wp)
    if row.session != session_id or row.state is not State.DOING:
        return None
    actor = _ended_by(session, end)
    new = states.decide_move(row, State.CANCELLED, end.cancelled_by) if end.cancelled_by else None
    new = new or states.decide_finish(row, end.outcome, actor, end.reason, end.cause)
    new = replace(
        new, head=end.head or row.head, commits=row.commits + end.commits, reason=end.reason,
        files_changed=end.files_changed or row.files_changed,
    )  # fmt: skip
    said = {"job_id": session_id, "outcome": end.outcome, "commits": end.commits, "exit_code": end.exit_code}
    said |= {"head": new.head, "reason": end.reason, "reason_class": end.cause, **(end.metadata or {})}
    said = {k: v for k, v in said.items() if v is not None}
    entry = _change(tx, row, new, actor, said, before=lambda entry: _emit_completed(tx, session, end, entry))
    tx.put_package(replace(new, finished_at=entry.timestamp))
    tx.put_session(_ended(session, end, entry.timestamp))
    return new


def _ended(session: SessionRow, end: End, timestamp: str) -> SessionRow:
    return replace(
        session, ended_at=timestamp, outcome=end.outcome, reason=end.reason, reason_class=end.cause,
        exit_code=end.exit_code, new_head=end.head, commits=end.commits, files_changed=end.files_changed,
        usage=dict(end.usage or {}),
    )  # fmt: skip


def _ended_by(session: SessionRow, end: End) -> str:
    if end.cancelled_by:
        return end.cancelled_by
    if end.outcome is Outcome.TIMEOUT:
        return "system:timeout"
    if end.cause is FailureClass.ENVIRONMENT:
        return "system:recovery"
    if end.cause is FailureClass.CANCELLED:
        return "system:interrupt"
    return f"agent:{session.agent}"


def _emit_completed(tx: Transaction, session: SessionRow, end: End, entry: Entry) -> None:
    tx.emit(
        f"agent.job.{session.id}.completed",
        {
            "success": end.outcome is Outcome.COMPLETED,
            "commits": end.commits,
            "files_changed": end.files_changed,
            "outcome": end.outcome,
            "tests_passed": None,
            "feature_slug": session.feature,
            "wp_id": session.wp,
        },
        entry=entry,
    )


# --------------------------------------------------------------------------- review and landing


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
        {"verdict": review.verdict, "cycle": review.cycle, "candidate": review.candidate, "head": review.head},
        entry=entry,
    )
    return _used_up(tx, new, limit) if used_up else new


def recalled(tx: Transaction, review: ReviewRow, limit: int) -> PackageRow:
    """Gives a package the verdict that is on record for its branch tip; the record itself stays as it is."""
    row = require(tx, review.feature, review.wp)
    new, used_up = states.decide_judged(row, review.verdict, False, limit)
    new = replace(
        new, head=review.head, candidate=review.candidate, tests_passed=review.tests_passed,
        tests_failed=review.tests_failed, reason=_findings(review),
    )  # fmt: skip
    tx.put_package(new)
    return _used_up(tx, new, limit) if used_up else new


def _used_up(tx: Transaction, row: PackageRow, limit: int) -> PackageRow:
    reason = f"review cycles used up ({limit}): {row.reason}"
    blocked = replace(row, state=State.BLOCKED, reason=reason, reason_class=FailureClass.REVIEW)
    _change(tx, row, blocked, REVIEWER, {"reason": reason, "reason_class": FailureClass.REVIEW})
    tx.put_package(blocked)
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
    }


@dataclass(frozen=True, slots=True)
class Approved:
    """Proof that a review approved exactly this candidate; made from a recorded review only."""

    review: ReviewRow

    def __post_init__(self) -> None:
        if self.review.verdict is not Verdict.APPROVED or self.review.candidate is None:
            raise NotAllowed(f"{self.review.wp} has no approval", "run `agentpkg review` first", code="no_approval")


@dataclass(frozen=True, slots=True)
class Forced:
    """A person's word in place of an approval; shown for ever."""

    by: str
    reason: str


Proof = Approved | Forced


def landed(
    tx: Transaction, feature: str, wp: str, proof: Proof, actor: str, metadata: Mapping[str, Any],
    evidence: Sequence[Mapping[str, str]] = (),
) -> tuple[PackageRow, list[str]]:  # fmt: skip
    """Records that a candidate is on the target. Gives the package and the packages this unblocked.

    Args:
        metadata: ``merge_commit``, ``candidate``, ``base``, ``head``, ``strategy``.
    """
    row = require(tx, feature, wp)
    forced = isinstance(proof, Forced)
    states.check(row, State.DONE, actor)
    new = replace(row, state=State.DONE, merge_commit=metadata["merge_commit"], forced=forced, reason=None)
    said = {**metadata, "review_cycle": row.cycle}
    if isinstance(proof, Forced):
        said |= {"forced": True, "reason": proof.reason}
    entry = _change(tx, row, new, actor, said, evidence)
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


# --------------------------------------------------------------------------- a person's moves


def move(tx: Transaction, feature: str, wp: str, to: State, actor: str, metadata: Mapping[str, Any]) -> PackageRow:
    """A person's move to planned, for_review or cancelled (without a live session)."""
    row = require(tx, feature, wp)
    new = states.decide_move(row, to, actor)
    if metadata.get("reason"):
        new = replace(new, reason=str(metadata["reason"]))
    entry = _change(tx, row, new, actor, metadata)
    if to is State.CANCELLED:
        new = replace(new, finished_at=entry.timestamp)
    tx.put_package(new)
    return new


def move_feature(
    tx: Transaction, feature: str, to: FeatureState, actor: str, metadata: Mapping[str, Any]
) -> FeatureRow:
    """A person's move of a whole feature: ``shipped`` once it is validated, or ``cancelled``."""
    row = tx.feature(feature)
    assert row is not None
    if states.actor_kind(actor) != "human":
        raise NotAllowed(f"{actor} may not move a feature", "this is for a person to do", code="not_for_this_actor")
    allowed = {FeatureState.SHIPPED: {FeatureState.VALIDATED}}
    if row.state not in allowed.get(to, set()):
        raise NotAllowed(
            f"{feature} is {row.state}; it cannot become {to} from there",
            "a feature is shipped once all its packages are done" if to is FeatureState.SHIPPED else "",
            code="illegal_transition",
        )
    entry = tx.append(feature, None, row.state, to, actor, metadata)
    tx.put_feature(replace(row, state=to))
    _emit_feature(tx, feature, row.state, to, actor, entry)
    return replace(row, state=to)


# --------------------------------------------------------------------------- shared


def require(tx: Transaction, feature: str, wp: str) -> PackageRow:
    """The package's row. Raises :class:`NotAllowed` when it is not registered."""
    row = tx.package(feature, wp)
    if row is None:
        raise NotAllowed(f"{feature} {wp} is not registered", "check its file with `agentpkg status`")
    return row


def open_dependencies(tx: Transaction, row: PackageRow) -> list[str]:
    """Dependencies that are not done, as the file names them."""
    still = []
    for name in row.dependencies:
        feature, _, wp = name.rpartition("/")
        found = tx.package(feature or row.feature, wp)
        if found is None or found.state is not State.DONE:
            still.append(name)
    return still


def _change(
    tx: Transaction, old: PackageRow, new: PackageRow, actor: str, metadata: Mapping[str, Any],
    evidence: Sequence[Mapping[str, str]] = (), before: Callable[[Entry], None] = lambda entry: None,
) -> Entry:  # fmt: skip
    entry = tx.append(old.feature, old.wp, old.state, new.state, actor, metadata, evidence)
    tx.put_package(new)
    before(entry)
    if old.state is not new.state:
        tx.emit(
            f"feature.{old.feature}.wp.{old.wp}.state.changed",
            {"from": old.state, "to": new.state, "actor": actor, "job_id": new.session},
            entry=entry,
        )
    _follow(tx, old.feature, actor)
    return entry


def _follow(tx: Transaction, feature: str, actor: str) -> None:
    """Lets the feature's state follow its packages'."""
    row = tx.feature(feature)
    assert row is not None
    new = states.feature_state(row.state, [p.state for p in tx.packages(feature)])
    if new is not row.state:
        entry = tx.append(feature, None, row.state, new, actor, {})
        tx.put_feature(replace(row, state=new))
        _emit_feature(tx, feature, row.state, new, actor, entry)


def _emit_feature(tx: Transaction, feature: str, frm: str, to: str, actor: str, entry: Entry) -> None:
    tx.emit(f"feature.{feature}.state.changed", {"from": frm, "to": to, "actor": actor}, entry=entry)
