"""All that a prompt is made of, as plain values: no clock, no session, no absolute path, no secret."""

from dataclasses import dataclass, field

from agentpkg.config.governance import Policy
from agentpkg.config.settings import Settings
from agentpkg.core.model import Feature, State, WorkPackage
from agentpkg.core.records import CheckResult


@dataclass(frozen=True, slots=True)
class Neighbour:
    """Another package that this one needs, or that needs this one; ``id`` may be ``002-billing/WP04``."""

    id: str
    title: str
    state: State


@dataclass(frozen=True, slots=True)
class Change:
    """What a finished dependency changed on the target.

    Attributes:
        commit: the merge commit's short id; empty when it is not known.
        subjects: of its commits.
        paths: changed files, with a status letter before each if there is one: ``M src/a.py``.
        surface: added or changed public definitions: ``src/a.py: def login(email, password)``.
    """

    wp: str
    title: str
    commit: str = ""
    subjects: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    surface: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Left:
    """Work that the last try did not commit; it was kept.

    Attributes:
        paths: with a status letter before each: ``M src/a.py``.
        here: it still lies in the worktree, as it was.
    """

    paths: tuple[str, ...]
    here: bool


@dataclass(frozen=True, slots=True)
class PriorWork:
    """What earlier tries left behind.

    Attributes:
        attempt: which try this is, from 2.
        reason: how the last one ended, in one line.
        findings: of the last review; those that passed are not told.
        conflict: the branch does not merge with the target, and the agent is to mend that.
        feedback: what a person or a reviewer wrote.
        told: instructions of people to the package's agents, in order.
        commits: subjects of the commits that are on the branch already.
        files: what those commits change, with a status letter before each: ``M src/a.py``.
        failure: the end of what the last session printed, when it failed.
        left: what it did not commit.
        hand_off: what the last agent said it would do next.
    """

    attempt: int
    reason: str = ""
    findings: tuple[CheckResult, ...] = ()
    feedback: str = ""
    told: tuple[str, ...] = ()
    commits: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    failure: str = ""
    left: Left | None = None
    hand_off: str = ""
    conflict: bool = False


@dataclass(frozen=True, slots=True)
class PromptContext:
    """The inputs of a prompt; the same inputs give the same bytes.

    Attributes:
        done: how many packages of the feature are done, of ``total``.
        constitution: Markdown.
        variables: names of the environment variables that the agent gets, never values.
        changes: of the finished dependencies, in the order of ``dependencies``.
        policy: what people have to approve.
    """

    feature: Feature
    package: WorkPackage
    settings: Settings
    branch: str
    target: str
    timeout_seconds: int
    dependencies: tuple[Neighbour, ...] = ()
    dependents: tuple[Neighbour, ...] = ()
    done: int = 0
    total: int = 0
    constitution: str = ""
    variables: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    prior: PriorWork | None = field(default=None)
    policy: Policy = field(default_factory=Policy)
