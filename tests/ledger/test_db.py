"""The file under the ledger: made whole, migrated with its data, and told plainly when it is not usable."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from agentpkg.core.errors import Busy, Lacking
from agentpkg.ledger import db
from agentpkg.ledger.ledger import Ledger
from tests.ledger import support
from tests.ledger.support import FEATURE


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A filled ledger that nobody has open."""
    path = tmp_path / "state" / "ledger.db"
    with Ledger.open(path) as ledger:
        support.fill(ledger)
    return path


def files(folder: Path) -> dict[str, bytes]:
    return {found.name: found.read_bytes() for found in folder.iterdir()}


def existing(path: Path) -> Ledger:
    ledger = Ledger.open_existing(path)
    assert ledger is not None
    return ledger


def as_other_program(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


# --------------------------------------------------------------------------- reading


def test_reading_where_there_is_no_ledger_makes_nothing(tmp_path: Path) -> None:
    assert Ledger.open_existing(tmp_path / "state" / "ledger.db") is None
    assert list(tmp_path.iterdir()) == []


def test_reading_leaves_the_folder_as_it_was(path: Path) -> None:
    before = files(path.parent)

    with existing(path) as ledger:
        assert len(list(ledger.entries())) == 3
        assert len(ledger.packages()) == 1

    assert files(path.parent) == before


def test_a_reader_cannot_write(path: Path) -> None:
    with existing(path) as ledger:
        with pytest.raises(RuntimeError, match="for reading alone"), ledger.write():
            pass
        with pytest.raises(Lacking) as refused:
            ledger.mark_sent([1])
    assert refused.value.code == "ledger_readonly"


def test_a_reader_sees_what_a_writer_has_open_and_uncheckpointed(path: Path) -> None:
    with Ledger.open(path) as writer, existing(path) as reader:
        with writer.write() as tx:
            tx.append(FEATURE, "WP02", "doing", "blocked", "system:timeout", {})
        assert reader.head(FEATURE)[0] == 4


def test_a_ledger_is_private_and_its_folder_too(path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["with space", "per%20cent", "quest?ion", "ha#sh", "ünï", "amp&mode=ro"])
def test_any_folder_name_will_do(tmp_path: Path, name: str) -> None:
    with Ledger.open(tmp_path / name / "ledger.db") as ledger:
        support.fill(ledger)
    assert [found.name for found in (tmp_path / name).iterdir()] == ["ledger.db"]


# --------------------------------------------------------------------------- durability


def test_commits_are_synced_and_references_kept(path: Path) -> None:
    with closing(db.connect(path)) as connection:
        settings = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys", "recursive_triggers", "busy_timeout")
        }
    full = 2
    assert settings == {
        "journal_mode": "wal",
        "synchronous": full,
        "foreign_keys": 1,
        "recursive_triggers": 1,
        "busy_timeout": 30_000,
    }


# --------------------------------------------------------------------------- migrations


def test_a_migration_keeps_the_data(path: Path) -> None:
    scripts = [*db.migrations(), "ALTER TABLE packages ADD COLUMN note TEXT;\nUPDATE packages SET note = wp || ' old';"]
    with closing(db.connect(path)) as connection:
        before = connection.execute("SELECT * FROM entries").fetchall()
        db.migrate(connection, path, scripts)

        assert connection.execute("SELECT note FROM packages").fetchall() == [("WP02 old",)]
        assert connection.execute("SELECT * FROM entries").fetchall() == before
        assert connection.execute("PRAGMA user_version").fetchone() == (len(scripts),)
        db.migrate(connection, path, scripts)


def test_a_migration_that_fails_changes_nothing(path: Path) -> None:
    scripts = [*db.migrations(), "ALTER TABLE packages ADD COLUMN note TEXT;\nSELECT nonsense FROM nowhere;"]
    with closing(db.connect(path)) as connection:
        with pytest.raises(sqlite3.OperationalError):
            db.migrate(connection, path, scripts)
        assert not connection.in_transaction

    with Ledger.open(path) as ledger:
        assert ledger.packages() == [support.PACKAGE_ROW]


def test_every_migration_is_numbered_in_turn() -> None:
    names = sorted(found.name for found in (Path(db.__file__).parent / "migrations").glob("*.sql"))

    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))


def test_a_script_is_split_at_the_ends_of_its_statements() -> None:
    script = "-- why; not\nSELECT 1;\nCREATE TRIGGER t BEFORE DELETE ON e BEGIN\n  SELECT 1;\n  SELECT 2;\nEND;\n"

    assert [statement.count(";") for statement in db.split(script)] == [2, 3]


@pytest.mark.parametrize("opened", [Ledger.open, Ledger.open_existing])
def test_the_ledger_of_a_newer_agentpkg_is_left_alone(path: Path, opened: Callable[[Path], object]) -> None:
    as_other_program(path, "PRAGMA user_version = 999")
    before = files(path.parent)

    with pytest.raises(Lacking, match=r"schema 999, this agentpkg knows \d+") as refused:
        opened(path)

    assert (refused.value.code, refused.value.hint[:7]) == ("ledger_too_new", "a newer")
    assert files(path.parent) == before


# --------------------------------------------------------------------------- damage and neighbours


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def of_another_kind(path: Path) -> None:
    path.write_bytes(b"this is no database at all, but long enough to be looked at" * 100)


def torn(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(data)


def without_a_table(path: Path) -> None:
    as_other_program(path, "DROP TABLE reviews", "DROP TABLE packages")


def with_an_unknown_state(path: Path) -> None:
    as_other_program(path, "UPDATE packages SET state = 'nonsense'")


@pytest.mark.parametrize("damage", [emptied, of_another_kind, torn, without_a_table, with_an_unknown_state])
def test_a_damaged_ledger_is_said_to_be_damaged(path: Path, damage: Callable[[Path], None]) -> None:
    damage(path)

    def look() -> None:
        with Ledger.open(path) as ledger:
            ledger.packages()

    with pytest.raises(Lacking, match="is damaged") as told:
        look()
    assert (told.value.code, told.value.exit_code) == ("ledger_damaged", 5)
    assert "agentpkg rebuild" in told.value.hint


def test_a_chain_that_lost_its_head_takes_no_more_entries(path: Path) -> None:
    as_other_program(path, "DELETE FROM heads")

    with Ledger.open(path) as ledger:
        with pytest.raises(Lacking, match="is damaged"), ledger.write() as tx:
            tx.append(FEATURE, "WP02", "doing", "blocked", "system:timeout", {})
        assert len(list(ledger.entries())) == 3


def test_a_ledger_that_another_holds_too_long_is_busy(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other, Ledger.open(path, busy_seconds=0.05) as ledger:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Busy) as told, ledger.write():
            pass
        assert ledger.packages() == [support.PACKAGE_ROW]
        other.execute("COMMIT")
        with ledger.write() as tx:
            tx.append(FEATURE, "WP02", "doing", "blocked", "system:timeout", {})

    assert (told.value.code, told.value.exit_code) == ("ledger_busy", 4)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")

    with pytest.raises(Lacking) as told:
        Ledger.open(tmp_path / "state" / "ledger.db")
    assert told.value.code == "ledger_unreadable"


@pytest.mark.parametrize("opened", [Ledger.open, Ledger.open_existing])
def test_a_folder_that_cannot_be_looked_into_is_told(tmp_path: Path, opened: Callable[[Path], object]) -> None:
    with pytest.raises(Lacking) as told:
        opened(tmp_path / ("long" * 100) / "ledger.db")
    assert told.value.code == "ledger_unreadable"
