"""The SQLite file under the ledger: opening, migrating, statements by name, and errors for people.

The file appears whole or not at all: a new ledger is built in a temporary file and renamed into place under a lock
on its folder. Every commit is on disk when it returns (WAL with ``synchronous=FULL``; with ``NORMAL`` a power cut
loses the newest commits).
"""

import errno
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from functools import cache
from pathlib import Path
from urllib.parse import quote

from agentpkg import files
from agentpkg.core import chain
from agentpkg.core.errors import DISK_FULL, MAKE_ROOM, AgentpkgError, Busy, Lacking

#: seconds that a writer waits for others before it gives up
BUSY_SECONDS = 30

_HERE = Path(__file__).parent
_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)

#: error class, code, what, hint
Meaning = tuple[type[AgentpkgError], str, str, str]

#: what SQLite's primary result codes mean to a person
_MEANINGS: Mapping[int, Meaning] = {
    sqlite3.SQLITE_BUSY: (Busy, "ledger_busy", "is held by another command", "try again when that command has ended"),
    sqlite3.SQLITE_LOCKED: (Busy, "ledger_busy", "is held by another command", "try again when that command has ended"),
    sqlite3.SQLITE_FULL: (
        Lacking,
        DISK_FULL,
        "cannot grow: the disk is full",
        MAKE_ROOM,
    ),
    sqlite3.SQLITE_IOERR: (
        Lacking,
        "disk_error",
        "cannot be read or written",
        "nothing was half done; see that the disk has room and is healthy, then repeat the command",
    ),
    sqlite3.SQLITE_READONLY: (Lacking, "ledger_readonly", "cannot be written", "see who owns it and its folder"),
    sqlite3.SQLITE_CANTOPEN: (Lacking, "ledger_unreadable", "cannot be opened", "see who owns it and its folder"),
    sqlite3.SQLITE_PERM: (Lacking, "ledger_unreadable", "cannot be opened", "see who owns it and its folder"),
}
_DAMAGED: Meaning = (
    Lacking,
    "ledger_damaged",
    "is damaged",
    "`agentpkg rebuild` makes it again from git, and keeps the damaged file aside",
)
#: codes of damage, and SQLITE_ERROR, which a file without our tables gives
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISMATCH}


def damaged(path: Path, why: object) -> AgentpkgError:
    """The error that says that the ledger's content is not what agentpkg wrote."""
    kind, code, what, hint = _DAMAGED
    return kind(f"the ledger {path} {what} ({why})", hint, code=code)


def gone(path: Path) -> AgentpkgError:
    """The error that says that there was a ledger and is none any more."""
    hint = "`agentpkg rebuild` makes it again from git, or bring it back from a backup"
    return Lacking(f"the ledger {path} is gone", hint, code="ledger_lost")


def translated(error: sqlite3.Error, path: Path) -> AgentpkgError | None:
    """The error to show to a person; None where ``error`` is a mistake of the program."""
    number = getattr(error, "sqlite_errorcode", None)
    if number is None:  # raised by the sqlite3 module itself: text that is no UTF-8, or a misuse
        meaning = _DAMAGED if isinstance(error, sqlite3.OperationalError) else None
    else:
        meaning = _DAMAGED if number & 0xFF in _DAMAGE else _MEANINGS.get(number & 0xFF)
    if meaning is None:
        return None
    kind, code, what, hint = meaning
    return kind(f"the ledger {path} {what} ({error})", hint, code=code)


@contextmanager
def errors_for_people(path: Path) -> Iterator[None]:
    """Turns what SQLite raises into errors with a hint."""
    try:
        yield
    except sqlite3.Error as error:
        shown = translated(error, path)
        if shown is None:
            raise
        raise shown from error


# --------------------------------------------------------------------------- statements and migrations


@cache
def statements() -> Mapping[str, str]:
    """The named statements of ``queries.sql``."""
    parts = _NAME.split((_HERE / "queries.sql").read_text(encoding="utf-8"))
    return {name: text.strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}


@cache
def migrations() -> Sequence[str]:
    """The scripts that lead from an empty file to the newest schema; script N makes version N."""
    return [path.read_text(encoding="utf-8") for path in sorted((_HERE / "migrations").glob("[0-9]*.sql"))]


def migrate(connection: sqlite3.Connection, path: Path, scripts: Sequence[str] | None = None) -> None:
    """Brings the schema to the newest version, in one transaction; a current one is only looked at.

    Args:
        scripts: other than :func:`migrations`, for tests.

    Raises:
        Lacking: when a newer agentpkg wrote it, or it is no ledger.
    """
    scripts = migrations() if scripts is None else scripts
    version = _version(connection, path, len(scripts))
    if version == 0:  # create() never leaves one: it was cut off, or is of another program
        raise damaged(path, "it holds no schema")
    if version < len(scripts):
        _apply(connection, path, scripts)


