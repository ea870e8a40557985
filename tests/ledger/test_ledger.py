"""Entries, current rows, transactions and the outbox, on a real file."""

import json
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentpkg.core import chain
from agentpkg.core.errors import Busy
from agentpkg.core.model import State
from agentpkg.ledger.ledger import Ledger
from tests.ledger import support
from tests.ledger.support import FEATURE


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "state" / "ledger.db", support.SteppedClock()) as ledger:
        yield ledger


@pytest.fixture
def filled(ledger: Ledger) -> Ledger:
    support.fill(ledger)
    return ledger


# --------------------------------------------------------------------------- entries


def test_an_entry_has_the_exported_form(filled: Ledger) -> None:
    *_, line = chain.export_lines(filled.entries(FEATURE))

    assert list(json.loads(line)) == list(chain.FIELDS)
    assert json.loads(line) | {"prev_hash": "", "hash": ""} == {
        "id": 3,
        "feature_id": FEATURE,
        "wp_id": "WP02",
        "timestamp": "2026-03-02T12:00:03.000000Z",
        "actor": "agent:claude-code",
        "transition": "WP02:planned->doing",
        "evidence_refs": [{"fr_id": "FR-1"}],
        "metadata": {"session": "sess_1"},
        "prev_hash": "",
        "hash": "",
    }


def test_what_append_gives_is_what_is_read_later(ledger: Ledger) -> None:
    with ledger.write() as tx:
        support.register(tx, FEATURE, "WP01")
        entry = tx.append(
            FEATURE, "WP01", State.PLANNED, State.DOING, "agent:b\udcff", {"cost": 1.5, "t": ("a", b"\xff")}, [{}]
        )
        assert tx.head(FEATURE) == (3, entry.hash)

    assert list(ledger.entries(FEATURE))[-1] == entry
    assert entry.actor == r"agent:b\xff"
    assert entry.metadata == {"cost": "1.5", "t": ["a", r"\xff"]}
    assert chain.verify(map(chain.as_dict, ledger.entries(FEATURE))).broken is None


def test_each_feature_has_a_chain_of_its_own_and_seq_orders_them_all(ledger: Ledger) -> None:
    for _ in range(2):
        for feature in ("001-a", "002-b"):
            with ledger.write() as tx:
                tx.append(feature, None, "planned", "planned", "human:ada", {})

    entries = list(ledger.entries())
    assert [(entry.seq, entry.feature_id, entry.id) for entry in entries] == [
        (1, "001-a", 1),
        (2, "002-b", 1),
        (3, "001-a", 2),
        (4, "002-b", 2),
    ]
    assert ledger.heads() == {"001-a": (2, entries[2].hash), "002-b": (2, entries[3].hash)}
    assert ledger.head("003-none") == (0, chain.ZERO)


def test_entries_are_chosen_by_package_actor_time_and_place(filled: Ledger) -> None:
    def ids(**chosen: Any) -> list[int]:
        return [entry.id for entry in filled.entries(**chosen)]

    assert ids(wp="WP02") == [2, 3]
    assert ids(actor="human:ada") == [1, 2]
    assert ids(feature=FEATURE, after_id=1, limit=1) == [2]
    assert ids(after=2) == [3]
    assert ids(since="2026-03-02T12:00:02.000000Z", until="2026-03-02T12:00:03.000000Z") == [2]


