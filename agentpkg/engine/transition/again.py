"""What is recorded when a ledger is made again: events of entries that came back, and what was found beyond them.

A finding is an entry of ``system:recovery`` with ``metadata.recovered``, which names where it was found. The table of
transitions does not bind it: it tells what has happened, not what shall.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agentpkg.core.model import FailureClass, State
from agentpkg.core.records import Entry, PackageRow, SessionRow
from agentpkg.core.states import NONE
from agentpkg.engine.transition.door import change, emit_feature, require
from agentpkg.ledger.ledger import Transaction

RECOVERY = "system:recovery"


def tell_again(tx: Transaction, entry: Entry) -> None:
    """Puts the events of an entry into the outbox: the same events, for whoever has not heard them yet."""
    said, feature, wp = entry.metadata, entry.feature_id, entry.wp_id
    _, _, moved = entry.transition.rpartition(":")
    frm, _, to = moved.partition("->")
    if wp is None:
        if frm != to:
            emit_feature(tx, feature, frm, to, entry.actor, entry)
    elif said.get("kind") == "review":
        told = {key: said.get(key) for key in ("verdict", "cycle", "candidate", "head")}
        tx.emit(f"feature.{feature}.wp.{wp}.review.completed", told, entry=entry)
    elif frm not in (NONE, to) and (said.get("kind") != "adopted" or entry.actor == RECOVERY):
        job = said.get("session") or said.get("job_id")
        if frm == State.DOING and job:
            told = {key: said.get(key) for key in ("outcome", "commits")}
            more = {"success": to == State.FOR_REVIEW, "feature_slug": feature, "wp_id": wp, "tests_passed": None}
            tx.emit(f"agent.job.{job}.completed", {**told, **more}, entry=entry)
        told = {"from": frm, "to": to, "actor": entry.actor, "job_id": job}
        tx.emit(f"feature.{feature}.wp.{wp}.state.changed", told, entry=entry)


def found_package(tx: Transaction, feature: str, wp: str) -> PackageRow:
    """The row of a package; one that neither files nor entries know is registered by what was found of it."""
    row = tx.package(feature, wp)
    if row is None:
        tx.append(feature, wp, NONE, State.PLANNED, RECOVERY, {"recovered": "session folder"})
        row = PackageRow(feature, wp, wp, State.PLANNED)
        tx.put_package(row)
    return row


def found_session(tx: Transaction, session: SessionRow, branch: str) -> None:
    """Records that a session was begun of which only its folder tells; its row is the lease, as at a dispatch."""
    row = found_package(tx, session.feature, session.wp)
    new = replace(
        row, state=State.DOING, session=session.id, agent=session.agent, branch=branch, base=session.base,
        head=session.old_head, reason=None, reason_class=None, finished_at=None,
    )  # fmt: skip
    said: dict[str, Any] = {
        "recovered": "session folder", "session": session.id, "epoch": session.epoch, "base": session.base,
        "head": session.old_head, "agent": session.agent, "harness": session.harness, "branch": branch,
        "isolation": session.isolation, "model": session.model,
    }  # fmt: skip
    entry = change(tx, row, new, RECOVERY, {key: value for key, value in said.items() if value is not None})
    tx.put_package(replace(new, started_at=entry.timestamp))
    tx.put_session(replace(session, started_at=entry.timestamp))


def found_landing(tx: Transaction, feature: str, wp: str, facts: Mapping[str, Any]) -> None:
    """Records that a package has landed, by a commit on the target.

    Args:
        facts: ``merge_commit`` and what else is known; ``kind: adopted`` where the entry that the commit names is lost.
    """
    row = found_package(tx, feature, wp)
    new = replace(row, state=State.DONE, merge_commit=str(facts["merge_commit"]), reason=None, reason_class=None)
    entry = change(tx, row, new, RECOVERY, {"recovered": "landed commit", **facts})
    tx.put_package(replace(new, finished_at=entry.timestamp))


def found_branch(tx: Transaction, feature: str, wp: str, branch: str, head: str) -> None:
    """Records that a package has a branch with commits of its own, of which nothing else tells."""
    row = require(tx, feature, wp)
    reason = f"environment: the ledger was made again; {branch} has commits, and nothing tells how they came about"
    new = replace(
        row, state=State.BLOCKED, branch=branch, head=head, reason=reason, reason_class=FailureClass.ENVIRONMENT
    )
    said = {"recovered": "branch", "branch": branch, "head": head, "reason": reason, "reason_class": new.reason_class}
    change(tx, row, new, RECOVERY, said)
