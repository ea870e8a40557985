"""The audit of a chain in a real ledger that somebody has tampered with, by each of its anchors."""

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agentpkg.core.errors import Lacking
from agentpkg.engine.upkeep import auditing
from agentpkg.ledger.audit import AuditReport
from tests.support.engine_shop import FEATURE, Shop, ShopFactory
from tests.support.repos import git
from tests.support.wait import until

#: entries of a feature with one package that landed
_ALL = 8


def landed(shops: ShopFactory, *, anchored: bool) -> Shop:
    """A shop with one landed package, with or without the audit ref."""
    shop = shops()
    shop.run()
    ref = f"refs/agentpkg/audit/{FEATURE}"
    until(lambda: _anchored(shop) == _ALL, what="the anchor")
    assert auditing.verify(shop.project, FEATURE).ok
    shop.close()
    if not anchored:
        git(shop.repo, "update-ref", "-d", ref)
    return shop


def _anchored(shop: Shop) -> int:
    from agentpkg.git.audit import anchored

    return anchored(shop.project.repository, FEATURE)[0]


@contextlib.contextmanager
def raw(shop: Shop) -> Iterator[sqlite3.Connection]:
    """The database without its triggers, as somebody with a text editor for it would have it."""
    with contextlib.closing(sqlite3.connect(shop.state / "ledger.db")) as db:
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            db.execute(f"DROP TRIGGER {name}")
        yield db
        db.commit()


def verify(shop: Shop) -> AuditReport:
    return auditing.verify(shop.project, FEATURE)


def _columns(db: sqlite3.Connection) -> list[str]:
    return [row[1] for row in db.execute("PRAGMA table_info(entries)")]


def rebuild(db: sqlite3.Connection) -> None:
    """Makes the chain good again in itself, with new ids and hashes, and records its head: a thorough forger."""
    db.row_factory = sqlite3.Row
    before = "0" * 64
    rows = [dict(row) for row in db.execute("SELECT * FROM entries ORDER BY id")]
    for number, row in enumerate(rows, start=1):
        body = {
            "id": number, "feature_id": row["feature_id"], "wp_id": row["wp_id"], "timestamp": row["timestamp"],
            "actor": row["actor"], "transition": row["transition"], "prev_hash": before,
            "evidence_refs": json.loads(row["evidence_refs"]), "metadata": json.loads(row["metadata"]),
        }  # fmt: skip
        text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        digest = hashlib.sha256(text.encode()).hexdigest()
        db.execute(
            "UPDATE entries SET id = ?, prev_hash = ?, hash = ? WHERE seq = ?", (number, before, digest, row["seq"])
        )
        before = digest
    for name in _tables(db):
        columns = [column[1] for column in db.execute(f"PRAGMA table_info({name})")]
        if name != "entries" and {"hash", "id"} <= set(columns) and "head" in name:
            db.execute(f"UPDATE {name} SET id = ?, hash = ?", (len(rows), before))


def _tables(db: sqlite3.Connection) -> list[str]:
    return [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]


def edit(db: sqlite3.Connection) -> None:
    db.execute("UPDATE entries SET actor = 'human:eve' WHERE id = 4")


def delete(db: sqlite3.Connection) -> None:
    db.execute("DELETE FROM entries WHERE id = 4")


def truncate(db: sqlite3.Connection) -> None:
    db.execute("DELETE FROM entries WHERE id >= 6")


def reorder(db: sqlite3.Connection) -> None:
    db.execute("UPDATE entries SET id = 1000 WHERE id = 4")
    db.execute("UPDATE entries SET id = 4 WHERE id = 5")
    db.execute("UPDATE entries SET id = 5 WHERE id = 1000")


def insert(db: sqlite3.Connection) -> None:
    for number in range(_ALL, 3, -1):
        db.execute("UPDATE entries SET id = ? WHERE id = ?", (number + 1, number))
    names = [name for name in _columns(db) if name not in ("seq", "id", "hash")]
    columns = ", ".join(names)
    db.execute(f"INSERT INTO entries (id, hash, {columns}) SELECT 4, '{'1' * 64}', {columns} FROM entries WHERE id = 3")


_TAMPERING: dict[str, tuple[Callable[[Any], None], int]] = {
    "edit": (edit, 4), "delete": (delete, 4), "truncate": (truncate, 6), "reorder": (reorder, 4), "insert": (insert, 4),
}  # fmt: skip