def is_outdated(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether an older agentpkg made the schema."""
    return 0 < _version(connection, path, len(migrations())) < len(migrations())


def _apply(connection: sqlite3.Connection, path: Path, scripts: Sequence[str]) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        # again under the lock: another process may have done it meanwhile
        for script in scripts[_version(connection, path, len(scripts)) :]:
            for statement in split(script):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(scripts)}")
        connection.execute("COMMIT")
    except BaseException:
        rollback(connection)
        raise


def _version(connection: sqlite3.Connection, path: Path, newest: int) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > newest:
        raise Lacking(
            f"the ledger {path} has schema {version}, this agentpkg knows {newest}",
            "a newer agentpkg has written it: upgrade this one",
            code="ledger_too_new",
        )
    return version


def split(script: str) -> Iterator[str]:
    """The statements of a script, triggers in one piece. (``executescript`` would commit in between.)"""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def rollback(connection: sqlite3.Connection) -> None:
    """Undoes the open transaction, where SQLite has not done so itself (a full disk)."""
    if connection.in_transaction:
        with suppress(sqlite3.Error):  # the error that brought us here is the one to tell
            connection.execute("ROLLBACK")


# --------------------------------------------------------------------------- connections


def exists(path: Path) -> bool:
    """Whether there is a ledger at ``path``.

    Raises:
        Lacking: the folder may not be looked into.
    """
    with _refusals_for_people(path):
        return path.exists()


def create(path: Path) -> None:
    """Makes an empty ledger at ``path`` unless there is one; safe when many do at once, or one is killed.

    Raises:
        Lacking: the folder cannot be made or written.
    """
    with _refusals_for_people(path):
        _create(path)


def closed(path: Path, error: OSError) -> AgentpkgError:
    """The error that says that the ledger cannot be reached."""
    kind, code, what, hint = _MEANINGS[sqlite3.SQLITE_CANTOPEN]
    if error.errno == errno.ENOSPC:
        kind, code, what, hint = _MEANINGS[sqlite3.SQLITE_FULL]
    return kind(f"the ledger {path} {what} ({error.strerror})", hint, code=code)


@contextmanager
def _refusals_for_people(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise closed(path, error) from error


def _create(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with files.hold_folder(path.parent):
        if not path.exists():
            _build(path)
            files.sync_folder(path.parent)


def _build(path: Path) -> None:
    """Builds the new ledger aside and renames it into place; the caller holds the lock."""
    fresh = path.with_name(f".{path.name}.new")
    _remove(fresh)  # of a creator that was killed
    try:
        os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with closing(connect(fresh)) as connection:
            # all of it is in the one file that is renamed: in WAL mode some might stay beside it when the disk is full
            _apply(connection, path, migrations())
            connection.execute("PRAGMA journal_mode = WAL")
        require_in_one_file(fresh)
        os.rename(fresh, path)
    except BaseException:
        _remove(fresh)
        raise


def require_in_one_file(path: Path) -> None:
    """To be called before a closed ledger is renamed: that all of it has come into the one file.

    Raises:
        Lacking: some of it is still in its ``-wal``, which SQLite leaves, and says nothing, when the disk is full.
    """
    wal = path.with_name(f"{path.name}-wal")
    if wal.exists() and wal.stat().st_size:
        kind, code, what, hint = _MEANINGS[sqlite3.SQLITE_FULL]
        raise kind(f"the ledger {path} {what}", hint, code=code)


def _remove(database: Path) -> None:
    """Removes a database and what SQLite put beside it."""
    for file in database.parent.glob(f"{database.name}*"):
        file.unlink()


def connect(path: Path, *, read_only: bool = False, busy_seconds: float = BUSY_SECONDS) -> sqlite3.Connection:
    """A connection to an existing ledger, in autocommit mode, usable from any one thread at a time.

    A reading connection never writes a row, but is opened for writing: only such a one tidies up the ``-wal`` and
    ``-shm`` files that SQLite needs while it is open.
    """
    # not Path.as_uri: it refuses relative paths
    uri = f"file:{quote(os.fsencode(path))}?{_mode(path, read_only)}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=busy_seconds, check_same_thread=False)
    # damage in a text must not hide which entry it is in
    connection.text_factory = chain.safe_text
    try:
        connection.execute("PRAGMA synchronous = FULL")
        # macOS alone: there a plain fsync stops at the drive's cache
        connection.execute("PRAGMA fullfsync = ON")
        connection.execute("PRAGMA foreign_keys = ON")
        # without it, INSERT OR REPLACE would delete entries behind the back of their trigger
        connection.execute("PRAGMA recursive_triggers = ON")
        if read_only:
            connection.execute("PRAGMA query_only = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _mode(path: Path, read_only: bool) -> str:
    wal = path.with_name(f"{path.name}-wal")
    if read_only and not os.access(path.parent, os.W_OK) and not wal.exists():
        # SQLite cannot make its -shm there. Without a -wal the file is all there is, and on such a
        # folder (a read-only mount, somebody else's) nobody with our rights writes it.
        return "immutable=1"
    return "mode=rw"
