"""The audit: damage done to the real file, and what git holds of the chain."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agentpkg.core import chain
from agentpkg.ledger import audit
from agentpkg.ledger.audit import AuditReport
from agentpkg.ledger.ledger import Ledger
from tests.ledger.support import FEATURE, SteppedClock, register

MERGE = "c" * 40

#: what somebody does to the file, and the first entry that is bad then; the chain has 9
DAMAGES = {
    "an actor": ("UPDATE entries SET actor = 'human:mallory' WHERE id = 5", 5),
    "metadata": ("""UPDATE entries SET metadata = '{"number":99}' WHERE id = 5""", 5),
    "metadata of another type": ("UPDATE entries SET metadata = '[1]' WHERE id = 5", 5),
    "metadata cut off": ("""UPDATE entries SET metadata = '{"numb' WHERE id = 5""", 5),
    "metadata not a number": ("""UPDATE entries SET metadata = '{"number":NaN}' WHERE id = 5""", 5),
    "evidence": ("UPDATE entries SET evidence_refs = '{}' WHERE id = 5", 5),
    "the package": ("UPDATE entries SET wp_id = NULL WHERE id = 5", 5),
    "the time": ("UPDATE entries SET timestamp = '2020-01-01T00:00:00.000000Z' WHERE id = 5", 5),
    "the hash": ("UPDATE entries SET hash = 'x' || hash WHERE id = 5", 5),
    "the link": ("UPDATE entries SET prev_hash = 'x' || prev_hash WHERE id = 5", 5),
    "text that is no UTF-8": ("UPDATE entries SET actor = CAST(x'ff' AS TEXT) WHERE id = 5", 5),
    "bytes for text": ("UPDATE entries SET actor = x'00ff' WHERE id = 5", 5),
    "a text for the id": ("UPDATE entries SET id = 'five' WHERE id = 5", 5),
    "another feature's": ("UPDATE entries SET feature_id = '004-other' WHERE id = 5", 5),
    "deleted": ("DELETE FROM entries WHERE id = 5", 5),
    "the first deleted": ("DELETE FROM entries WHERE id = 1", 1),
    "all deleted": ("DELETE FROM entries", 1),
    "cut off": ("DELETE FROM entries WHERE id > 5", 6),
    "the last deleted": ("DELETE FROM entries WHERE id = 9", 9),
    "moved in the order of all": ("UPDATE entries SET seq = 100 WHERE id = 5", 6),
}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A chain of nine, whose entry 7 landed WP01."""
    with Ledger.open(tmp_path / "ledger.db", SteppedClock()) as ledger:
        with ledger.write() as tx:
            register(tx, FEATURE, "WP01", "WP02")
            for number in range(4, 10):
                if number == 7:
                    tx.append(FEATURE, "WP01", "for_review", "done", "ci:automation", {"merge_commit": MERGE})
                else:
                    tx.append(FEATURE, "WP02", "for_review", "for_review", "ci:automation", {"number": number})
        yield ledger


