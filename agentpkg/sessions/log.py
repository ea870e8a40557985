"""The session log: one JSON object a line, complete enough to be played again, and bounded on disk.

A record is ``{"seq", "time", "kind", "text", …}``; ``seq`` counts up by one, so that a reader notices what is missing.
When the file outgrows its bound the middle is replaced by one record of kind ``dropped`` that counts it; beginning and
end stay. Whatever is stored has gone through a redactor.
"""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from agentpkg.core.records import SessionEvent
from agentpkg.files import write_atomic

#: the log's name in a session's folder
NAME = "events.jsonl"

#: bytes that a log may have unless its session's limits say otherwise
LIMIT = 32 << 20

#: characters of one record's text
LONGEST_TEXT = 1 << 16

_BLOCK = 1 << 16


class Redactor(Protocol):
    """What takes secrets out of text; ``agentpkg.secrets.redact.Redactor`` is one."""

    def feed(self, text: str) -> str:
        """The safe part of a stream that is certain so far, without terminal controls."""

    def close(self) -> str:
        """The rest of the stream."""

    def redact(self, text: str) -> str:
        """A whole text, made safe."""

    def redact_value(self, value: Any) -> Any:
        """JSON data with every text in it made safe."""

    def fresh(self) -> "Redactor":
        """Another one for another stream."""


def now() -> str:
    """The time in UTC as RFC 3339 with microseconds."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class SessionLog:
    """The writing side of a log; one process writes it.

    Args:
        path: the file; it is continued if it is there.
        redactor: what every text goes through.
        limit: bytes that the file may have.
        clock: gives the time of a record.
    """

    def __init__(self, path: Path, redactor: Redactor, limit: int = LIMIT, clock: Callable[[], str] = now) -> None:
        self._path, self._redactor, self._limit, self._clock = path, redactor, limit, clock
        self._seq = _last_seq(path)
        self._handle = _open(path)
        self._size = os.fstat(self._handle).st_size
        #: records that could not be written, as on a full disk
        self.lost = 0

    def append(self, *events: SessionEvent) -> list[dict[str, Any]]:
        """Writes events in one go; gives the records as they stand in the file.

        A full disk is no error here, since an agent's work does not end for its log: the records are counted in
        :attr:`lost`, and missing numbers show where they would be.
        """
        records = [self._record(event) for event in events]
        data = b"".join(_line(record) for record in records)
        try:
            if data and self._size + len(data) > self._limit:
                self._compact()
            self._write(data)
        except OSError:
            self.lost += len(records)
        return records

    def _write(self, data: bytes) -> None:
        written = os.write(self._handle, data)
        if written < len(data):
            # the disk is full: a torn line would swallow the next one
            os.ftruncate(self._handle, self._size)
            raise OSError("the log could not be written")
        self._size += written

    def _record(self, event: SessionEvent) -> dict[str, Any]:
        self._seq += 1
        data = {key: value for key, value in event.data.items() if key not in ("seq", "time", "kind", "text")}
        safe = self._redactor.redact_value(data) if data else {}
        text = shortened(self._redactor.redact(event.text))
        return {"seq": self._seq, "time": self._clock(), "kind": event.kind, "text": text, **safe}

    def _compact(self) -> None:
        """Replaces the middle by a record that counts it: a quarter of the bound stays at either end."""
        data = self._path.read_bytes()
        quarter = self._limit // 4
        head = _before_gap(data[: data.rfind(b"\n", 0, quarter) + 1])
        tail = data[data.find(b"\n", len(data) - quarter) + 1 :]
        middle = data[len(head) : len(data) - len(tail)]
        gone = _counted(middle)
        if gone is None:
            return
        write_atomic(self._path, head + _line(gone) + tail)
        os.close(self._handle)
        self._handle = _open(self._path)
        self._size = os.fstat(self._handle).st_size

    def close(self) -> None:
        """Closes the file."""
        os.close(self._handle)


def shortened(text: str, limit: int = LONGEST_TEXT) -> str:
    """A text of at most about ``limit`` characters: beginning and end, and how much is missing between."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[… {len(text) - 2 * half} characters left out …]\n{text[-half:]}"


def _open(path: Path) -> int:
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    size = os.fstat(handle).st_size
    # a writer that was killed may have left half a line
    if size and os.pread(handle, 1, size - 1) != b"\n":
        os.write(handle, b"\n")
    return handle