@contextlib.contextmanager
def tampered(shop: Shop, how: str, *, anew: bool = False) -> Iterator[AuditReport]:
    """The report of a ledger that was tampered with; afterwards it is as it was."""
    file = shop.state / "ledger.db"
    with contextlib.closing(sqlite3.connect(":memory:")) as kept, contextlib.closing(sqlite3.connect(file)) as ledger:
        ledger.backup(kept)
        with raw(shop) as db:
            _TAMPERING[how][0](db)
            if anew:
                rebuild(db)
        yield verify(shop)
        kept.backup(ledger)


@pytest.mark.slow
@pytest.mark.parametrize("anchored", [True, False])
def test_tampering_is_found_at_its_first_entry(shops: ShopFactory, anchored: bool) -> None:
    shop = landed(shops, anchored=anchored)
    for how, (_, first) in _TAMPERING.items():
        with tampered(shop, how) as report:
            assert (report.ok, report.first_bad) == (False, first), (how, report.reason)
    assert verify(shop).ok


@pytest.mark.slow
def test_a_chain_that_was_written_anew_differs_from_the_copy_in_git(shops: ShopFactory) -> None:
    shop = landed(shops, anchored=True)
    for how, (_, first) in _TAMPERING.items():
        with tampered(shop, how, anew=True) as report:
            assert (report.ok, report.first_bad) == (False, first), (how, report.reason)


@pytest.mark.slow
def test_a_chain_that_was_written_anew_does_not_fit_the_trailers_of_what_landed(shops: ShopFactory) -> None:
    shop = landed(shops, anchored=False)
    for how in ("edit", "delete", "reorder"):
        with tampered(shop, how, anew=True) as report:
            assert not report.ok, how


@pytest.mark.slow
def test_a_chain_that_was_cut_before_what_a_landed_commit_saw_does_not_fit_its_trailer(shops: ShopFactory) -> None:
    shop = landed(shops, anchored=False)
    with raw(shop) as db:
        db.execute("DELETE FROM entries WHERE id >= 5")
        rebuild(db)
    report = verify(shop)
    assert (report.ok, report.first_bad) == (False, 5)


@pytest.mark.slow
def test_a_chain_that_goes_on_after_its_anchor_is_good(shops: ShopFactory) -> None:
    shop = landed(shops, anchored=True)
    shop.package("WP02")
    shop.project.ensure_registered(shop.project.good_feature("003"))
    report = verify(shop)
    assert report.ok
    assert report.entries > _ALL


@pytest.mark.slow
def test_a_target_that_was_wound_back_is_found_at_the_entry_that_landed(shops: ShopFactory) -> None:
    shop = landed(shops, anchored=True)
    git(shop.repo, "reset", "-q", "--hard", "main~1")
    report = verify(shop)
    assert (report.ok, report.first_bad) == (False, 7)
    assert "not on the target" in (report.reason or "")


@pytest.mark.slow
def test_what_a_done_entry_names_is_never_taken_for_an_option(shops: ShopFactory) -> None:
    shop = landed(shops, anchored=False)
    with raw(shop) as db:
        db.execute(
            """UPDATE entries SET metadata = json_set(metadata, '$.merge_commit', '--output=/tmp/x') WHERE id = 7"""
        )
        rebuild(db)
    assert verify(shop).first_bad == 7


@pytest.mark.slow
def test_a_ledger_that_is_gone_is_found_by_the_anchor_and_not_begun_anew(shops: ShopFactory) -> None:
    shop = landed(shops, anchored=True)
    for file in shop.state.glob("ledger.db*"):
        file.unlink()
    assert auditing.audited(shop.project) == [FEATURE]
    report = auditing.verify(shop.project, FEATURE)
    assert (report.ok, report.first_bad) == (False, 1)
    with pytest.raises(Lacking, match="is gone"):
        shop.implement("WP01")


@pytest.mark.slow
def test_a_target_that_is_gone_is_no_reason_not_to_verify(shops: ShopFactory) -> None:
    shop = landed(shops, anchored=True)
    git(shop.repo, "branch", "-m", "main", "trunk")
    report = auditing.verify(shop.project, FEATURE)
    assert not report.ok
    assert "not on the target" in (report.reason or "")
