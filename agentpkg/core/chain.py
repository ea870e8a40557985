"""The hash chain of the audit log: canonical bytes, links, and finding the first bad entry.

An entry's hash is the SHA-256 of the entry without ``hash``, written as UTF-8 JSON with sorted keys, separators
``,`` and ``:`` and unescaped non-ASCII text. For the values allowed here (no floats, no integers beyond 2^53, ASCII
keys) these are the bytes of RFC 8785, so that any language can recompute the chain. :func:`storable` makes any value
one of those; it never fails on text, since text may come from an agent or a repository.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from agentpkg.core.records import Entry

#: ``prev_hash`` of the first entry of a chain
ZERO = "0" * 64

#: the keys of an entry, in the order they are exported
FIELDS = (
    "id",
    "feature_id",
    "wp_id",
    "timestamp",
    "actor",
    "transition",
    "evidence_refs",
    "metadata",
    "prev_hash",
    "hash",
)

#: beyond this an IEEE double, and with it RFC 8785, no longer holds every integer
_LARGEST_INTEGER = 2**53 - 1
_SURROGATE = re.compile("[\ud800-\udfff]")

# built once: json.dumps makes a new encoder at each call that is not all defaults
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
# default: a damaged ledger may hold anything, and its export shows it
_LINE = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, default=repr)


# --------------------------------------------------------------------------- values


def safe_text(text: bytes | str) -> str:
    r"""Text that UTF-8 can hold: invalid bytes (or the surrogates that stand for them) as ``\xNN``."""
    if isinstance(text, bytes):
        return text.decode("utf-8", "backslashreplace")
    if text.isascii() or not _SURROGATE.search(text):
        return str(text)
    return _SURROGATE.sub(_escaped_surrogate, text)


def _escaped_surrogate(match: re.Match[str]) -> str:
    code = ord(match.group())
    # U+DC80..U+DCFF are the bytes that surrogateescape could not decode; others never were bytes of UTF-8 text
    raw = bytes([code - 0xDC00]) if 0xDC80 <= code <= 0xDCFF else match.group().encode("utf-8", "surrogatepass")
    return "".join(f"\\x{byte:02x}" for byte in raw)


def storable(value: Any) -> Any:
    """``value`` as JSON data whose canonical bytes are the same in every language.

    Text is made safe, keys become ASCII, sequences lists, and numbers that RFC 8785 would write differently (floats,
    integers beyond 2^53) their decimal text.

    Raises:
        TypeError: for what JSON has no word for.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str | bytes):
        return safe_text(value)
    if isinstance(value, int):
        return int(value) if abs(value) <= _LARGEST_INTEGER else str(int(value))
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, Mapping):
        return {_ascii(key): storable(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [storable(item) for item in value]
    raise TypeError(f"{type(value).__name__} cannot stand in a ledger: {value!r}")


def _ascii(key: Any) -> str:
    text = safe_text(key) if isinstance(key, str | bytes) else str(key)
    return text.encode("ascii", "backslashreplace").decode("ascii")


def dumps(value: Any) -> str:
    """``value`` as canonical JSON text.

    Raises:
        ValueError, TypeError: for values that :func:`storable` would have changed or refused.
    """
    return _CANONICAL.encode(value)


def rfc3339(moment: datetime) -> str:
    """``moment`` as RFC 3339 in UTC with microseconds: ``2026-03-02T12:00:00.000000Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


# --------------------------------------------------------------------------- the chain


def canonical(entry: Mapping[str, Any]) -> bytes:
    """The bytes that an entry's hash is taken of: all of it but ``hash``.

    Raises:
        ValueError, TypeError: for values that have no canonical bytes.
    """
    return dumps({key: value for key, value in entry.items() if key != "hash"}).encode("utf-8")


def link(prev_hash: str, body: Mapping[str, Any]) -> str:
    """The hash of the entry ``body`` when it follows ``prev_hash``, in hex."""
    return hashlib.sha256(canonical({**body, "prev_hash": prev_hash})).hexdigest()


def as_dict(entry: Entry) -> dict[str, Any]:
    """An entry as it is exported: its fields in order, without ``seq``."""
    return {
        "id": entry.id,
        "feature_id": entry.feature_id,
        "wp_id": entry.wp_id,
        "timestamp": entry.timestamp,
        "actor": entry.actor,
        "transition": entry.transition,
        "evidence_refs": entry.evidence_refs,
        "metadata": entry.metadata,
        "prev_hash": entry.prev_hash,
        "hash": entry.hash,
    }


def export_lines(entries: Iterable[Entry]) -> Iterator[str]:
    """Each entry as one line of JSON, without the newline; what ``events export`` prints and git anchors.

    The text may hold U+2028 and the like unescaped: split the lines at ``\\n`` only.
    """
    return (_LINE.encode(as_dict(entry)) for entry in entries)


@dataclass(frozen=True, slots=True)
class Broken:
    """The first bad entry of a chain: its id (of a missing one, the id it should have) and what is wrong."""

    id: int
    reason: str


@dataclass(frozen=True, slots=True)
class Checked:
    """What :func:`verify` found.

    Attributes:
        entries: how many good entries the chain begins with.
        head: the hash of the last of them, :data:`ZERO` when there is none.
        broken: the first bad entry, None when all are good.
    """

    entries: int
    head: str
    broken: Broken | None


def verify(entries: Iterable[Mapping[str, Any]]) -> Checked:
    """Recomputes one feature's chain, in order of ids, up to the first bad entry."""
    good, feature, heads = 0, None, (ZERO, ZERO)
    rest = iter(entries)
    for entry in rest:
        feature = feature if good else entry.get("feature_id")
        broken = _broken(good + 1, entry, feature, heads, rest)
        if broken:
            return Checked(broken.id - 1, heads[-1] if broken.id > good else heads[-2], broken)
        good, heads = good + 1, (heads[-1], entry["hash"])
    return Checked(good, heads[-1], None)


def _broken(
    number: int, entry: Mapping[str, Any], feature: Any, heads: tuple[str, str], rest: Iterator[Mapping[str, Any]]
) -> Broken | None:
    """What is wrong with the entry at place ``number``, given the hashes of the two before it."""
    if set(entry) != set(FIELDS):
        return Broken(number, f"entry {number} has not the fields of an entry")
    if entry["id"] == number - 1 and entry["prev_hash"] == heads[-2]:
        return Broken(number - 1, f"entry {number - 1} was put in: there are two of that number")
    if entry["id"] != number:
        return Broken(number, f"entry {number} is missing: entry {entry['id']} stands in its place")
    if entry["feature_id"] != feature:
        return Broken(number, f"entry {number} belongs to feature {entry['feature_id']}")
    genuine = _genuine(entry)
    if entry["prev_hash"] != heads[-1]:
        return _misplaced(number, entry, genuine, heads, rest)
    if not genuine:
        return Broken(number, f"entry {number} was changed: its hash does not match its content")
    return None


def _genuine(entry: Mapping[str, Any]) -> bool:
    """Whether an entry's hash is that of its content."""
    try:
        return bool(hashlib.sha256(canonical(entry)).hexdigest() == entry["hash"])
    except (ValueError, TypeError, RecursionError):  # content that nobody could have hashed
        return False


def _misplaced(
    number: int, entry: Mapping[str, Any], genuine: bool, heads: tuple[str, str], rest: Iterator[Mapping[str, Any]]
) -> Broken:
    """Tells which of two entries is bad when the second does not follow the first.

    An entry that was rewritten *together with its hash* shows only at its successor. So where the entry at hand
    still fits what comes after it, the one before it is the forged one; likewise where the entry at hand follows the
    one before that, something was put in between.
    """
    following = next(rest, None)
    if number > 1 and entry["prev_hash"] == heads[-2]:
        if heads[-1] in (entry["hash"], following and following.get("prev_hash")):
            return Broken(number, f"entry {number} was put in: what comes after it follows the one before it")
        return Broken(number - 1, f"entry {number - 1} was put in: entry {number} does not follow it")
    if number > 1 and genuine and (following is None or following.get("prev_hash") == entry["hash"]):
        return Broken(number - 1, f"entry {number - 1} was changed: entry {number} does not follow it")
    return Broken(number, f"entry {number} does not follow the one before it: prev_hash does not match")