def _line(record: Mapping[str, Any]) -> bytes:
    text = json.dumps(record, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace") + b"\n"


def _before_gap(head: bytes) -> bytes:
    """The part before the record of an earlier gap, which the new gap then takes in."""
    at = 0
    for line in head.splitlines(keepends=True):
        record = _parsed(line) if b'"dropped"' in line else None
        if record is not None and record["kind"] == "dropped":
            return head[:at]
        at += len(line)
    return head


def _counted(middle: bytes) -> dict[str, Any] | None:
    """The record for what is left out, with what an earlier one had counted."""
    records = [record for record in map(_parsed, middle.splitlines()) if record is not None]
    if not records:
        return None
    earlier = [record for record in records if record["kind"] == "dropped"]
    count = len(records) - len(earlier) + sum(record.get("records", 0) for record in earlier)
    size = len(middle) + sum(record.get("bytes", 0) for record in earlier)
    last = records[-1]
    text = f"{count} records ({size} bytes) left out here"
    return {"seq": last["seq"], "time": last["time"], "kind": "dropped", "text": text, "records": count, "bytes": size}


def _parsed(line: bytes) -> dict[str, Any] | None:
    """A record, or None for half a line."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    good = isinstance(found, dict) and isinstance(found.get("seq"), int) and {"time", "kind", "text"} <= found.keys()
    return found if good else None


# ------------------------------------------------------------------------------------------------ reading


def records(path: Path) -> Iterator[dict[str, Any]]:
    """Every record from the first on; nothing when there is no log."""
    try:
        with path.open("rb") as lines:
            yield from (record for record in map(_parsed, lines) if record is not None)
    except FileNotFoundError:
        return


def tail(path: Path, count: int) -> list[dict[str, Any]]:
    """The last ``count`` records, in order; reads from the end and no more than it needs."""
    if count <= 0:
        return []
    data = b""
    try:
        with path.open("rb") as file:
            start = file.seek(0, os.SEEK_END)
            blocks: list[bytes] = []
            lines = 0
            # one line more than wanted, since the first one read may be cut; torn ones are rare enough
            while start > 0 and lines <= count + 1:
                size = min(_BLOCK, start)
                start = file.seek(start - size)
                blocks.append(file.read(size))
                lines += blocks[-1].count(b"\n")
            data = b"".join(reversed(blocks))
    except FileNotFoundError:
        return []
    kept = data.splitlines()[1 if start > 0 else 0 :]
    return [record for record in map(_parsed, kept) if record is not None][-count:]


def _last_seq(path: Path) -> int:
    last = tail(path, 1)
    return int(last[0]["seq"]) if last else 0


def follow(path: Path, ended: Callable[[], bool], after: int = 0, poll: float = 0.1) -> Iterator[dict[str, Any]]:
    """Records as they are written, until ``ended`` says that none will come any more.

    Args:
        path: the log; it may not be there yet.
        ended: asked when there is nothing new; what was written before it said yes is still given.
        after: only records with a larger ``seq``.
        poll: seconds between two looks.
    """
    place = _Place(path)
    while True:
        over = ended()
        for record in place.new():
            if record["seq"] > after:
                after = record["seq"]
                yield record
        if over:
            return
        time.sleep(poll)


class _Place:
    """Where a reader is in a log that grows, and that a shorter one may replace."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode = 0
        self._offset = 0

    def new(self) -> list[dict[str, Any]]:
        """What came since the last call; all of it anew after the file was replaced."""
        try:
            with self._path.open("rb") as file:
                facts = os.fstat(file.fileno())
                if facts.st_ino != self._inode or facts.st_size < self._offset:
                    self._inode, self._offset = facts.st_ino, 0
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [record for record in map(_parsed, whole.splitlines()) if record is not None]


def last_activity(folder: Path) -> str:
    """One line on what the agent of a session folder did last; empty when it has done nothing yet."""
    for record in reversed(tail(folder / NAME, 20)):
        text = _activity(record)
        if text:
            return text
    return ""


def _activity(record: Mapping[str, Any]) -> str:
    if record["kind"] not in ("text", "tool", "output", "commit", "permission"):
        return ""
    lines: Sequence[str] = [line.strip() for line in str(record["text"]).splitlines() if line.strip()]
    words = [str(record.get("tool", "")), lines[-1] if lines else ""]
    return " ".join(word for word in words if word)[:100]
