"""What can still be read of a damaged ledger.

An entry counts only where it is beyond doubt: its hash is that of its content, and it follows the one before it. What
comes after the first that is not so is left out.
"""

import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

from agentpkg.core import chain
from agentpkg.core.records import Entry
from agentpkg.ledger import db, rows

#: what SQLite keeps beside a database
_BESIDE = ("", "-wal", "-shm")


@dataclass(frozen=True)
class Salvaged:
    """What a damaged file still held.

    Attributes:
        chains: the good beginning of each feature's chain.
        sent: ids of the events that a server has acknowledged.
    """

    chains: dict[str, list[Entry]] = field(default_factory=dict)
    sent: frozenset[str] = frozenset()


def salvage(path: Path, folder: Path) -> Salvaged:
    """Reads a copy of the ledger at ``path``, made in ``folder``; nothing where not even SQLite can read it."""
    copy = folder / path.name
    for end in _BESIDE:
        if path.with_name(path.name + end).exists():
            shutil.copyfile(path.with_name(path.name + end), folder / (path.name + end))
    if not copy.exists():
        return Salvaged()
    chains: dict[str, list[Entry]] = {}
    for entry in _rows(copy):
        chains.setdefault(entry.feature_id, []).append(entry)
    return Salvaged({feature: good_beginning(found) for feature, found in chains.items()}, _sent(copy))


def good_beginning(entries: Sequence[Entry]) -> list[Entry]:
    """The entries of one chain up to the first bad one."""
    ordered = sorted(entries, key=lambda entry: entry.id)
    return ordered[: chain.verify([chain.as_dict(entry) for entry in ordered]).entries]


def move_aside(path: Path, folder: Path) -> None:
    """Moves a ledger with what SQLite keeps beside it into ``folder``."""
    for end in reversed(_BESIDE):
        with suppress(FileNotFoundError):
            path.with_name(path.name + end).rename(folder / (path.name + end))


def _rows(path: Path) -> Iterator[Entry]:
    """Every entry that can be read: from the start, and where that ends in a bad page, from the end backwards."""
    statement = f"SELECT {', '.join(rows.ENTRIES.columns)} FROM entries ORDER BY seq"
    seen: set[int] = set()
    for order in ("", " DESC"):
        with suppress(sqlite3.Error), closing(db.connect(path)) as connection:
            for values in connection.execute(statement + order):
                with suppress(ValueError, TypeError):
                    entry = rows.ENTRIES.row(values)
                    if isinstance(entry.id, int) and entry.seq not in seen:
                        seen.add(entry.seq)
                        yield entry


def _sent(path: Path) -> frozenset[str]:
    found: set[str] = set()
    with suppress(sqlite3.Error), closing(db.connect(path)) as connection:
        for (number,) in connection.execute("SELECT id FROM events WHERE sent = 1"):
            found.add(str(number))
    return frozenset(found)
