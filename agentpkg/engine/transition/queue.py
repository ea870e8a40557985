"""Events of the queue of questions, and what leaves it by itself."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agentpkg.core import questions
from agentpkg.core.model import State
from agentpkg.core.records import Entry, PackageRow, QuestionRow
from agentpkg.ledger.ledger import Transaction


def tell(tx: Transaction, question: QuestionRow, what: str, entry: Entry, more: Mapping[str, Any]) -> None:
    """Tells that a question was ``asked``, ``answered`` or ``closed``."""
    said = {"question": question.number, "kind": question.kind, "candidate": question.subject, "wp_id": question.wp}
    tx.emit(f"feature.{question.feature}.wp.{question.wp}.question.{what}", {**said, **more}, entry=entry)


def withdraw_of(tx: Transaction, session: str, row: PackageRow, entry: Entry) -> None:
    """Takes back what an agent has asked and nobody has answered, since its session is over."""
    for question in tx.questions(row.feature, row.wp, kind=questions.PERMISSION, open_only=True):
        if question.session == session:
            tx.put_question(replace(question, state="withdrawn", closed_at=tx.now()))
            tell(tx, question, "closed", entry, {"state": "withdrawn", "reason": "its session is over"})


def withdraw(tx: Transaction, row: PackageRow, entry: Entry) -> None:
    """Takes back what was asked, and what was answered, about a package that does not wait for review any more."""
    if row.state is not State.BLOCKED:
        _withdraw_open(tx, row, entry, questions.CONFLICT)
    if row.state is State.FOR_REVIEW:
        return
    for question in tx.questions(row.feature, row.wp, kind=questions.APPROVAL):
        was_open = question.state == "open"
        if was_open or (question.state == "answered" and row.state is not State.DONE):
            tx.put_question(replace(question, state="withdrawn", closed_at=question.closed_at or tx.now()))
        if was_open:
            tell(tx, question, "closed", entry, {"state": "withdrawn", "reason": f"{row.wp} is {row.state}"})


def _withdraw_open(tx: Transaction, row: PackageRow, entry: Entry, kind: str) -> None:
    for question in tx.questions(row.feature, row.wp, kind=kind, open_only=True):
        tx.put_question(replace(question, state="withdrawn", closed_at=tx.now()))
        tell(tx, question, "closed", entry, {"state": "withdrawn", "reason": f"{row.wp} is {row.state}"})
