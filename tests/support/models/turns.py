"""What a scripted model does in one turn: values that each dialect of the endpoint puts into its own words."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Say:
    """Text of the model."""

    text: str


@dataclass(frozen=True)
class Tell:
    """Text that is made from the request's, as JSON text."""

    make: Callable[[str], str]


@dataclass(frozen=True)
class Write:
    """Writes a file, with whatever tool the program offers for it; a relative path is the worktree's."""

    path: str
    text: str


@dataclass(frozen=True)
class Edit:
    """Replaces text in a file."""

    path: str
    old: str
    new: str


@dataclass(frozen=True)
class Shell:
    """Runs a command in the program's shell tool."""

    command: str


@dataclass(frozen=True)
class Call:
    """A tool by its own name."""

    name: str
    input: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Fail:
    """An HTTP error instead of an answer: 429 with ``retry_after`` seconds, 500, 529, 401, …"""

    status: int
    message: str = "scripted failure"
    retry_after: int | None = None


@dataclass(frozen=True)
class Cut:
    """The connection ends in mid-stream, after this text."""

    text: str = "I was about to"


@dataclass(frozen=True)
class Hang:
    """Nothing more comes, before the answer or in the middle of the stream, until the server closes."""

    where: Literal["before", "stream"] = "before"


@dataclass(frozen=True)
class Flood:
    """So many characters of text."""

    size: int = 2_000_000


Step = Say | Tell | Write | Edit | Shell | Call | Fail | Cut | Hang | Flood

#: steps of one answer; Fail, Cut and Hang stand alone or last
Turn = tuple[Step, ...]


def flooded(step: Flood) -> str:
    """Its text, in lines of a hundred characters."""
    return (("x" * 99 + "\n") * (step.size // 100 + 1))[: step.size]
