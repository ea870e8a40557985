"""The shapes in which a secret value turns up in output and files."""

import base64
import html
import json
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

#: characters of the shortest pattern looked for: shorter ones would hit by chance
SHORTEST = 6

#: characters of the shortest line of a longer value that is redacted by itself
_SHORTEST_LINE = 16


def patterns(value: str) -> frozenset[str]:
    """``value`` plain, reversed, in hex, ``\\xNN``, URL, JSON and HTML escapes, base64 and base64url.

    Base64 comes at three alignments, since the value may lie anywhere in what was encoded; the characters that depend
    on its neighbours are left off.
    """
    raw = value.encode("utf-8", "surrogateescape")
    found = {value, value[::-1], html.escape(value), *_hex(raw), *_url(raw), *_json(value), *_base64(raw)}
    return frozenset(pattern for pattern in found if len(pattern) >= SHORTEST)


def line_patterns(value: str) -> frozenset[str]:
    """The patterns of each long line of a value of several lines, such as a key in PEM: streams are cut into lines."""
    lines = [line.strip() for line in value.splitlines()]
    lines = [line for line in lines if len(line) >= _SHORTEST_LINE and not line.startswith("-----")]
    if len(lines) < 2:
        return frozenset()
    return frozenset().union(*(patterns(line) for line in lines))


def _hex(raw: bytes) -> Iterator[str]:
    for digits in (raw.hex(), raw.hex().upper()):
        pairs = [digits[i : i + 2] for i in range(0, len(digits), 2)]
        yield digits
        yield from (joint.join(pairs) for joint in (" ", ":"))
        yield "".join(f"\\x{pair}" for pair in pairs)
        yield "".join(f"%{pair}" for pair in pairs)


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


def _base64(raw: bytes) -> Iterator[str]:
    for alignment in range(3):
        # of the first group of four, what precedes the value touches 0, 2 or 3 characters
        padded = b"\0" * alignment + raw
        text = base64.b64encode(padded).decode()
        first = (0, 2, 3)[alignment]
        last = len(padded) * 8 // 6
        inner = text[first:last]
        yield inner
        yield inner.translate(str.maketrans("+/", "-_"))
