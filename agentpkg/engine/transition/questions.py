"""A question is asked, answered, overtaken or withdrawn: chain entry, row and event together."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from agentpkg.core import questions
from agentpkg.core.errors import BadInput, NotAllowed
from agentpkg.core.model import State
from agentpkg.core.records import Entry, PackageRow, QuestionRow
from agentpkg.engine.transition.door import REVIEWER, require
from agentpkg.engine.transition.moves import move
from agentpkg.engine.transition.queue import tell
from agentpkg.ledger.ledger import Transaction

#: who answers when nobody did in time
TIMEOUT = "system:timeout"


@dataclass(frozen=True, slots=True)
class Asked:
    """A question before it has a number; the attributes are those of :class:`QuestionRow`."""

    kind: str
    subject: str
    text: str
    details: Mapping[str, Any] = field(default_factory=dict)
    options: tuple[str, ...] = (questions.YES, questions.NO)
    fallback: str = questions.NO
    deadline: str | None = None
    people: int = 1
    approvers: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    session: str | None = None


def ask(tx: Transaction, row: PackageRow, asked: Asked) -> QuestionRow:
    """Puts a question about a package into the queue; an open one about an older candidate expires."""
    for old in _open(tx, row, asked.kind, asked.session) if asked.kind == questions.APPROVAL else ():
        expire(tx, row, old, "there is a new candidate")
    question = QuestionRow(
        tx.next_question(), asked.kind, row.feature, row.wp, asked.session, asked.subject, asked.text, asked.details,
        asked.options, asked.fallback, asked.deadline, asked.people, asked.approvers, asked.excluded, tx.now(),
    )  # fmt: skip
    tx.put_question(question)
    said = {
        "kind": "question", "question": question.number, "about": question.kind, "candidate": question.subject,
        "text": question.text, "needs": question.details.get("needs"), "people": question.people,
        "approvers": list(question.approvers), "excluded": list(question.excluded), "deadline": question.deadline,
        "default": question.fallback, "session": question.session,
    }  # fmt: skip
    entry = _entry(tx, row, said)
    tell(tx, question, "asked", entry, {"text": question.text, "options": list(question.options),
          "default": question.fallback, "deadline": question.deadline, "people": question.people})  # fmt: skip
    return question


def answer(tx: Transaction, number: int, actor: str, option: str, reason: str | None) -> QuestionRow:
    """Records a person's answer.

    Raises:
        BadInput: there is no question of that number, or it has no such option.
        NotAllowed: the question is closed, or this actor may not answer.
    """
    question = require_open(tx, number)
    row = require(tx, question.feature, question.wp or "")
    if option not in question.options:
        raise BadInput(
            f"{questions.name(number)} cannot be answered {option}", f"answer {' or '.join(question.options)}",
            code="no_such_answer",
        )  # fmt: skip
    why = questions.objection(question, actor)
    if why is not None:
        raise NotAllowed(f"{actor} may not answer {questions.name(number)}: {why}",
                         "`agentpkg questions` shows who may", code="not_for_this_actor")  # fmt: skip
    return _answered(tx, row, questions.answered(question, actor, option, reason, tx.now()))


def require_open(tx: Transaction, number: int) -> QuestionRow:
    """A question that waits for an answer.

    Raises:
        BadInput: there is none of that number.
        NotAllowed: it is closed.
    """
    question = tx.question(number)
    if question is None:
        raise BadInput(
            f"there is no question {questions.name(number)}", "see `agentpkg questions`", code="unknown_question"
        )
    if question.state != "open":
        by = ", ".join(str(given["by"]) for given in question.answers)
        how = f"answered {question.answer} by {by}" if question.answer else question.state
        raise NotAllowed(
            f"{questions.name(number)} is closed: {how}", "see `agentpkg questions` for what is open",
            code="question_closed",
        )  # fmt: skip
    return question


def time_out(tx: Transaction) -> list[QuestionRow]:
    """Answers every question whose deadline has passed by its default."""
    late = [q for q in tx.questions(open_only=True) if questions.overdue(q, tx.now())]
    return [_answered(tx, require(tx, q.feature, q.wp or ""), questions.timed_out(q, tx.now()), TIMEOUT) for q in late]


def expire(tx: Transaction, row: PackageRow, question: QuestionRow, why: str) -> None:
    """Closes an open question whose subject is no more what would land."""
    closed = replace(question, state="expired", closed_at=tx.now())
    tx.put_question(closed)
    said = {"kind": "question", "question": closed.number, "state": "expired", "candidate": closed.subject,
            "reason": why}  # fmt: skip
    tell(tx, closed, "closed", _entry(tx, row, said), {"state": "expired", "reason": why})


def expire_all(tx: Transaction, row: PackageRow, why: str) -> None:
    """Closes the open questions about a package's candidate."""
    for question in _open(tx, row, questions.APPROVAL, None):
        expire(tx, row, question, why)


def _open(tx: Transaction, row: PackageRow, kind: str, session: str | None) -> list[QuestionRow]:
    found = tx.questions(row.feature, row.wp, kind=kind, open_only=True)
    return [question for question in found if question.session == session]


def _answered(tx: Transaction, row: PackageRow, question: QuestionRow, by: str | None = None) -> QuestionRow:
    """Writes the newest answer down; the entry is the review's, as the table has it, and names who gave it."""
    tx.put_question(question)
    given = question.answers[-1]
    good = given["answer"] == question.options[0]
    kind = ("approval" if good else "denial") if question.kind == questions.APPROVAL else "answer"
    said = {
        "kind": kind, "by": by or str(given["by"]), "question": question.number, "candidate": question.subject,
        "answer": given["answer"],
        "reason": given["reason"], "needs": question.details.get("needs"), "missing": questions.missing(question),
    }  # fmt: skip
    if question.kind == questions.APPROVAL and question.state == "answered":
        people = ", ".join(questions.favourable(question.answers, question.options[0])) if good else None
        tx.put_package(replace(row, approved_by=people))
    entry = _entry(tx, row, said)
    tell(tx, question, "answered", entry, {"answer": given["answer"], "by": given["by"], "reason": given["reason"],
          "state": question.state, "missing": questions.missing(question)})  # fmt: skip
    if question.kind == questions.CONFLICT and question.answer == questions.AGAIN:
        move(tx, row.feature, row.wp, State.PLANNED, str(given["by"]), {"question": question.number})
    return question


def _entry(tx: Transaction, row: PackageRow, said: Mapping[str, Any]) -> Entry:
    kept = {key: value for key, value in said.items() if value is not None}
    return tx.append(row.feature, row.wp, row.state, row.state, REVIEWER, kept)
