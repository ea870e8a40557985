"""The one truth about state: an append-only, hash-chained record of every transition.

What holds at every moment, whoever is killed and whatever the disk does:

- a transition, the current rows it changes and the events it causes are one transaction, on disk when it returns;
- an entry is never changed or deleted, and follows the newest one of its feature's chain (triggers see to it);
- a package has one session that has not ended, at most (a unique index sees to it);
- writers come one after another, so rows of the outbox become visible in the order of their numbers.

A ledger may be used from several threads; each has a connection of its own, and so must each process (a forked
child opens new ones by itself).
"""

import hashlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from agentpkg.core import chain
from agentpkg.core.errors import Busy
from agentpkg.core.records import Entry, FeatureRow, PackageRow, QuestionRow, ReviewRow, SessionRow
from agentpkg.ledger import db, rows
from agentpkg.ledger.reading import Reader

#: tells the time of new entries and events
Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """The machine's time."""
    return datetime.now(UTC)


class Ledger(Reader):
    """The ledger of one repository. Made by :meth:`open` or :meth:`open_existing`."""

    def __init__(self, path: Path, clock: Clock, busy_seconds: float, read_only: bool) -> None:
        self.path = path.absolute()  # a thread that opens its connection later may stand in another folder
        self._clock = clock
        self._busy_seconds = busy_seconds
        self._read_only = read_only
        self._connections: dict[tuple[int, threading.Thread], sqlite3.Connection] = {}
        #: which file each of them has open: its device and inode
        self._files: dict[tuple[int, threading.Thread], tuple[int, int]] = {}
        self._lock = threading.Lock()

    @classmethod
    def open(cls, path: Path, clock: Clock = utc_now, *, busy_seconds: float = db.BUSY_SECONDS) -> Self:
        """The ledger at ``path``, made and brought to the newest schema where needed.

        Args:
            path: of the database file; its folder is made as well.
            clock: tells the time of new entries and events.
            busy_seconds: how long to wait for other writers.

        Raises:
            Lacking: a newer agentpkg wrote it, it is damaged, or the disk refuses.
            Busy: another process held it for longer than ``busy_seconds``.
        """
        with db.errors_for_people(path):
            if not db.exists(path):
                db.create(path)
        return cls._migrated(cls(path, clock, busy_seconds, read_only=False))

    @classmethod
    def open_existing(cls, path: Path, clock: Clock = utc_now) -> Self | None:
        """The ledger at ``path`` for reading alone; None when there is none. Creates no ledger and no folder.

        Raises:
            Lacking, Busy: as for :meth:`open`.
        """
        return cls._migrated(cls(path, clock, db.BUSY_SECONDS, read_only=True)) if db.exists(path) else None

    @classmethod
    def _migrated(cls, ledger: Self) -> Self:
        try:
            with db.errors_for_people(ledger.path):
                connection = ledger._connection()
                if ledger._read_only and db.is_outdated(connection, ledger.path):
                    # a reader's own connection refuses to write, also what upkeep needs
                    with closing(db.connect(ledger.path)) as upkeep:
                        db.migrate(upkeep, ledger.path)
                else:
                    db.migrate(connection, ledger.path)
        except BaseException:
            ledger.close()
            raise
        return ledger

    def now(self) -> str:
        """The ledger's time, as entries have it."""
        return chain.rfc3339(self._clock())

    @contextmanager
    def write(self) -> Iterator["Transaction"]:
        """A transaction that no other writer interleaves with; committed at the end, undone by any exception.

        Raises:
            Busy: other writers held the ledger for too long.
            Lacking: the disk is full or refuses; nothing was changed.
        """
        if self._read_only:
            raise RuntimeError("the ledger was opened for reading alone")
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield Transaction(self.path, connection, self._clock)

    @contextmanager
    def snapshot(self) -> Iterator[Reader]:
        """A reader whose answers all tell of the same moment."""
        with self._transaction("BEGIN") as connection:
            yield Transaction(self.path, connection, self._clock)

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        connection = self._connection()
        if connection.in_transaction:
            raise RuntimeError("a transaction of the ledger inside another one")
        with db.errors_for_people(self.path):
            connection.execute(begin)
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                db.rollback(connection)
                raise

    def check(self) -> str | None:
        """What SQLite finds wrong with the file, in a sentence; None when it is sound. Reads all of it."""
        with db.errors_for_people(self.path):
            said = self._connection().execute("PRAGMA quick_check(1)").fetchone()[0]
        return None if said == "ok" else f"the ledger {self.path} is damaged ({' '.join(str(said).split())})"

    # ----------------------------------------------------------------------- the outbox

    def mark_sent(self, rowids: Iterable[int]) -> None:
        """Records that a server has acknowledged these events."""
        with self._transaction("BEGIN IMMEDIATE") as connection:
            connection.executemany(db.statements()["mark_sent"], [(rowid,) for rowid in rowids])

    def prune_sent(self, keep: int) -> None:
        """Forgets sent events but for the newest ``keep``. (What happened stays in the entries.)"""
        with self._transaction("BEGIN IMMEDIATE") as connection:
            connection.execute(db.statements()["prune_sent"], (keep,))

    # ----------------------------------------------------------------------- connections

    def _connection(self) -> sqlite3.Connection:
        # SQLite forbids to carry a connection over a fork, hence the process in the key
        key = (os.getpid(), threading.current_thread())
        connection = self._connections.get(key)
        if connection is not None and connection.in_transaction:
            return connection
        file = self._file()
        if connection is not None and self._files[key] != file:
            # rebuilt meanwhile: what is written to the file that was moved aside would be lost
            connection.close()
            connection = None
        return connection or self._connect(key, file)

    def _connect(self, key: tuple[int, threading.Thread], file: tuple[int, int]) -> sqlite3.Connection:
        with db.errors_for_people(self.path):
            connection = db.connect(self.path, read_only=self._read_only, busy_seconds=self._busy_seconds)
        with self._lock:
            self._close_of_ended_threads()
            self._connections[key], self._files[key] = connection, file
        return connection

    def _file(self) -> tuple[int, int]:
        try:
            facts = os.stat(self.path)
        except FileNotFoundError:
            raise db.gone(self.path) from None
        except OSError as error:
            raise db.closed(self.path, error) from error
        return facts.st_dev, facts.st_ino

    def _close_of_ended_threads(self) -> None:
        for process, thread in list(self._connections):
            if process == os.getpid() and not thread.is_alive():
                self._connections.pop((process, thread)).close()

    def close(self) -> None:
        """Closes the connections of all threads; a later question opens new ones."""
        with self._lock:
            for process, thread in list(self._connections):
                if process == os.getpid():
                    self._connections.pop((process, thread)).close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Transaction(Reader):
    """One unit of change; what it reads includes what it has written. Made by :meth:`Ledger.write`."""

    def __init__(self, path: Path, connection: sqlite3.Connection, clock: Clock) -> None:
        self.path = path
        self._open = connection
        self._clock = clock

    def _connection(self) -> sqlite3.Connection:
        return self._open

    def append(
        self,
        feature: str,
        wp: str | None,
        frm: str,
        to: str,
        actor: str,
        metadata: Mapping[str, Any],
        evidence: Sequence[Mapping[str, Any]] = (),
    ) -> Entry:
        """Adds the newest entry of a feature's chain.

        Args:
            feature: the feature's id.
            wp: the package's id, None for a transition of the feature itself.
            frm: the state before, ``none`` at registration.
            to: the state after.
            actor: ``human:LOGIN``, ``agent:NAME``, ``ci:automation``, ``system:…``.
            metadata: what else to record; brought to canonical JSON by :func:`chain.storable`.
            evidence: ``{"fr_id": …, "evidence_id": "sha256:…"}`` each.
        """
        last, prev_hash = self.head(feature)
        body: dict[str, Any] = chain.storable(
            {
                "id": last + 1,
                "feature_id": feature,
                "wp_id": wp,
                "timestamp": chain.rfc3339(self._clock()),
                "actor": actor,
                "transition": f"{wp}:{frm}->{to}" if wp else f"{frm}->{to}",
                "evidence_refs": list(evidence),
                "metadata": metadata,
            }
        )
        return self._insert(body, prev_hash, chain.link(prev_hash, body))

    def restore(self, entry: Entry) -> Entry:
        """Adds an entry as it was once written, at the end of its chain; gives it with its new ``seq``.

        Raises:
            Lacking: it does not follow the newest entry of its chain.
        """
        body = {key: value for key, value in chain.as_dict(entry).items() if key not in ("prev_hash", "hash")}
        return self._insert({**body, "evidence_refs": list(entry.evidence_refs)}, entry.prev_hash, entry.hash)

    def _insert(self, body: dict[str, Any], prev_hash: str, digest: str) -> Entry:
        values = (
            body["feature_id"],
            body["id"],
            body["wp_id"],
            body["timestamp"],
            body["actor"],
            body["transition"],
            chain.dumps(body["evidence_refs"]),
            chain.dumps(body["metadata"]),
            prev_hash,
            digest,
        )
        try:
            seq = self._execute(db.statements()["append"], values).lastrowid
        except sqlite3.IntegrityError as error:  # the chain and its recorded head no longer fit each other
            raise db.damaged(self.path, error) from error
        body["evidence_refs"] = tuple(body["evidence_refs"])
        return Entry(seq=seq or 0, prev_hash=prev_hash, hash=digest, **body)

    def put_feature(self, row: FeatureRow) -> None:
        """Inserts or replaces a feature's current row."""
        self._put(rows.FEATURES, row)

    def put_package(self, row: PackageRow) -> None:
        """Inserts or replaces a package's current row."""
        self._put(rows.PACKAGES, row)

    def put_session(self, row: SessionRow) -> None:
        """Inserts or replaces a session's row.

        Raises:
            Busy: the package has another session that has not ended, or had one of this epoch.
        """
        try:
            self._put(rows.SESSIONS, row)
        except sqlite3.IntegrityError as error:
            holders = self.sessions(row.feature, row.wp, live=True)
            who = holders[0].id if holders else f"one of epoch {row.epoch}"
            raise Busy(
                f"{row.feature} {row.wp} has another session: {who}",
                f"wait for it, or stop it: agentpkg cancel {row.feature} {row.wp} --reason TEXT",
                details={"feature": row.feature, "wp": row.wp, "session": who},
            ) from error

    def put_review(self, row: ReviewRow) -> None:
        """Inserts a review, or replaces the one of the same branch tip, target tip and definitions."""
        self._put(rows.REVIEWS, row)

    def put_question(self, row: QuestionRow) -> None:
        """Inserts or replaces a question."""
        self._put(rows.QUESTIONS, row)

    def next_question(self) -> int:
        """The number that the next question gets."""
        return int(self._values("last_question")[0][0]) + 1

    def now(self) -> str:
        """The ledger's time, as entries have it."""
        return chain.rfc3339(self._clock())

    def emit(
        self, subject: str, payload: Mapping[str, Any], *, entry: Entry | None = None, key: str | None = None
    ) -> None:
        """Puts an event into the outbox; it is published after the transaction has been committed.

        Args:
            subject: without the prefix.
            payload: flat; gets ``id``, ``time`` and, with an entry, ``seq``.
            entry: the entry behind the event.
            key: what makes the event unique where there is no entry; emitted again it is the same event.
        """
        source = entry.hash if entry else key
        if not source:
            raise ValueError(f"an event without an entry needs a key: {subject}")
        number = hashlib.sha256(f"{source} {subject}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
        full = {**payload, "id": number, "time": entry.timestamp if entry else chain.rfc3339(self._clock())}
        if entry:
            full["seq"] = entry.seq
        self._execute(db.statements()["emit"], (number, chain.safe_text(subject), rows.to_json(full)))

    def _put(self, table: rows.Table[Any], row: Any) -> None:
        self._execute(table.put, table.values(row))

    def _execute(self, statement: str, values: Sequence[Any]) -> sqlite3.Cursor:
        return self._open.execute(statement, values)