def test_entries_are_read_over_many_pages_while_others_write(ledger: Ledger) -> None:
    with ledger.write() as tx:
        for number in range(2500):
            tx.append(("001-a", "002-b")[number % 2], None, "planned", "planned", "human:ada", {})

    for feature, first in ((None, 1), ("002-b", 2)):
        reading = ledger.entries(feature, limit=2000)
        seen = [next(reading).seq]
        with Ledger.open(ledger.path) as other, other.write() as tx:
            tx.append("002-b", None, "planned", "planned", "human:ada", {})
        with ledger.write() as tx:
            tx.append("002-b", None, "planned", "planned", "human:ada", {})
        seen += [entry.seq for entry in reading]
        assert seen == (list(range(1, 2001)) if feature is None else [*range(2, 2501, 2), 2501, 2502, 2503, 2504])
        assert seen[0] == first


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entries SET actor = 'human:mallory' WHERE id = 2",
        "DELETE FROM entries WHERE id = 2",
        "INSERT OR REPLACE INTO entries SELECT seq, feature_id, id, wp_id, timestamp, 'human:mallory', transition,"
        " evidence_refs, metadata, prev_hash, hash FROM entries WHERE id = 2",
        "INSERT INTO entries SELECT seq + 9, feature_id, id + 5, wp_id, timestamp, actor, transition,"
        " evidence_refs, metadata, hash, hash || 'x' FROM entries WHERE id = 3",
    ],
)
def test_the_file_itself_refuses_to_change_entries(filled: Ledger, statement: str) -> None:
    before = list(filled.entries())
    connection = sqlite3.connect(filled.path)

    with pytest.raises(sqlite3.IntegrityError, match=r"entries are never|an entry must follow"):
        connection.execute(statement)
    connection.close()

    assert list(filled.entries()) == before


# --------------------------------------------------------------------------- current rows


def test_current_rows_are_read_as_they_were_put(filled: Ledger) -> None:
    assert filled.features() == [support.FEATURE_ROW]
    assert filled.feature(FEATURE) == support.FEATURE_ROW
    assert filled.packages() == filled.packages(FEATURE) == [support.PACKAGE_ROW]
    assert filled.package(FEATURE, "WP02") == support.PACKAGE_ROW
    assert filled.sessions() == filled.sessions(FEATURE, "WP02") == [support.SESSION_ROW]
    assert filled.session("sess_1") == support.SESSION_ROW
    assert filled.reviews(FEATURE, "WP02") == [support.REVIEW_ROW]
    key = (support.REVIEW_ROW.head, support.REVIEW_ROW.base, support.REVIEW_ROW.definitions)
    assert filled.review(FEATURE, "WP02", *key) == support.REVIEW_ROW


def test_what_is_not_there_is_none_or_empty(ledger: Ledger) -> None:
    assert ledger.feature("x") is ledger.package("x", "WP01") is ledger.session("x") is None
    assert ledger.review("x", "WP01", "h", "b", "d") is None
    assert ledger.packages("x") == ledger.sessions("x") == ledger.events() == list(ledger.entries()) == []


def test_rows_keep_text_of_any_bytes(filled: Ledger) -> None:
    with filled.write() as tx:
        tx.put_package(replace(support.PACKAGE_ROW, reason="bad \udce9 \x00 \x1b[31m"))

    row = filled.package(FEATURE, "WP02")
    assert row is not None
    assert row.reason == "bad \\xe9 \x00 \x1b[31m"


def test_a_package_has_one_live_session(filled: Ledger) -> None:
    live = replace(support.SESSION_ROW, id="sess_2", epoch=2, ended_at=None, outcome=None)
    with filled.write() as tx:
        tx.put_session(live)

    with pytest.raises(Busy, match="sess_2"), filled.write() as tx:
        tx.put_session(replace(live, id="sess_3", epoch=3))

    assert filled.sessions(live=True) == [live]
    with filled.write() as tx:
        tx.put_session(replace(live, ended_at="later"))
        tx.put_session(replace(live, id="sess_3", epoch=3))
    assert [session.id for session in filled.sessions()] == ["sess_1", "sess_2", "sess_3"]


# --------------------------------------------------------------------------- transactions


