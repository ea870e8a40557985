"""What a review is made of: its input, its definitions, its outcomes, as frozen values.

The verdict is bound to one candidate's tree and to one set of definitions; neither is read again while it is made.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from agentpkg import __version__
from agentpkg.config.governance import Policy
from agentpkg.config.settings import Integrity
from agentpkg.core import chain
from agentpkg.core.model import Verdict, WorkPackage
from agentpkg.core.records import Batch, CheckResult, CheckStatus, Need
from agentpkg.git.repo import Git

DELIVERABLES = "deliverables"
TEST_QUALITY = "test-quality"
CODE_QUALITY = "code-quality"
SPECIFICATION = "specification"
GOVERNANCE = "governance"

#: the order in which a review is told; groups of the user's own come after these
GROUPS = (DELIVERABLES, TEST_QUALITY, CODE_QUALITY, SPECIFICATION, GOVERNANCE)

#: seconds a command check may take, where nothing else is said
CHECK_TIMEOUT = 1800

#: changes whenever the same definitions would be judged differently
RULES = 4

_DETAIL_LENGTH = 400


class Enclosed(Protocol):
    """A command as it runs behind walls; :class:`agentpkg.isolation.Wrapped` is one."""

    @property
    def argv(self) -> tuple[str, ...]:
        """Program and arguments."""

    @property
    def env(self) -> Mapping[str, str]:
        """The whole environment."""

    @property
    def keep(self) -> tuple[int, ...]:
        """Descriptors that it needs."""

    def failed_to_start(self, exit_code: int | None, said: str) -> str | None:
        """Why the walls, and not the command, ended so; None when they did not."""

    def close(self) -> None:
        """Gives up what is held for it."""


class Enclosure(Protocol):
    """Walls around the commands of a review."""

    @property
    def level(self) -> str:
        """The level of isolation."""

    @property
    def moves(self) -> bool:
        """Whether a copy can appear under another path than its own."""

    def enclose(
        self, argv: tuple[str, ...], env: Mapping[str, str], *, root: Path, seen_as: Path, temporary: Path, home: Path,
        reads: Sequence[Path] = (), writes: Sequence[Path] = (), setting_up: bool = False,
    ) -> Enclosed:  # fmt: skip
        """The command inside, in a copy of the candidate.

        Args:
            root: the copy; ``seen_as`` its path inside; ``temporary`` and ``home`` empty folders.
            reads: what else it may read, and ``writes`` write.
            setting_up: it may have the network that ``review.setup`` has.
        """


@dataclass(frozen=True, slots=True)
class CheckSpec:
    """One entry of ``review.checks``.

    Attributes:
        run: a command line for ``/bin/sh -c``.
        report: JUnit XML that the command writes, relative to the copy; None when its exit code is all.
        minimum_tests: tests that must have run according to the report.
        timeout_seconds: after which it has failed.
    """

    name: str
    group: str
    run: str
    report: str | None = None
    minimum_tests: int = 1
    timeout_seconds: int = CHECK_TIMEOUT


@dataclass(frozen=True, slots=True)
class CoverageSpec:
    """``review.coverage``: where a check leaves its report, and the least percentage of lines.

    Attributes:
        per: ``total``; ``file``: of each measured file; ``changed``: of the lines the package adds or changes.
    """

    report: str
    minimum: float
    per: Literal["total", "file", "changed"] = "total"


@dataclass(frozen=True, slots=True)
class Definitions:
    """Everything that decides what a candidate is judged by; :meth:`key` is the third part of a review's key.

    Attributes:
        commit_expression: a regular expression that the subject line of every own commit must match (``search``).
        allowed_paths: gitignore-style; empty allows everything.
        forbidden_paths: the configured ones, on top of ``always_forbidden`` and the work package's own.
        max_file_size: bytes.
        digests: SHA-256 of frozen inputs by name: ``wp``, ``spec``, ``constitution``, ….
        strategy: how the candidate is made.
        policy: what needs an approval, and what is forbidden.
        setup: command lines that make a copy ready for the checks.
        integrity: what findings about tests do.
        reviewer: the agent that judges what these let pass, and by what: ``review.agent``; empty: none.
    """

    checks: tuple[CheckSpec, ...] = ()
    coverage: CoverageSpec | None = None
    requirements: Literal["warn", "strict"] = "warn"
    commit_expression: str = ""
    allowed_paths: tuple[str, ...] = ()
    forbidden_paths: tuple[str, ...] = ()
    always_forbidden: tuple[str, ...] = ()
    max_file_size: int = 1_000_000
    digests: Mapping[str, str] = field(default_factory=dict)
    strategy: str = "merge"
    policy: Policy = field(default_factory=Policy)
    setup: tuple[str, ...] = ()
    integrity: Integrity = field(default_factory=Integrity)
    reviewer: Mapping[str, Any] = field(default_factory=dict)

    def key(self) -> str:
        """SHA-256, in hex, of the definitions and of who reads them: this program, and its rules."""
        plain = {**asdict(self), "digests": dict(self.digests), "rules": RULES, "version": __version__}
        return digest(plain)


@dataclass(frozen=True, slots=True)
class ReviewContext:
    """The input of a review.

    Attributes:
        feature: the feature's id.
        wp: the work package as frozen at dispatch.
        control: the control git dir, which has the objects of candidate, head and base.
        outside: folders that no copy may lie in: the user's work tree, the git common dir.
        target: name of the target branch; ``base`` its tip.
        head: the admitted tip of the package's branch.
        candidate: the commit that would become the target's tip.
        identities: ``Name <mail>`` of those who may have made the package's own commits: its agents, the user.
        agents: those of them that are agents.
        sessions: the branch's tips before and after each session, whose commits are by agents alone.
        tracked_changes: changed tracked files of the worktree; None when there is no worktree any more.
        untracked: its untracked files that are not ignored.
        requirements: text of the referenced requirements by reference, for display.
        environment: variables for command checks on top of the allow-list; never secrets.
        refs: more refs for the copies' git, full names to object ids (tags, for tools that derive versions).
        walls: what commands run behind; None: behind nothing.
        carried: other branches' tips that the branch has, and whose work the target has in other commits.
        batch: those that the commands run for at once, and on which commit; None: for this one, on its candidate.
    """

    feature: str
    wp: WorkPackage
    control: Git
    outside: tuple[Path, ...]
    base: str
    head: str
    candidate: str
    definitions: Definitions
    target: str = "main"
    identities: frozenset[str] = frozenset()
    agents: frozenset[str] = frozenset()
    sessions: tuple[tuple[str, str], ...] = ()
    tracked_changes: tuple[str, ...] | None = None
    untracked: tuple[str, ...] = ()
    requirements: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    refs: Mapping[str, str] = field(default_factory=dict)
    walls: Enclosure | None = None
    carried: tuple[str, ...] = ()
    batch: Batch | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """One check's result before its evidence is stored.

    Attributes:
        data: JSON that proves the result, without floats.
    """

    group: str
    name: str
    status: CheckStatus
    detail: str
    data: Mapping[str, Any] = field(default_factory=dict)


#: a check of facts: no process of the candidate's runs
Check = Callable[[ReviewContext], list[Finding]]


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A review with a verdict.

    Attributes:
        tests_passed: over all reports; None when no check gave one.
        evidence_refs: for the audit entry: ``{"fr_id", "evidence_id"}``.
        needs: what must be approved before the candidate lands.
    """

    verdict: Verdict
    checks: tuple[CheckResult, ...]
    tests_passed: int | None = None
    tests_failed: int | None = None
    evidence_refs: tuple[Mapping[str, str], ...] = ()
    needs: tuple[Need, ...] = ()


