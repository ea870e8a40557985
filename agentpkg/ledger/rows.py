"""Rows of the ledger as the frozen values of ``core.records``: columns bear the names of the fields."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from agentpkg.core import chain
from agentpkg.core.model import FailureClass, FeatureState, Outcome, State, Verdict
from agentpkg.core.records import (
    Batch,
    CheckResult,
    Entry,
    EventRow,
    FeatureRow,
    Need,
    PackageRow,
    QuestionRow,
    ReviewRow,
    SessionRow,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Row = TypeVar("Row", bound="DataclassInstance")


def to_json(value: Any) -> str:
    """A value for a JSON column."""
    return chain.dumps(chain.storable(value))


def from_json(text: Any) -> Any:
    """The value of a JSON column. Damage is given as it is, for the audit to find and name."""
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return {"unreadable": text if isinstance(text, str) else repr(text)}


def _tuple(text: Any) -> tuple[Any, ...]:
    value = from_json(text)
    return tuple(value) if isinstance(value, list) else ({"unreadable": text},)


def _mapping(text: Any) -> Any:
    value = from_json(text)
    return value if isinstance(value, dict) else {"unreadable": text}


def _checks(text: Any) -> tuple[CheckResult, ...]:
    return tuple(CheckResult(**check) for check in json.loads(text))


def _needs(text: Any) -> tuple[Need, ...]:
    return tuple(Need(**{**need, "paths": tuple(need["paths"])}) for need in json.loads(text))


def _batch(text: Any) -> Batch:
    found = json.loads(text)
    return Batch(found["tip"], tuple(found["packages"]))


@dataclass(frozen=True)
class Table(Generic[Row]):
    """How one class is stored.

    Attributes:
        name: of the table.
        kind: the class of its rows.
        key: the columns that name a row.
        readers: how a column's value becomes the field's, where it is not the same.
    """

    name: str
    kind: Callable[..., Row]
    key: Sequence[str]
    columns: Sequence[str]
    readers: Sequence[tuple[int, Callable[[Any], Any]]]

    def row(self, values: Sequence[Any]) -> Row:
        """The value that a selected row stands for."""
        cells = list(values)
        for place, read in self.readers:
            if cells[place] is not None:
                cells[place] = read(cells[place])
        return self.kind(*cells)

    def values(self, row: Row) -> list[Any]:
        """What is stored of ``row``, in the order of the columns."""
        return [_stored(getattr(row, column)) for column in self.columns]

    @property
    def put(self) -> str:
        """The statement that inserts a row or replaces the one of the same key."""
        rest = [column for column in self.columns if column not in self.key]
        changes = ", ".join(f"{column} = excluded.{column}" for column in rest)
        return (
            f"INSERT INTO {self.name} ({', '.join(self.columns)}) VALUES ({', '.join('?' * len(self.columns))}) "
            f"ON CONFLICT ({', '.join(self.key)}) DO UPDATE SET {changes}"
        )


def _stored(value: Any) -> Any:
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, str):
        return chain.safe_text(value)
    if isinstance(value, tuple) and value and isinstance(value[0], CheckResult | Need):
        return to_json([asdict(one) for one in value])
    return to_json(asdict(value) if isinstance(value, Batch) else value)


def _table(name: str, kind: type[Row], key: Sequence[str], **readers: Callable[[Any], Any]) -> Table[Row]:
    columns = [field.name for field in fields(kind)]
    return Table(name, kind, key, columns, [(columns.index(column), read) for column, read in readers.items()])


FEATURES = _table("features", FeatureRow, ["id"], state=FeatureState)
PACKAGES = _table(
    "packages",
    PackageRow,
    ["feature", "wp"],
    state=State,
    dependencies=_tuple,
    verdict=Verdict,
    forced=bool,
    reason_class=FailureClass,
)
SESSIONS = _table("sessions", SessionRow, ["id"], outcome=Outcome, reason_class=FailureClass, usage=_mapping)
REVIEWS = _table(
    "reviews", ReviewRow, ["feature", "wp", "head", "base", "definitions"], verdict=Verdict, checks=_checks,
    needs=_needs, batch=_batch,
)  # fmt: skip
QUESTIONS = _table(
    "questions", QuestionRow, ["number"], details=_mapping, options=_tuple, approvers=_tuple, excluded=_tuple,
    answers=_tuple,
)  # fmt: skip
ENTRIES = _table("entries", Entry, ["seq"], evidence_refs=_tuple, metadata=_mapping)
EVENTS = _table("events", EventRow, ["rowid"], payload=_mapping)
