"""A session begins, is heard of, and ends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agentpkg.core import states
from agentpkg.core.model import FailureClass, Outcome, State
from agentpkg.core.records import Entry, PackageRow, SessionRow
from agentpkg.engine.transition.door import change, open_dependencies, require
from agentpkg.engine.transition.queue import withdraw_of
from agentpkg.ledger.ledger import Transaction


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
        # a branch that begins at the target has nothing of its own yet, whatever another one had
        commits=0 if session.old_head == session.base else row.commits,
        files_changed=0 if session.old_head == session.base else row.files_changed,
        finished_at=None,
    )
    said = {"session": session.id, "epoch": session.epoch, "base": session.base, "head": session.old_head, **metadata}
    entry = change(tx, row, new, actor, said)
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


def finish(tx: Transaction, session_id: str, end: End, told_by: str | None = None) -> PackageRow | None:
    """Ends a session and moves its package on. None when its lease is gone: a fenced session changes nothing.

    Args:
        told_by: the actor of the entry, where it is not who ended the session.
    """
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
    said |= {"usage": dict(end.usage) if end.usage else None, "files_changed": end.files_changed or None}
    said |= {"head": new.head, "reason": end.reason, "reason_class": end.cause, **(end.metadata or {})}
    said = {k: v for k, v in said.items() if v is not None}
    entry = change(tx, row, new, told_by or actor, said, before=lambda entry: _emit_completed(tx, session, end, entry))
    tx.put_package(replace(new, finished_at=entry.timestamp))
    tx.put_session(_ended(session, end, entry.timestamp))
    withdraw_of(tx, session_id, row, entry)
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
