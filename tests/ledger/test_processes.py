"""Many processes at one ledger, and processes that are killed or run out of disk."""

from pathlib import Path

import pytest

from agentpkg.core import chain
from agentpkg.core.records import SessionRow
from agentpkg.ledger.ledger import Ledger
from tests.ledger.support import FEATURE, Child, register


def assert_whole(ledger: Ledger, feature: str = FEATURE) -> None:
    """The chain is good, its head is the recorded one, and each entry has its event."""
    checked = chain.verify(map(chain.as_dict, ledger.entries(feature)))
    assert checked.broken is None
    assert (checked.entries, checked.head) == ledger.head(feature)
    moved = [entry.seq for entry in ledger.entries(feature) if entry.actor.startswith("agent:")]
    assert [event.payload["seq"] for event in ledger.events() if feature in event.subject] == moved


def test_writers_that_race_leave_whole_chains_and_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state" / "ledger.db"
    features = ("001-a", "002-b")
    children = [Child("append", path, features[number % 2], number, 30) for number in range(6)]
    for child in children:
        child.go()
    said = [set(child.rest()) for child in children]

    with Ledger.open(path) as ledger:
        for number, feature in enumerate(features):
            assert_whole(ledger, feature)
            assert {entry.hash for entry in ledger.entries(feature)} == set().union(*said[number::2])
        assert [entry.seq for entry in ledger.entries()] == list(range(1, 181))
    assert [found.name for found in path.parent.iterdir()] == ["ledger.db"]


def test_of_two_that_race_for_a_lease_one_wins_and_the_others_are_told_who(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with Ledger.open(path) as ledger, ledger.write() as tx:
        register(tx, FEATURE, "WP01")
    children = [Child("lease", path, FEATURE, number) for number in range(5)]
    for child in children:
        child.go()
    said = [child.rest()[0] for child in children]

    with Ledger.open(path) as ledger:
        (holder,) = ledger.sessions()
    assert said.count("won") == 1
    assert said[int(holder.id.removeprefix("sess_"))] == "won"
    assert set(said) == {"won", holder.id}


def test_a_ledger_may_be_used_on_both_sides_of_a_fork(tmp_path: Path) -> None:
    child = Child("fork", tmp_path / "ledger.db", FEATURE)
    child.go()
    child.rest()

    with Ledger.open(tmp_path / "ledger.db") as ledger:
        assert chain.verify(map(chain.as_dict, ledger.entries(FEATURE))).entries == 6
        assert len(list(ledger.entries(actor="system:child"))) == 3


@pytest.mark.slow
def test_a_killed_writer_loses_nothing_it_was_told_is_committed(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    told: list[str] = []
    for round_number in range(8):
        child = Child("append", path, FEATURE, round_number, 100_000)
        child.go()
        told += [child.line() for _ in range(1 + 3 * round_number)]
        told += child.kill()

        with Ledger.open(path) as ledger:
            assert_whole(ledger)
            kept = [entry.hash for entry in ledger.entries(FEATURE)]
        # at most the commit whose telling was cut off is there besides
        assert [digest for digest in kept if digest in set(told)] == told
        assert len(kept) <= len(told) + round_number + 1


@pytest.mark.parametrize("room", [300_000, 1_100_000])
def test_when_the_disk_is_full_nothing_is_half_done_and_it_goes_on_with_room(tmp_path: Path, room: int) -> None:
    path = tmp_path / "ledger.db"
    child = Child("fill_disk", path, FEATURE, room)
    child.go()
    told, committed, after = child.rest()

    assert told in ("5 disk_full", "5 disk_error")
    assert int(after) == int(committed) + 1
    with Ledger.open(path) as ledger:
        assert ledger.head(FEATURE)[0] == int(after)
        checked = chain.verify(map(chain.as_dict, ledger.entries(FEATURE)))
        assert checked.broken is None
        assert len(ledger.events()) == int(committed)


def test_a_ledger_whose_maker_was_killed_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    (tmp_path / ".ledger.db.new").write_bytes(b"half a file")
    (tmp_path / ".ledger.db.new-wal").write_bytes(b"of a killed process")

    with Ledger.open(path) as ledger, ledger.write() as tx:
        register(tx, FEATURE, "WP01")
        tx.put_session(SessionRow("sess_1", FEATURE, "WP01", "a", "replay", 1, "now"))

    assert [found.name for found in tmp_path.iterdir()] == ["ledger.db"]
