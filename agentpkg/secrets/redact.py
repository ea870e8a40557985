"""Secret values taken out of text before anything is stored, sent or shown.

The order matters: terminal controls first, then the values, or a control in the middle of a value would hide it. Line
breaks do not hide one either: ``base64`` and its like wrap what they print.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from typing import Any

from agentpkg.secrets.controls import ControlStripper, strip_controls
from agentpkg.secrets.finder import Finder
from agentpkg.secrets.patterns import SHORTEST, halves, line_patterns, patterns
from agentpkg.secrets.secret import Secret

#: what stands in the place of a secret
MARK = "***"

#: characters of a pattern's head by which a cut one is looked for
_HEAD = 4

#: characters of a pattern before a line break at the end of what has come, for which the rest is waited for
_ACROSS = 8

_Span = tuple[int, int]


class Redactor:
    """Takes secrets out of one stream of text.

    One instance a stream (:meth:`fresh` gives more): a value cut in two by the way the stream arrives is still found,
    because the longest tail that could be the beginning of one is held back until it is decided.

    Args:
        secrets: values by name.
        also: values that are redacted but not looked for by :attr:`finder`, as those of files copied into a worktree.

    Attributes:
        finder: looks for the secrets in what is committed.
    """

    def __init__(self, secrets: Mapping[str, str | Secret], also: Iterable[str] = ()) -> None:
        named = {name: _plain(value) for name, value in secrets.items()}
        found = frozenset[str]().union(*(patterns(text) | line_patterns(text) for text in (*named.values(), *also)))
        found = found.union(*map(halves, named.values()))
        # the stream has been stripped of controls when it is searched, so the patterns are too
        found = frozenset(clean for one in found if len(clean := strip_controls(one).replace("\n", "")) >= SHORTEST)
        self._patterns = tuple(sorted(found, key=lambda one: (-len(one), one)))
        self.finder = Finder(named)
        self._heads = _by_head(self._patterns)
        self._stubs = {pattern[:length] for pattern in self._patterns for length in range(1, _HEAD)}
        self._longest = len(self._patterns[0]) if self._patterns else 1
        self._begin()

    def _begin(self) -> None:
        self._controls = ControlStripper()
        self._held = ""
        # leading characters of what is held that belong to a value whose mark has been given out already
        self._covered = 0

    def fresh(self) -> "Redactor":
        """Another one for another stream, with the same secrets."""
        other = copy(self)
        other._begin()
        return other

    def feed(self, text: str) -> str:
        """The safe text that is certain so far: stripped of controls, secrets replaced by ``***``."""
        return self._take(self._controls.feed(text), last=False)

    def close(self) -> str:
        """What was held back, made safe; afterwards the redactor begins anew."""
        rest = self._take(self._controls.close(), last=True)
        self._begin()
        return rest

    def redact(self, text: str) -> str:
        """A whole text made safe; independent of the stream."""
        text = strip_controls(text)
        return _replaced(text, self._spans(text), 0)

    def redact_value(self, value: Any) -> Any:
        """JSON data with every text in it, keys too, made safe."""
        if isinstance(value, str):
            return self.redact(value)
        if isinstance(value, Mapping):
            return {self.redact(str(key)): self.redact_value(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.redact_value(item) for item in value]
        return value

    def _take(self, text: str, *, last: bool) -> str:
        text = self._held + text
        spans = self._spans(text, self._covered)
        cut = len(text) if last else self._undecided(text)
        out = _replaced(text[:cut], [(start, min(end, cut)) for start, end in spans if start < cut], self._covered)
        self._held = text[cut:]
        if cut:
            self._covered = max((end - cut for start, end in spans if start < cut < end), default=0)
        return out

    def _spans(self, text: str, covered: int = 0) -> list[_Span]:
        """Where secrets lie in ``text``, in order, overlapping and touching ones as one."""
        spans: list[_Span] = [(0, covered)] if covered else []
        flat, place = _flattened(text)
        for pattern in self._patterns:
            if pattern not in flat:
                continue
            start = flat.find(pattern)
            while start >= 0:
                spans.append((place(start), place(start + len(pattern) - 1) + 1))
                start = flat.find(pattern, start + 1)
        return _merged(spans)

    def _undecided(self, text: str) -> int:
        """Where the longest tail begins that is a proper beginning of a pattern.

        A few characters before a line break are none: every line would wait for the next one.
        """
        flat, place = _flattened(text)
        start = self._tail(flat)
        if start == len(flat):
            return len(text)
        if "\n" not in text[place(start) :] or len(flat) - start >= _ACROSS:
            return place(start)
        line = text.rfind("\n") + 1
        return line + self._tail(text[line:])

    def _tail(self, text: str) -> int:
        """The same for text without line breaks."""
        for at in range(max(0, len(text) - self._longest + 1), len(text) - _HEAD + 1):
            group = self._heads.get(text[at : at + _HEAD])
            if group and any(pattern.startswith(text[at:]) for pattern in group):
                return at
        short = (length for length in range(min(_HEAD - 1, len(text)), 0, -1) if text[-length:] in self._stubs)
        return len(text) - next(short, 0)


def _flattened(text: str) -> tuple[str, Callable[[int], int]]:
    """``text`` without line breaks, and where a character of that stands in ``text``."""
    if "\n" not in text:
        return text, lambda place: place
    # of each line break, how many characters of the flat text stand before it
    before = [found.start() - number for number, found in enumerate(re.finditer("\n", text))]
    return text.replace("\n", ""), lambda place: place + bisect_right(before, place)


def _by_head(found: Sequence[str]) -> dict[str, list[str]]:
    heads: dict[str, list[str]] = {}
    for pattern in found:
        heads.setdefault(pattern[:_HEAD], []).append(pattern)
    return heads


def _merged(spans: list[_Span]) -> list[_Span]:
    out: list[_Span] = []
    for start, end in sorted(spans):
        if out and start <= out[-1][1]:
            out[-1] = (out[-1][0], max(end, out[-1][1]))
        else:
            out.append((start, end))
    return out


def _replaced(text: str, spans: list[_Span], covered: int) -> str:
    """``text`` with a mark for each span; the one that goes on from before has had its mark."""
    parts: list[str] = []
    at = 0
    for start, end in spans:
        parts.append(text[at:start])
        if not (covered and start == 0):
            parts.append(MARK)
        at = end
    return "".join([*parts, text[at:]])


def _plain(value: str | Secret) -> str:
    return value.reveal() if isinstance(value, Secret) else value
