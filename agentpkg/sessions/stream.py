"""One stream of an agent from bytes to safe lines, within a bound of memory."""

import codecs
from collections.abc import Iterable, Sequence
from itertools import groupby

from agentpkg.core.records import SessionEvent
from agentpkg.sessions.log import Redactor

#: characters of one line that are kept; agents print lines of megabytes
LONGEST_LINE = 8 << 20

#: so many lines of plain output in one chunk are a flood, and are stored together
FLOOD = 100

#: kinds of events that are lines as they came
_PLAIN = ("output", "diagnostic")

#: characters of plain output stored together
_TOGETHER = 1 << 15


class Lines:
    """Decodes, strips controls, redacts, and splits; what a line has beyond its bound is counted.

    Redacting comes before splitting, so that a secret of several lines is found.
    """

    def __init__(self, redactor: Redactor, longest: int = LONGEST_LINE) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._redactor = redactor
        self._longest = longest
        self._parts: list[str] = []
        self._size = 0
        #: characters left out of lines that were too long
        self.dropped = 0

    def feed(self, chunk: bytes) -> list[str]:
        """The lines that ``chunk`` completes."""
        return self._split(self._redactor.feed(self._decoder.decode(chunk)))

    def close(self) -> list[str]:
        """The rest, as lines; the last one may have had no end."""
        text = self._redactor.feed(self._decoder.decode(b"", final=True)) + self._redactor.close()
        lines = self._split(text)
        return [*lines, self._line()] if self._parts else lines

    def _split(self, text: str) -> list[str]:
        first, *rest = text.split("\n")
        self._hold(first)
        if not rest:
            return []
        lines = [self._line(), *(self._cut(line) for line in rest[:-1])]
        self._hold(rest[-1])
        return lines

    def _hold(self, text: str) -> None:
        kept = self._cut(text, self._longest - self._size)
        if kept:
            self._parts.append(kept)
            self._size += len(kept)

    def _cut(self, text: str, room: int | None = None) -> str:
        room = self._longest if room is None else room
        self.dropped += max(0, len(text) - room)
        return text[:room]

    def _line(self) -> str:
        line = "".join(self._parts)
        self._parts, self._size = [], 0
        return line


def together(events: Sequence[SessionEvent]) -> list[SessionEvent]:
    """The same events, but with floods of plain output as few events of many lines."""
    if len(events) <= FLOOD:
        return list(events)
    out: list[SessionEvent] = []
    for (kind, origin), group in groupby(events, key=lambda event: (event.kind, event.data.get("stream"))):
        if kind in _PLAIN:
            out += _joined(kind, group, {} if origin is None else {"stream": origin})
        else:
            out += group
    return out


def _joined(kind: str, events: Iterable[SessionEvent], data: dict[str, object]) -> list[SessionEvent]:
    blocks: list[list[str]] = [[]]
    size = 0
    for event in events:
        if size + len(event.text) > _TOGETHER and blocks[-1]:
            blocks.append([])
            size = 0
        blocks[-1].append(event.text)
        size += len(event.text) + 1
    return [SessionEvent(kind, "\n".join(block), data) for block in blocks]
