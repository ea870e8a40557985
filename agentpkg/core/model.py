"""The words of agentpkg as frozen values: the states of things, and what the files of a feature say."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal


class State(StrEnum):
    """The lane of a work package. *Ready* is derived, never stored."""

    PLANNED = "planned"
    DOING = "doing"
    FOR_REVIEW = "for_review"
    DONE = "done"
    BLOCKED = "blocked"
    CANCELLED = "cancelled"


class FeatureState(StrEnum):
    """The life of a feature."""

    CREATED = "created"
    SPECIFIED = "specified"
    RESEARCHED = "researched"
    PLANNED = "planned"
    IMPLEMENTING = "implementing"
    VALIDATED = "validated"
    SHIPPED = "shipped"
    CANCELLED = "cancelled"


class Outcome(StrEnum):
    """How a session ended, judged by facts."""

    COMPLETED = "completed"
    FAILED = "failed"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"


class FailureClass(StrEnum):
    """Whose fault a session's failure was.

    Retries count :attr:`AGENT`, :attr:`TIMEOUT` and :attr:`LIMIT` (it used more than it may). :attr:`PROVIDER` is the
    model's: overloaded, out of quota, out of reach. :attr:`BUDGET` is nobody's: what may be spent is spent. After
    :attr:`REPOSITORY`, changes to the real repository that could make git run programs or read other content, nothing
    goes on by itself: a person has to look first.
    """

    AGENT = "agent"
    TIMEOUT = "timeout"
    LIMIT = "limit"
    BUDGET = "budget"
    PROVIDER = "provider"
    ENVIRONMENT = "environment"
    REVIEW = "review"
    REPOSITORY = "repository"
    CANCELLED = "cancelled"

    @property
    def counted(self) -> bool:
        """It is the agent's, and uses up one of its retries."""
        return self in (FailureClass.AGENT, FailureClass.TIMEOUT, FailureClass.LIMIT)

    @property
    def shared(self) -> bool:
        """Any other session could have met it: the machine, or the model's provider."""
        return self in (FailureClass.ENVIRONMENT, FailureClass.PROVIDER)


class Verdict(StrEnum):
    """What a review says of one candidate."""

    APPROVED = "approved"
    CHANGES_REQUESTED = "changes_requested"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a file of a human.

    Attributes:
        file: path relative to the repository's work tree.
        line: 1-based line, 0 when the whole file is meant.
        value: the offending value, as text.
        message: what is wrong and what would be right.
    """

    file: str
    line: int
    value: str
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.value}: {self.message}" if self.value else f"{where}: {self.message}"

    def as_json(self) -> dict[str, Any]:
        """The shape of ``details.problems``."""
        return {"file": self.file, "line": self.line, "value": self.value, "message": self.message}


@dataclass(frozen=True, slots=True)
class WorkPackage:
    """One file in ``tasks/``, as written. Field meanings are those of the work package file's documentation."""

    id: str
    title: str
    #: the feature's slug, ``003-auth-system``
    feature: str
    #: path relative to the work tree
    path: str
    #: ``WP01`` of the same feature, or ``002-billing/WP04``
    dependencies: tuple[str, ...] = ()
    deliverables: tuple[str, ...] = ()
    owned_files: tuple[str, ...] = ()
    forbidden_paths: tuple[str, ...] = ()
    requirement_refs: tuple[str, ...] = ()
    acceptance: tuple[str, ...] = ()
    #: names of the secrets it may have; None: all of them
    secrets: tuple[str, ...] | None = None
    agent: str | None = None
    #: what kind of work it is, in the project's own words: ``agent.tags`` chooses agents by them
    tags: tuple[str, ...] = ()
    model: str | None = None
    timeout_seconds: int | None = None
    retries: int | None = None
    #: seconds, None when the file gives none
    estimate_seconds: int | None = None
    priority: int = 0
    approval: Literal["none", "required"] = "none"
    #: the lane at registration: planned, done or cancelled
    lane: State = State.PLANNED
    subtasks: tuple[str, ...] = ()
    #: the Markdown after the front matter
    body: str = ""
    #: SHA-256 of the file's bytes, in hex
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One requirement of ``spec.md``: its reference as written there and its text (Markdown)."""

    ref: str
    text: str


@dataclass(frozen=True, slots=True)
class Spec:
    """What a prompt needs of ``spec.md``."""

    title: str = ""
    overview: str = ""
    requirements: Mapping[str, Requirement] = field(default_factory=dict)
    success_criteria: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """``plan.md`` as headed sections, in order: ``(heading, level, text)``."""

    sections: tuple[tuple[str, int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a feature with an end of its own, from its meta.

    Attributes:
        needs: stages that must be finished before its packages start.
        done_check: commands that must pass on the target when its packages are over.
        entry_check: commands that must pass on the target before its packages start.
    """

    name: str
    packages: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    done_check: tuple[str, ...] = ()
    entry_check: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Feature:
    """A folder ``features/003-auth-system/`` with everything found in it, good or bad."""

    #: the folder's name, its identity everywhere
    id: str
    title: str
    #: folder relative to the work tree
    path: str
    #: the leading number as written (``003``), or ``""``
    number: str = ""
    #: True for ``kitty-specs/``, where some leniency holds
    lenient: bool = False
    target_branch: str | None = None
    #: of its meta: the most that all its sessions may use, amounts as text by unit
    budget: Mapping[str, str] = field(default_factory=dict)
    meta: Mapping[str, Any] = field(default_factory=dict)
    spec: Spec = field(default_factory=Spec)
    plan: Plan = field(default_factory=Plan)
    stages: tuple[Stage, ...] = ()
    #: commands that must pass on the target when all packages are over
    done_check: tuple[str, ...] = ()
    #: by id, in file order
    packages: Mapping[str, WorkPackage] = field(default_factory=dict)
    #: the files of work packages that give none: the id where no other file has it, else the path
    unread: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
