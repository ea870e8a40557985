"""The queue of questions in the ledger, and how ledgers from before it get one."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from agentpkg.core.records import Need, QuestionRow, ReviewRow
from agentpkg.ledger import db
from agentpkg.ledger.ledger import Ledger
from tests.ledger import support
from tests.ledger.support import FEATURE

QUESTION = QuestionRow(
    1, "approval", FEATURE, "WP02", None, "c" * 40, "merge: it lands", {"tree": "t", "needs": [{"action": "merge"}]},
    ("yes", "no"), "no", "2026-03-03T12:00:00.000000Z", 2, ("human:ada",), ("human:bob",),
    "2026-03-02T12:00:00.000000Z",
    ({"by": "human:ada", "answer": "yes", "reason": None, "time": "2026-03-02T13:00:00.000000Z"},),
)  # fmt: skip
NEEDY = replace(support.REVIEW_ROW, needs=(Need("dependencies", "new in pyproject.toml: x", ("pyproject.toml",)),))


def first_version(path: Path) -> None:
    """A ledger as the first schema had it, filled by hand."""
    path.parent.mkdir()
    review = support.REVIEW_ROW
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in db.split(db.migrations()[0]):
            connection.execute(statement)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("INSERT INTO features VALUES (?, 'Auth', 'implementing', 'main')", (FEATURE,))
        connection.execute(
            "INSERT INTO packages (feature, wp, title, state, dependencies, cycle, failures, forced, commits,"
            " files_changed) VALUES (?, 'WP02', 'Login', 'for_review', '[]', 1, 0, 0, 1, 1)",
            (FEATURE,),
        )
        connection.execute(
            "INSERT INTO reviews (feature, wp, head, base, definitions, verdict, cycle, candidate, checks, created_at)"
            " VALUES (?, 'WP02', ?, ?, ?, 'approved', 1, ?, '[]', ?)",
            (FEATURE, review.head, review.base, review.definitions, review.candidate, review.created_at),
        )
        connection.execute("PRAGMA user_version = 1")


@pytest.mark.parametrize("reading", [False, True])
def test_a_ledger_from_before_the_queue_keeps_its_reviews_and_gets_one(tmp_path: Path, reading: bool) -> None:
    path = tmp_path / "state" / "ledger.db"
    first_version(path)
    if reading:
        looked = Ledger.open_existing(path)
        assert looked is not None
        with looked:
            assert looked.questions() == []
    with Ledger.open(path) as ledger:
        (review,) = ledger.reviews(FEATURE, "WP02")
        assert isinstance(review, ReviewRow)
        assert (review.candidate, review.needs) == (support.REVIEW_ROW.candidate, ())
        with ledger.write() as tx:
            tx.put_review(replace(review, needs=NEEDY.needs))
            tx.put_question(QUESTION)
        assert ledger.reviews(FEATURE, "WP02")[0].needs == NEEDY.needs
        assert ledger.questions(FEATURE, "WP02", kind="approval", open_only=True) == [QUESTION]


def test_questions_are_numbered_in_turn_and_asked_once_at_a_time(tmp_path: Path) -> None:
    with Ledger.open(tmp_path / "state" / "ledger.db") as ledger:
        support.fill(ledger)
        with ledger.write() as tx:
            assert tx.next_question() == 1
            tx.put_question(QUESTION)
            assert tx.next_question() == 2
        with pytest.raises(sqlite3.IntegrityError), ledger.write() as tx:
            tx.put_question(replace(QUESTION, number=2))
        with ledger.write() as tx:
            tx.put_question(replace(QUESTION, state="answered", answer="yes"))
            tx.put_question(replace(QUESTION, number=2))
        assert [q.number for q in ledger.questions(open_only=True)] == [2]
        assert ledger.question(3) is None