def tamper(ledger: Ledger, script: str) -> None:
    """Changes the file behind the ledger's back, triggers and all."""
    with closing(sqlite3.connect(ledger.path)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.executescript(script)


def rewrite(ledger: Ledger, script: str) -> None:
    """Changes the file, then makes the whole chain fit again: ids, links, hashes and the recorded head."""
    tamper(ledger, script)
    with closing(sqlite3.connect(ledger.path)) as connection, connection:
        prev_hash = chain.ZERO
        for number, entry in enumerate(list(ledger.entries(FEATURE)), start=1):
            line: dict[str, Any] = chain.as_dict(entry) | {"id": number, "prev_hash": prev_hash}
            line["hash"] = chain.link(prev_hash, line)
            connection.execute(
                "UPDATE entries SET id = ?, prev_hash = ?, hash = ? WHERE seq = ?",
                (number, prev_hash, line["hash"], entry.seq),
            )
            prev_hash = line["hash"]
        connection.execute("UPDATE heads SET id = ?, hash = ?", (number, prev_hash))


def anchor(ledger: Ledger, count: int = 9) -> list[str]:
    return list(chain.export_lines(ledger.entries(FEATURE, limit=count)))


def audited(ledger: Ledger, lines: Sequence[Any] | None = None, **other: Any) -> AuditReport:
    entries = list(ledger.entries(FEATURE))
    known: dict[str, Any] = {"trailers": {MERGE: entries[3].hash if len(entries) > 3 else ""}, "on_target": {MERGE}}
    return audit.verify(entries, lines, **(known | {"recorded": ledger.head(FEATURE)} | other))


def test_a_good_chain_is_good_with_and_without_anchor(ledger: Ledger) -> None:
    head = ledger.head(FEATURE)[1]

    assert audited(ledger).as_json() == {"ok": True, "entries": 9, "head": head, "first_bad": None, "reason": None}
    assert audited(ledger, anchor(ledger)).ok
    assert audited(ledger, anchor(ledger, 4)).ok, "a chain that continues the anchor is good"
    assert audited(ledger, list(map(chain.as_dict, ledger.entries(FEATURE)))).ok


def test_no_chain_is_good_and_empty(ledger: Ledger) -> None:
    assert audit.verify([], None, {}, set(), recorded=ledger.head("004-none")) == AuditReport(True, 0, None, None, None)


@pytest.mark.slow
@pytest.mark.parametrize("what", DAMAGES)
@pytest.mark.parametrize("anchored", [True, False])
def test_the_first_bad_entry_of_a_damaged_file_is_named(ledger: Ledger, what: str, anchored: bool) -> None:
    script, first_bad = DAMAGES[what]
    lines = anchor(ledger) if anchored else None
    tamper(ledger, script)

    report = audited(ledger, lines)

    assert (report.ok, report.first_bad) == (False, first_bad)
    assert str(first_bad) in (report.reason or "")
    assert len(list(chain.export_lines(ledger.entries(FEATURE)))) == report.entries, "the damage can be exported"


@pytest.mark.parametrize(
    ("script", "first_bad"),
    [
        ("UPDATE entries SET actor = 'human:mallory' WHERE id = 5", 5),
        ("DELETE FROM entries WHERE id = 5", 5),
        ("DELETE FROM entries WHERE id > 5", 6),
        ("UPDATE entries SET actor = 'human:mallory' WHERE id = 9", 9),
        ("UPDATE entries SET id = 100 WHERE id = 5; UPDATE entries SET id = 5 WHERE id = 6;", 5),
    ],
)
def test_a_chain_written_anew_is_found_by_the_anchor(ledger: Ledger, script: str, first_bad: int) -> None:
    lines = anchor(ledger)
    rewrite(ledger, script)

    assert chain.verify(map(chain.as_dict, ledger.entries(FEATURE))).broken is None
    assert audited(ledger, lines).first_bad == first_bad


def test_an_entry_forged_with_its_hash_at_the_end_is_found_by_the_recorded_head(ledger: Ledger) -> None:
    *_, last = ledger.entries(FEATURE)
    line = chain.as_dict(last) | {"actor": "human:mallory"}
    tamper(
        ledger,
        f"UPDATE entries SET actor = 'human:mallory', hash = '{chain.link(last.prev_hash, line)}' WHERE id = 9",
    )

    assert audited(ledger).first_bad == 9
    assert audited(ledger, recorded=None).ok


def test_a_cut_off_chain_is_not_continued_as_if_nothing_were_missing(ledger: Ledger) -> None:
    with closing(sqlite3.connect(ledger.path)) as connection:
        connection.executescript("DROP TRIGGER entries_kept; DELETE FROM entries WHERE id > 7")
    with ledger.write() as tx:
        assert tx.append(FEATURE, "WP02", "for_review", "done", "human:ada", {"forced": True}).id == 10

    assert audited(ledger).first_bad == 8


def test_a_line_of_the_anchor_that_is_none_is_told(ledger: Ledger) -> None:
    lines = anchor(ledger)
    lines[4] = "{torn"

    assert audited(ledger, lines).first_bad == 5


def test_lines_of_the_anchor_may_hold_any_text(ledger: Ledger) -> None:
    with ledger.write() as tx:
        tx.append(FEATURE, "WP02", "doing", "blocked", "system:timeout", {"text": "a\u2028b\x85c\r\nd \udce9 ✓ \x00"})

    text = "\n".join(anchor(ledger, 10)).encode().decode()
    assert audited(ledger, text.split("\n")).ok


# --------------------------------------------------------------------------- trailers


@pytest.mark.parametrize(
    ("trailers", "on_target", "reason"),
    [
        ({MERGE: "f" * 64}, {MERGE}, "which no earlier entry has"),
        ({}, {MERGE}, "carries no Audit-Hash"),
        ({MERGE: "f" * 64}, set(), "is not on the target"),
    ],
)
def test_a_landed_commit_must_be_on_the_target_and_name_the_chain(
    ledger: Ledger, trailers: dict[str, str], on_target: set[str], reason: str
) -> None:
    report = audited(ledger, trailers=trailers, on_target=on_target)

    assert report.first_bad == 7
    assert reason in (report.reason or "")


def test_a_landed_commit_must_name_an_earlier_entry(ledger: Ledger) -> None:
    hashes = [entry.hash for entry in ledger.entries(FEATURE)]

    assert audited(ledger, trailers=lambda commit: hashes[5]).ok
    assert audited(ledger, trailers=lambda commit: hashes[6]).first_bad == 7
    assert audited(ledger, trailers=lambda commit: hashes[8]).first_bad == 7


@pytest.mark.parametrize("metadata", [{"forced": True}, {"kind": "adopted"}])
def test_forced_and_adopted_packages_need_no_trailer(ledger: Ledger, metadata: dict[str, Any]) -> None:
    with ledger.write() as tx:
        tx.append(FEATURE, "WP02", "for_review", "done", "human:ada", metadata)

    assert audited(ledger).ok


def test_a_done_entry_without_a_commit_is_bad(ledger: Ledger) -> None:
    with ledger.write() as tx:
        tx.append(FEATURE, "WP02", "for_review", "done", "human:ada", {})

    assert audited(ledger).first_bad == 10


def test_what_a_landed_commit_saw_must_be_there(ledger: Ledger) -> None:
    *_, last = ledger.entries(FEATURE)
    assert audited(ledger, landed={MERGE: last.hash}).ok

    rewrite(ledger, "DELETE FROM entries WHERE id > 6")

    assert audited(ledger).ok
    assert audited(ledger, landed={MERGE: last.hash}).first_bad == 7


def test_what_a_landed_commit_saw_may_be_told_to_be_lost(ledger: Ledger) -> None:
    """An entry of ``rebuild`` says which commit it found, and which entry that had seen; no other commit is excused."""
    found = {"kind": "adopted", "merge_commit": MERGE, "audit_hash": "f" * 64}
    with ledger.write() as tx:
        tx.append(FEATURE, "WP02", "for_review", "done", "system:recovery", found)

    assert audited(ledger, landed={MERGE: "f" * 64}).ok
    assert audited(ledger, landed={MERGE: "e" * 64}).first_bad == 11
    assert audited(ledger, landed={"b" * 40: "f" * 64}).first_bad == 11
