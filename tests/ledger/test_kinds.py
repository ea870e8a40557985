"""Entries of a kind are found by an index, which a ledger of the version before gets with its entries in place."""

import sqlite3
from contextlib import closing
from pathlib import Path

from agentpkg.ledger import db
from agentpkg.ledger.ledger import Ledger
from tests.ledger import support
from tests.ledger.support import FEATURE


def filled(path: Path) -> list[int]:
    """A ledger with notes among other entries; gives the ids of those of kind ``told``."""
    with Ledger.open(path) as ledger:
        support.fill(ledger)
        with ledger.write() as tx:
            ids = []
            for number in range(6):
                kind = "told" if number % 2 else "run_paused"
                entry = tx.append(FEATURE, None, "planned", "planned", "human:ann", {"kind": kind, "number": number})
                ids += [entry.id] if kind == "told" else []
    return ids


def test_entries_of_a_kind_come_in_order_and_the_newest_alone(tmp_path: Path) -> None:
    ids = filled(tmp_path / "ledger.db")
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        assert [entry.id for entry in ledger.noted(FEATURE, "told")] == ids
        newest = ledger.newest(FEATURE, "told", "run_paused", "no such kind")
        assert newest is not None
        assert newest.id == ids[-1]
        assert ledger.newest(FEATURE, "no such kind") is None
        assert ledger.noted("other", "told") == []


def test_a_ledger_of_the_version_before_gets_the_index_with_its_entries(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ids = filled(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DROP INDEX entries_kind")
        # of the version after
        connection.execute("ALTER TABLE reviews DROP COLUMN batch")
        connection.execute(f"PRAGMA user_version = {_number() - 1}")
    with Ledger.open(path) as ledger:
        assert [entry.id for entry in ledger.noted(FEATURE, "told")] == ids
    with closing(sqlite3.connect(path)) as connection:
        statement = db.statements()["noted"].format(columns="id")
        plan = connection.execute(f"EXPLAIN QUERY PLAN {statement}", (FEATURE, "told")).fetchall()
    assert "entries_kind" in str(plan)


def _number() -> int:
    (found,) = (Path(db.__file__).parent / "migrations").glob("*_kinds.sql")
    return int(found.name[:4])
