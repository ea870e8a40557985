"""Whether two gitignore patterns can match the same path, and an example of one: by looking at the patterns alone."""

import fnmatch
import re
import string
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise

#: longer patterns name no path that git could hold
_LONGEST = 4096
#: what is tried for wildcards and sets, before the characters that sets name
_LETTERS = "x" + string.ascii_letters + string.digits + "._-"

#: names with an extension are taken for files, in which there is nothing more: else ``two.py`` could lie in ``one.py``
_FILE = re.compile(r".\.(?!d$)[A-Za-z]\w*$", re.ASCII)

_Meet = Callable[[str, str], str | None]


@cache
def common_path(one: str, other: str) -> str | None:
    """A path that both patterns match, made up where they name none; None when there is none.

    A name with an extension (``login.py``, ``*.md``) is taken for a file's, though it could be a folder's.

    Args:
        one: a pattern of gitignore(5) that includes; ``other`` too.
    """
    if max(len(one), len(other)) > _LONGEST:
        return None
    found = _meet(_parts(one), _parts(other), "**", _segment)
    return "/".join(found) if found is not None else None


def candidates(patterns: Sequence[str]) -> list[tuple[str, str]]:
    """The pairs of different patterns whose literal beginnings agree: no others can match the same path."""
    found: list[tuple[str, str]] = []
    above: list[tuple[str, str]] = []
    for start, pattern in sorted((_beginning(pattern), pattern) for pattern in set(patterns)):
        while above and not start.startswith(above[-1][0]):
            above.pop()
        found += [(other, pattern) for _, other in above]
        above.append((start, pattern))
    return found


def _beginning(pattern: str) -> str:
    """What every path that a pattern matches begins with."""
    anchored = "/" in pattern.rstrip("/")
    plain = pattern.removeprefix("/").rstrip("/")
    end = next((at for at, character in enumerate(plain) if character in "*?[\\"), len(plain))
    return plain[:end] if anchored else ""


def _parts(pattern: str) -> list[str]:
    """The pattern as segments from the root, with what is below a folder that it matches."""
    anchored = "/" in pattern.rstrip("/")
    parts = [part for part in pattern.split("/") if part]
    if pattern.endswith(("/", "/**")):
        parts = [*parts[: -1 if parts[-1] == "**" else None], "*"]
    file = bool(parts) and not pattern.endswith("/") and _FILE.search(parts[-1]) is not None
    parts = [*([] if anchored else ["**"]), *parts, *([] if file else ["**"])]
    return [part for part, after in pairwise([*parts, ""]) if (part, after) != ("**", "**")]


@cache
def _segment(one: str, other: str) -> str | None:
    """A name that both segments match."""
    found = _meet(_characters(one), _characters(other), "*", _character)
    return "".join(found) if found is not None else None


@cache
def _characters(segment: str) -> tuple[str, ...]:
    """The segment as wildcards, sets and characters; at least one character long."""
    out: list[str] = []
    at = 0
    while at < len(segment):
        end = at + 1
        if segment[at] == "[" and (close := segment.find("]", at + 2)) > 0:
            end = close + 1
        elif segment[at] == "\\":
            end = at + 2
        out.append(segment[at:end])
        at = end
    return ("?", *out) if set(out) <= {"*"} else tuple(out)


@cache
def _character(one: str, other: str) -> str | None:
    named = [token for token in (one, other) if len(token) == 1 and token not in "*?"]
    tried = [*named, *_LETTERS, *one, *other]
    return next((letter for letter in tried if _fits(letter, one) and _fits(letter, other)), None)


def _fits(letter: str, token: str) -> bool:
    if token.startswith("\\"):
        return letter == token[1:]
    return fnmatch.fnmatchcase(letter, token if len(token) > 1 or token in "*?" else f"[{token}]")


def _meet(one: Sequence[str], other: Sequence[str], star: str, item: _Meet) -> list[str] | None:
    """A sequence that both match, item by item, where ``star`` stands for any number of them; None: there is none.

    Filled from the end, a row for each item of ``one``: no depth of calls that a long pattern could use up.
    """
    below = _row(None, "", other, star, item)
    for token in reversed(one):
        below = _row(below, token, other, star, item)
    return below[0]


_Row = list[list[str] | None]


def _row(below: _Row | None, token: str, other: Sequence[str], star: str, item: _Meet) -> _Row:
    row: _Row = [None] * (len(other) + 1)
    row[-1] = [] if below is None else (below[-1] if token == star else None)
    for at in range(len(other) - 1, -1, -1):
        row[at] = _cell(below, row, at, token, other[at], star, item)
    return row


def _cell(
    below: _Row | None, row: _Row, at: int, token: str, other: str, star: str, item: _Meet
) -> list[str] | None:  # fmt: skip
    """What is matched from here on: a star matches nothing, or one item of the other side and goes on."""
    if below is None:
        return row[at + 1] if other == star else None
    found = below[at] if token == star else None
    if found is None and other == star:
        found = row[at + 1]
    if found is not None:
        return found
    if token == star:
        return None if other == star else _before(item(other, "*"), row[at + 1])
    if other == star:
        return _before(item(token, "*"), below[at])
    return _before(item(token, other), below[at + 1])


def _before(first: str | None, rest: list[str] | None) -> list[str] | None:
    return None if first is None or rest is None else [first, *rest]
