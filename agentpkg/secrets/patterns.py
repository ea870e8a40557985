"""The shapes in which a secret value turns up in output and files."""

import base64
import html
import json
from collections.abc import Callable, Iterator
from urllib.parse import quote, quote_plus

#: characters of the shortest pattern looked for: shorter ones would hit by chance
SHORTEST = 6

#: characters of the shortest line of a longer value that is redacted by itself
_SHORTEST_LINE = 16

#: characters of the shortest half of a value that is redacted by itself, and of the longest value that has halves: what
#: is longer has lines
_SHORTEST_HALF, _LONGEST_HALVED = 8, 256


def patterns(value: str) -> frozenset[str]:
    """``value`` plain, reversed, spaced, in hex, as character codes, URL, JSON and HTML escapes, base64 and base32.

    Base64 comes at three alignments and base32 at five, since the value may lie anywhere in what was encoded; the
    characters that depend on its neighbours are left off.
    """
    raw = value.encode("utf-8", "surrogateescape")
    found = {value, value[::-1], " ".join(value), html.escape(value)}
    found |= {*_hex(raw), *_codes(raw), *_url(raw), *_json(value), *_based(raw)}
    return frozenset(pattern for pattern in found if len(pattern) >= SHORTEST)


def nested_patterns(value: str) -> frozenset[str]:
    """``value`` in base64 or hex, and that in base64 once more; for whoever has the time to look for them."""
    raw = value.encode("utf-8", "surrogateescape")
    once = [
        value[::-1].encode("utf-8", "surrogateescape"),
        raw.hex().encode(),
        *(one.encode() for one in aligned(raw, 6, base64.b64encode)),
    ]
    return frozenset(twice for one in once for twice in aligned(one, 6, base64.b64encode) if len(twice) >= SHORTEST)


def line_patterns(value: str) -> frozenset[str]:
    """The patterns of each long line of a value of several lines, such as a key in PEM: streams are cut into lines."""
    lines = [line.strip() for line in value.splitlines()]
    lines = [line for line in lines if len(line) >= _SHORTEST_LINE and not line.startswith("-----")]
    if len(lines) < 2:
        return frozenset()
    return frozenset().union(*(patterns(line) for line in lines))


def halves(value: str) -> frozenset[str]:
    """Every half of a value that is long enough for that: an agent may say one after the other."""
    length = len(value) // 2
    if length < _SHORTEST_HALF or len(value) > _LONGEST_HALVED:
        return frozenset()
    return frozenset(value[at : at + length] for at in range(len(value) - length + 1))


def _hex(raw: bytes) -> Iterator[str]:
    for digits in (raw.hex(), raw.hex().upper()):
        pairs = [digits[i : i + 2] for i in range(0, len(digits), 2)]
        yield digits
        yield from (joint.join(pairs) for joint in (" ", ":"))
        yield "".join(f"\\x{pair}" for pair in pairs)
        yield "".join(f"%{pair}" for pair in pairs)


def _codes(raw: bytes) -> Iterator[str]:
    yield from (joint.join(map(str, raw)) for joint in (" ", ",", ", "))
    yield from (joint.join(f"0x{byte:02x}" for byte in raw) for joint in (" ", ",", ", "))
    yield " ".join(f"{byte:08b}" for byte in raw)
    yield from ("".join(form % byte for byte in raw) for form in ("\\%03o", "=%02X", "&#%d;"))


def _url(raw: bytes) -> Iterator[str]:
    for encoded in (quote(raw, safe=""), quote(raw), quote_plus(raw)):
        yield encoded
        yield _lower_escapes(encoded)


def _lower_escapes(encoded: str) -> str:
    head, *rest = encoded.split("%")
    return head + "".join(f"%{part[:2].lower()}{part[2:]}" for part in rest)


def _json(value: str) -> Iterator[str]:
    for ascii_only in (True, False):
        escaped = json.dumps(value, ensure_ascii=ascii_only)[1:-1]
        yield escaped
        yield escaped.replace("/", "\\/")


def _based(raw: bytes) -> Iterator[str]:
    for inner in aligned(raw, 6, base64.b64encode):
        yield inner
        yield inner.translate(str.maketrans("+/", "-_"))
    for inner in aligned(raw, 5, base64.b32encode):
        yield inner
        yield inner.lower()


def aligned(raw: bytes, bits: int, encode: Callable[[bytes], bytes]) -> Iterator[str]:
    """The characters that ``raw`` alone decides, at each place that it may have in a group.

    Args:
        bits: that one character stands for.
    """
    for before in range(3 if bits == 6 else 5):
        padded = b"\0" * before + raw
        first, last = -(-before * 8 // bits), len(padded) * 8 // bits
        yield encode(padded).decode()[first:last]