#: what no verdict is called where nothing more is known
NO_VERDICT = "no_verdict"


@dataclass(frozen=True, slots=True)
class NoVerdict:
    """The machine, not the work, kept a check from an answer; costs no review cycle.

    Attributes:
        check: the check's name.
        reason: what was missing, one line.
        fix: what the user can do, one line.
        code: a stable name, as errors have one.
        details: JSON data, as errors have it.
    """

    check: str
    reason: str
    fix: str
    code: str = NO_VERDICT
    details: Mapping[str, Any] = field(default_factory=dict)


def digest(value: Any) -> str:
    """SHA-256, in hex, of a JSON document's canonical bytes."""
    return hashlib.sha256(canonical(value)).hexdigest()


def canonical(value: Any) -> bytes:
    """A JSON document's canonical bytes; floats become text, bytes that are not UTF-8 ``\\xNN``."""
    return chain.dumps(chain.storable(value)).encode()


def one_line(text: str, limit: int = _DETAIL_LENGTH) -> str:
    """Text that others wrote as one printable line: controls become spaces, invalid bytes ``\\xNN``."""
    clean = "".join(c if c.isprintable() else " " for c in chain.safe_text(text))
    line = " ".join(clean.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def named(items: list[str], most: int = 5) -> str:
    """Up to ``most`` names and the count of the rest: ``a, b and 3 more``."""
    shown = ", ".join(one_line(item, 120) for item in items[:most])
    return f"{shown} and {len(items) - most} more" if len(items) > most else shown
