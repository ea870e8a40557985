"""The hash chain: canonical bytes, and the first bad entry of every kind of damage."""

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from agentpkg.core import chain
from agentpkg.core.model import State

Line = dict[str, Any]


def entry(number: int, prev_hash: str, **changes: Any) -> Line:
    body: Line = {
        "id": number,
        "feature_id": "003-auth-system",
        "wp_id": "WP02",
        "timestamp": "2026-03-02T12:00:00.000000Z",
        "actor": "ci:automation",
        "transition": "WP02:for_review->for_review",
        "evidence_refs": [{"fr_id": "FR-1", "evidence_id": "sha256:ab"}],
        "metadata": {"note": f"entry {number}"},
        "prev_hash": prev_hash,
    } | changes
    return body | {"hash": chain.link(prev_hash, body)}


def chain_of(count: int) -> list[Line]:
    lines: list[Line] = []
    for number in range(1, count + 1):
        lines.append(entry(number, lines[-1]["hash"] if lines else chain.ZERO))
    return lines


def rehash(line: Line) -> Line:
    return line | {"hash": chain.link(line["prev_hash"], line)}


def first_bad(lines: list[Line]) -> int | None:
    broken = chain.verify(lines).broken
    return broken.id if broken else None


# --------------------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("given", "safe"),
    [
        ("plain", "plain"),
        ("Grüße 🌍 \u2028", "Grüße 🌍 \u2028"),
        (b"caf\xe9", r"caf\xe9"),
        (b"caf\xe9".decode("utf-8", "surrogateescape"), r"caf\xe9"),
        ("\ud800 alone", r"\xed\xa0\x80 alone"),
        (State.FOR_REVIEW, "for_review"),
    ],
)
def test_safe_text_is_utf8_and_keeps_what_already_was(given: bytes | str, safe: str) -> None:
    assert chain.safe_text(given) == safe
    assert type(chain.safe_text(given)) is str
    chain.safe_text(given).encode("utf-8")


def test_storable_has_no_floats_no_large_integers_and_ascii_keys_only() -> None:
    value = chain.storable({"cost": 0.1, "big": 2**60, "fits": 2**53 - 1, "ключ": (1, True, None), 7: [b"\xff"]})

    assert value == {
        "cost": "0.1",
        "big": "1152921504606846976",
        "fits": 2**53 - 1,
        r"\u043a\u043b\u044e\u0447": [1, True, None],
        "7": [r"\xff"],
    }
    assert chain.storable(value) == value


def test_storable_refuses_what_json_has_no_word_for() -> None:
    with pytest.raises(TypeError, match="object cannot stand in a ledger"):
        chain.storable({"a": object()})


def test_canonical_bytes_are_sorted_compact_unescaped_and_without_the_hash() -> None:
    assert chain.canonical({"b": "ü", "a": [1, None], "hash": "x"}) == '{"a":[1,null],"b":"ü"}'.encode()


def test_times_are_utc_with_microseconds() -> None:
    there = datetime(2026, 3, 2, 14, 0, tzinfo=timezone(timedelta(hours=2)))

    assert chain.rfc3339(there) == "2026-03-02T12:00:00.000000Z"
    assert chain.rfc3339(datetime(2026, 3, 2, 12, 0, 0, 5, tzinfo=UTC)) == "2026-03-02T12:00:00.000005Z"


# --------------------------------------------------------------------------- the chain


def test_a_hash_is_what_other_code_computes() -> None:
    line = entry(1, chain.ZERO, metadata={"title": "Café ✓", "n": 3})
    body = {key: value for key, value in line.items() if key != "hash"}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)

    assert line["hash"] == hashlib.sha256(text.encode()).hexdigest()


def test_a_good_chain_is_good_and_tells_its_head() -> None:
    lines = chain_of(5)

    assert chain.verify(lines) == chain.Checked(5, lines[-1]["hash"], None)
    assert chain.verify([]) == chain.Checked(0, chain.ZERO, None)


def edited(lines: list[Line]) -> list[Line]:
    return [line | {"actor": "human:mallory"} if line["id"] == 4 else line for line in lines]


def edited_and_hashed(lines: list[Line]) -> list[Line]:
    return [rehash(line | {"actor": "human:mallory"}) if line["id"] == 4 else line for line in lines]


def edited_and_last(lines: list[Line]) -> list[Line]:
    return edited_and_hashed(lines)[:5]


def deleted(lines: list[Line]) -> list[Line]:
    return lines[:3] + lines[4:]


def deleted_and_renumbered(lines: list[Line]) -> list[Line]:
    return lines[:3] + [line | {"id": line["id"] - 1} for line in lines[4:]]


def deleted_and_hashed(lines: list[Line]) -> list[Line]:
    return lines[:3] + [rehash(line | {"id": line["id"] - 1}) for line in lines[4:]]


def inserted(lines: list[Line]) -> list[Line]:
    return [*lines[:3], entry(4, lines[2]["hash"], actor="human:mallory"), *lines[3:]]


def inserted_and_renumbered(lines: list[Line]) -> list[Line]:
    return inserted(lines)[:4] + [line | {"id": line["id"] + 1} for line in lines[3:]]


def inserted_and_hashed(lines: list[Line]) -> list[Line]:
    return inserted(lines)[:4] + [rehash(line | {"id": line["id"] + 1}) for line in lines[3:]]


def swapped(lines: list[Line]) -> list[Line]:
    return [*lines[:3], lines[4], lines[3], *lines[5:]]


def swapped_and_renumbered(lines: list[Line]) -> list[Line]:
    return [*lines[:3], lines[4] | {"id": 4}, lines[3] | {"id": 5}, *lines[5:]]


def swapped_and_hashed(lines: list[Line]) -> list[Line]:
    return [*lines[:3], rehash(lines[4] | {"id": 4}), rehash(lines[3] | {"id": 5}), *lines[5:]]


def of_another_feature(lines: list[Line]) -> list[Line]:
    return [*lines[:3], rehash(lines[3] | {"feature_id": "004-other"}), *lines[4:]]


def without_a_field(lines: list[Line]) -> list[Line]:
    return [*lines[:3], {key: value for key, value in lines[3].items() if key != "actor"}, *lines[4:]]


def with_a_float(lines: list[Line]) -> list[Line]:
    return [*lines[:3], lines[3] | {"metadata": {"cost": float("nan")}}, *lines[4:]]


def with_undecodable_text(lines: list[Line]) -> list[Line]:
    return [*lines[:3], lines[3] | {"actor": "\udce9"}, *lines[4:]]


@pytest.mark.parametrize(
    "damage",
    [
        edited,
        edited_and_hashed,
        edited_and_last,
        deleted,
        deleted_and_renumbered,
        deleted_and_hashed,
        inserted,
        inserted_and_renumbered,
        inserted_and_hashed,
        swapped,
        swapped_and_renumbered,
        swapped_and_hashed,
        of_another_feature,
        without_a_field,
        with_a_float,
        with_undecodable_text,
    ],
)
def test_the_first_bad_entry_is_named(damage: Callable[[list[Line]], list[Line]]) -> None:
    checked = chain.verify(damage(chain_of(7)))

    assert checked.broken is not None
    assert checked.broken.id == 4
    assert (checked.entries, checked.head) == (3, chain_of(3)[-1]["hash"])


def test_a_chain_must_begin_with_zeros() -> None:
    lines = chain_of(4)

    assert first_bad(lines[1:]) == 1
    assert first_bad([rehash(lines[0] | {"prev_hash": "f" * 64}), *lines[1:]]) == 1