def test_an_exception_undoes_everything_of_a_transaction(filled: Ledger) -> None:
    before = (list(filled.entries()), filled.packages(), filled.events(), filled.heads())

    def fails_at_the_end() -> None:
        with filled.write() as tx:
            entry = tx.append(FEATURE, "WP02", "doing", "blocked", "system:timeout", {})
            tx.put_package(replace(support.PACKAGE_ROW, state=State.BLOCKED))
            tx.emit("feature.x.state.changed", {}, entry=entry)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails_at_the_end()

    assert (list(filled.entries()), filled.packages(), filled.events(), filled.heads()) == before
    with filled.write() as tx:
        assert tx.append(FEATURE, "WP02", "doing", "blocked", "system:timeout", {}).id == 4


def test_a_transaction_reads_what_it_wrote_and_others_do_not_yet(filled: Ledger) -> None:
    with Ledger.open(filled.path) as other, filled.write() as tx:
        tx.put_package(replace(support.PACKAGE_ROW, state=State.DONE))

        mine, theirs = tx.package(FEATURE, "WP02"), other.package(FEATURE, "WP02")
        assert mine is not None
        assert theirs is not None
        assert (mine.state, theirs.state) == (State.DONE, State.FOR_REVIEW)


def test_a_snapshot_tells_of_one_moment(filled: Ledger) -> None:
    with Ledger.open(filled.path) as other, filled.snapshot() as seen:
        before = seen.packages()
        with other.write() as tx:
            tx.put_package(replace(support.PACKAGE_ROW, state=State.DONE))

        assert seen.packages() == before
    assert filled.packages() != before


def test_threads_have_connections_of_their_own(filled: Ledger) -> None:
    def work() -> None:
        for _ in range(10):
            with filled.write() as tx:
                tx.append(FEATURE, "WP02", "doing", "doing", "agent:a", {})

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert filled.head(FEATURE)[0] == 43
    assert chain.verify(map(chain.as_dict, filled.entries(FEATURE))).broken is None


def test_data_version_tells_of_others_commits(filled: Ledger) -> None:
    before = filled.data_version()
    assert filled.data_version() == before

    with Ledger.open(filled.path) as other, other.write() as tx:
        tx.put_feature(replace(support.FEATURE_ROW, title="Another"))

    assert filled.data_version() != before


# --------------------------------------------------------------------------- the outbox


def test_events_carry_id_time_and_seq(filled: Ledger) -> None:
    changed, started = filled.unsent(10)
    entry = list(filled.entries())[-1]

    assert changed.subject == f"feature.{FEATURE}.wp.WP02.state.changed"
    assert changed.payload == {
        "from": "planned",
        "to": "doing",
        "id": changed.id,
        "time": entry.timestamp,
        "seq": entry.seq,
    }
    assert len(changed.id) == 32
    assert (started.payload["pid"], started.payload["id"], "seq" in started.payload) == (7, started.id, False)


def test_the_same_event_is_put_once(filled: Ledger) -> None:
    before = filled.events()

    with filled.write() as tx:
        tx.emit("agent.job.sess_1.started", {"pid": 8}, key="sess_1 started")

    assert filled.events() == before


def test_an_event_needs_an_entry_or_a_key(filled: Ledger) -> None:
    with pytest.raises(ValueError, match="needs a key"), filled.write() as tx:
        tx.emit("agent.job.sess_1.started", {})


def test_sent_events_leave_the_outbox_and_are_pruned_but_for_the_newest(filled: Ledger) -> None:
    with filled.write() as tx:
        for number in range(8):
            tx.emit("agent.job.sess_1.commit", {"sha": str(number)}, key=f"sess_1 {number}")
    assert filled.last_rowid() == 10

    filled.mark_sent([1, 2, 3, 4, 5, 6])
    assert [event.rowid for event in filled.unsent(2)] == [7, 8]
    filled.prune_sent(keep=2)

    assert [event.rowid for event in filled.events()] == [5, 6, 7, 8, 9, 10]
    assert [event.rowid for event in filled.events(after_rowid=8, limit=1)] == [9]
    filled.mark_sent(range(1, 11))
    filled.prune_sent(keep=0)
    assert (filled.events(), filled.unsent(), filled.last_rowid()) == ([], [], 10)
