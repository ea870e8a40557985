"""One odd thing about a change, before anybody has decided what it means."""

from dataclasses import dataclass
from typing import Literal

#: ``grave``: refuses; ``doubtful``: refuses unless the old tests pass on the new code; ``odd``: is only told
Weight = Literal["grave", "doubtful", "odd"]

DELETED = "deleted tests"
SKIPPED = "skipped tests"
WEAKENED = "weakened assertions"
EXPECTATIONS = "changed expectations"
EMPTY = "empty tests"
SNAPSHOTS = "rewritten snapshots"
RUNNING = "how tests run"
IMPORTS = "import paths"
DETECTION = "test detection"
REVERT = "revert probe"
MUTANTS = "mutants"
BASELINE = "known failures"
FLAKY = "flaky tests"

KINDS = (
    DELETED, SKIPPED, WEAKENED, EXPECTATIONS, EMPTY, SNAPSHOTS, RUNNING, IMPORTS, DETECTION, REVERT, MUTANTS, BASELINE,
    FLAKY,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Oddity:
    """Something that honest work seldom does.

    Attributes:
        kind: one of :data:`KINDS`.
        path: the file; ``line`` where in it, 0 for all of it.
        what: the test, or what was found.
        why: what it looks like, or what excuses it.
    """

    kind: str
    path: str
    line: int
    what: str
    why: str
    weight: Weight = "grave"

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" if self.line else self.path
        return f"{place} {self.what} ({self.why})" if self.why else f"{place} {self.what}"
