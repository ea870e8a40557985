"""What can be asked of the ledger, inside a transaction or outside of one."""

import sqlite3
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from agentpkg.core import chain
from agentpkg.core.records import Entry, EventRow, FeatureRow, PackageRow, QuestionRow, ReviewRow, SessionRow
from agentpkg.ledger import db, rows
from agentpkg.ledger.rows import Row

#: entries read at a time
_PAGE = 1000


class Reader(ABC):
    """The questions. Whoever answers them provides a connection.

    Outside a transaction each answer is a snapshot of its own; several that must agree are asked inside
    :meth:`agentpkg.ledger.ledger.Ledger.snapshot`.
    """

    path: Path

    @abstractmethod
    def _connection(self) -> sqlite3.Connection: ...

    # ----------------------------------------------------------------------- current rows

    def features(self) -> list[FeatureRow]:
        """All registered features, by id."""
        return self._all(rows.FEATURES, "features")

    def feature(self, feature: str) -> FeatureRow | None:
        """One registered feature."""
        return self._one(rows.FEATURES, "feature", feature)

    def packages(self, feature: str | None = None) -> list[PackageRow]:
        """The registered packages, of one feature or of all, by feature and id."""
        where, values = _where({"feature = ?": feature})
        return self._all(rows.PACKAGES, "packages", *values, where=where)

    def package(self, feature: str, wp: str) -> PackageRow | None:
        """One registered package."""
        return self._one(rows.PACKAGES, "package", feature, wp)

    def sessions(self, feature: str | None = None, wp: str | None = None, live: bool = False) -> list[SessionRow]:
        """Sessions in the order they were started; with ``live`` only those that have not ended."""
        where, values = _where({"feature = ?": feature, "wp = ?": wp}, "ended_at IS NULL" if live else None)
        return self._all(rows.SESSIONS, "sessions", *values, where=where)

    def session(self, session: str) -> SessionRow | None:
        """One session."""
        return self._one(rows.SESSIONS, "session", session)

    def reviews(self, feature: str, wp: str) -> list[ReviewRow]:
        """All reviews of a package, in the order they were recorded."""
        return self._all(rows.REVIEWS, "reviews", feature, wp)

    def review(self, feature: str, wp: str, head: str, base: str, definitions: str) -> ReviewRow | None:
        """The recorded review of this branch tip on this target tip by these definitions."""
        return self._one(rows.REVIEWS, "review", feature, wp, head, base, definitions)

    def questions(
        self, feature: str | None = None, wp: str | None = None, *, kind: str | None = None, open_only: bool = False
    ) -> list[QuestionRow]:
        """Questions to people, in the order they were asked; with ``open_only`` those that wait for an answer."""
        conditions = {"feature = ?": feature, "wp = ?": wp, "kind = ?": kind}
        where, values = _where(conditions, "state = 'open'" if open_only else None)
        return self._all(rows.QUESTIONS, "questions", *values, where=where)

    def question(self, number: int) -> QuestionRow | None:
        """One question."""
        return self._one(rows.QUESTIONS, "question", number)

    # ----------------------------------------------------------------------- the chain

    def entries(
        self,
        feature: str | None = None,
        after: int = 0,
        wp: str | None = None,
        actor: str | None = None,
        limit: int | None = None,
        *,
        after_id: int = 0,
        since: str | None = None,
        until: str | None = None,
    ) -> Iterator[Entry]:
        """Entries of one chain by ``id``, or of all chains by ``seq``.

        They are read in pages as they are asked for, and no transaction stays open meanwhile: what is there never
        changes, and what is added meanwhile comes at the end.

        Args:
            feature: only its chain.
            after: only entries with a greater ``seq`` (which counts the whole ledger).
            wp: only those of this package.
            actor: only those of this actor.
            limit: at most so many.
            after_id: only entries with a greater ``id`` (which counts one feature's chain).
            since: only those not before this time (RFC 3339, UTC, as entries have it).
            until: only those before this time.
        """
        conditions = {
            "feature_id = ?": feature,
            "seq > ?": after or None,
            "id > ?": after_id or None,
            "wp_id = ?": wp,
            "actor = ?": actor,
            "timestamp >= ?": since,
            "timestamp < ?": until,
        }
        return self._pages(conditions, "seq" if feature is None else "id", sys.maxsize if limit is None else limit)

    def _pages(self, conditions: dict[str, Any], order: str, left: int) -> Iterator[Entry]:
        while left > 0:
            size = min(left, _PAGE)
            where, values = _where(conditions)
            page = self._all(rows.ENTRIES, "entries", *values, size, where=where, order=order)
            yield from page
            if len(page) < size:
                return
            conditions = conditions | {f"{order} > ?": getattr(page[-1], order)}
            left -= size

    def noted(self, feature: str, kind: str) -> list[Entry]:
        """The entries of a feature whose metadata has this ``kind``, in their order; found without reading others."""
        return self._all(rows.ENTRIES, "noted", feature, kind)

    def newest(self, feature: str, *kinds: str) -> Entry | None:
        """The newest entry of a feature that has one of these kinds; found without reading others."""
        found = [entry for kind in kinds for entry in self._all(rows.ENTRIES, "newest", feature, kind)]
        return max(found, key=lambda entry: entry.id, default=None)

    def head(self, feature: str) -> tuple[int, str]:
        """Id and hash of the newest entry of a chain; ``(0, ZERO)`` when it has none."""
        found = self._values("head", feature)
        return tuple(found[0]) if found else (0, chain.ZERO)

    def heads(self) -> dict[str, tuple[int, str]]:
        """Id and hash of the newest entry of every chain, by feature."""
        return {feature: (number, digest) for feature, number, digest in self._values("heads")}

    # ----------------------------------------------------------------------- the outbox

    def events(self, after_rowid: int = 0, limit: int = -1) -> list[EventRow]:
        """Events with a greater row number, sent or not, in order; at most ``limit`` (-1: all)."""
        return self._all(rows.EVENTS, "events", after_rowid, limit)

    def unsent(self, limit: int = -1) -> list[EventRow]:
        """Events that no server has acknowledged yet, oldest first; at most ``limit`` (-1: all)."""
        return self._all(rows.EVENTS, "unsent", limit)

    def last_rowid(self) -> int:
        """The row number of the newest event ever written, 0 before the first."""
        found = self._values("last_rowid")
        return int(found[0][0]) if found else 0

    def data_version(self) -> int:
        """A number that changes when *another* connection has committed; cheap enough to poll."""
        with db.errors_for_people(self.path):
            return int(self._connection().execute("PRAGMA data_version").fetchone()[0])

    # ----------------------------------------------------------------------- how

    def _values(self, name: str, *values: Any) -> list[tuple[Any, ...]]:
        with db.errors_for_people(self.path):
            return self._connection().execute(db.statements()[name], values).fetchall()

    def _all(self, table: rows.Table[Row], name: str, *values: Any, **parts: str) -> list[Row]:
        statement = db.statements()[name].format(columns=", ".join(table.columns), **parts)
        with db.errors_for_people(self.path):
            # all at once: a cursor left half read would keep this connection at its moment
            found = self._connection().execute(statement, values).fetchall()
        return [self._row(table, values) for values in found]

    def _row(self, table: rows.Table[Row], found: Sequence[Any]) -> Row:
        try:
            return table.row(found)
        except (ValueError, TypeError) as error:
            raise db.damaged(self.path, f"table {table.name}: {error}") from error

    def _one(self, table: rows.Table[Row], name: str, *values: Any) -> Row | None:
        return next(iter(self._all(table, name, *values)), None)


def _where(equal: dict[str, Any], *fixed: str | None) -> tuple[str, list[Any]]:
    """A WHERE clause of the conditions that have a value, and those values."""
    given = {condition: value for condition, value in equal.items() if value is not None}
    conditions = [*given, *(condition for condition in fixed if condition)]
    return (f"WHERE {' AND '.join(conditions)}" if conditions else "", list(given.values()))
