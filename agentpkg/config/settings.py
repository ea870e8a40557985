"""The configuration as frozen values: each key of ``.kittify/config.yaml``, its type, its default and its unit.

Pydantic dataclasses, not models, because a key may then be called ``copy``. Attribute names are the keys.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, StrictBool, StrictInt
from pydantic.dataclasses import dataclass

from agentpkg.config.kinds import (
    AgentName,
    Argument,
    Branch,
    BranchPrefix,
    CommitPattern,
    Environment,
    Folder,
    Glob,
    Host,
    Money,
    Name,
    NatsUrl,
    Percent,
    Prefix,
    RelativePath,
    Seconds,
    SecretArgument,
    Text,
)

# only the whole is ever validated, so the parts need no validators of their own: a quarter less import time
_STRICT = ConfigDict(extra="forbid", defer_build=True)

Positive = Annotated[StrictInt, Field(ge=1)]
NotNegative = Annotated[StrictInt, Field(ge=0)]
ExitCode = Annotated[StrictInt, Field(ge=1, le=255)]

#: agents that need no entry under ``agents:``, by name, with the harness that drives each
BUILT_IN_AGENTS: Mapping[str, str] = {
    "claude-code": "claude-code",
    "codex": "codex",
    "gemini": "acp",
    "opencode": "acp",
    "aider": "aider",
}

#: sections that later versions read; accepted and ignored
RESERVED = ("stages", "governance", "workflow", "workers", "web")


@dataclass(frozen=True, config=_STRICT)
class Project:
    """``project``: names and places."""

    #: told to agents; null: not told
    name: Text | None = None
    #: the branch that work packages merge into, without ``refs/heads/``
    target_branch: Branch = "main"
    features_dir: Folder = "features"
    worktrees_dir: Folder = ".worktrees"
    #: before ``003-auth-system-WP02``
    branch_prefix: BranchPrefix = "feat/"


@dataclass(frozen=True, config=_STRICT)
class Constraints:
    """``agent.constraints``: what an agent may change."""

    #: bytes
    max_file_size: Positive = 1_000_000
    #: gitignore-style; empty: everything
    allowed_paths: tuple[Glob, ...] = ()
    #: on top of what is always forbidden
    forbidden_paths: tuple[Glob, ...] = ()
    #: told in the prompt, refused by hooks where there are any
    forbidden_commands: tuple[Text, ...] = ()
    #: beginnings of commands that a person decides on each time an agent wants one
    ask_commands: tuple[Text, ...] = ()


@dataclass(frozen=True, config=_STRICT)
class Agent:
    """``agent``: the default agent and what holds for all of them."""

    #: the default agent, by name
    harness: AgentName | None = None
    #: the agent of packages with a tag, by tag; of several tags of a package the first that is here
    tags: dict[Name, AgentName] = Field(default_factory=dict)
    timeout_seconds: Positive = 3600
    #: seconds between the polite signal and SIGKILL
    kill_grace_seconds: NotNegative = 30
    #: seconds between two snapshots of uncommitted work while an agent works; 0: only at its end
    snapshot_seconds: NotNegative = 60
    #: further tries after failures of the agent
    retries: NotNegative = 2
    #: rejected reviews before a package is blocked
    max_review_cycles: Positive = 3
    #: a longer prompt brings a warning; bytes
    prompt_warn_bytes: Positive = 60_000
    environment: Environment = Field(default_factory=dict)
    constraints: Constraints = Field(default_factory=Constraints)


@dataclass(frozen=True, config=_STRICT)
class AgentDefinition:
    """One entry of ``agents``: a new agent, or changes to a built-in one."""

    #: the adapter that drives it; a built-in agent has its own
    harness: Name | None = None
    #: program and arguments, with placeholders
    command: tuple[Argument, ...] = ()
    #: how the prompt reaches a ``command`` agent besides stdin: its path or its text as the last argument
    prompt: Literal["stdin", "file", "argument"] = "stdin"
    #: folder of recorded transcripts, for ``replay``; relative to the repository, or absolute
    transcripts: Text | None = None
    model: Text | None = None
    timeout_seconds: Positive | None = None
    retries: NotNegative | None = None
    #: the agent that takes over when its retries are used up or its provider is out
    fallback: AgentName | None = None
    #: exit codes that say: it was the model's provider (overloaded, out of quota), not the agent
    provider_exit_codes: tuple[ExitCode, ...] = ()
    #: exit codes that say: it was the machine
    environment_exit_codes: tuple[ExitCode, ...] = ()
    #: added to ``agent.environment``
    environment: Environment = Field(default_factory=dict)
    #: what it may reach besides ``isolation.network.allow`` and what its harness needs
    network: tuple[Host, ...] = ()
    #: whatever else a harness of other people's takes
    options: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True, config=_STRICT)
class Worktree:
    """``worktree``: how a package's worktree is prepared."""

    #: each through ``/bin/sh -c`` in the new worktree, inside the isolation
    setup: tuple[Text, ...] = ()
    #: files copied from the main work tree
    copy: tuple[RelativePath, ...] = ()
    #: files and folders linked to the main work tree
    link: tuple[RelativePath, ...] = ()
    #: git filters of the user's configuration that may run: ``lfs``
    filters: tuple[Name, ...] = ()


@dataclass(frozen=True, config=_STRICT)
class Check:
    """One entry of ``review.checks``."""

    name: Text
    #: through ``/bin/sh -c`` in a throw-away copy of the candidate
    run: Text
    #: where the review shows it; the usual ones are deliverables, test-quality, code-quality, specification, governance
    group: Name = "code-quality"
    #: JUnit XML that ``run`` writes; with it the check passes only if the report says so too
    report: RelativePath | None = None
    #: fewest tests that the report must hold
    minimum_tests: NotNegative = 1
    timeout_seconds: Positive = 1800


@dataclass(frozen=True, config=_STRICT)
class Coverage:
    """``review.coverage``: a Cobertura or coverage.py report and what it must reach."""

    report: RelativePath
    #: percent
    minimum: Percent
    per: Literal["total", "file", "changed"] = "total"


#: what a finding does
Weighed = Literal["refuse", "warn", "off"]


@dataclass(frozen=True, config=_STRICT)
class Integrity:
    """``review.integrity``: what comes of findings that look like tests made to pass, and how much is tried."""

    deleted_tests: Weighed = "refuse"
    skipped_tests: Weighed = "refuse"
    weakened_assertions: Weighed = "refuse"
    changed_expectations: Weighed = "refuse"
    empty_tests: Weighed = "refuse"
    rewritten_snapshots: Weighed = "refuse"
    how_tests_run: Weighed = "refuse"
    import_paths: Weighed = "refuse"
    test_detection: Weighed = "refuse"
    revert_probe: Weighed = "refuse"
    mutants: Weighed = "refuse"
    #: failures that the target has too
    known_failures: Weighed = "warn"
    #: failures that do not come again
    flaky_tests: Weighed = "warn"
    #: the most that probes may take, together
    probe_seconds: NotNegative = 180
    #: mutants that are tried; three times as many while tests notice none
    mutants_tried: NotNegative = 3
    #: how often a failed check runs again
    reruns: NotNegative = 2


@dataclass(frozen=True, config=_STRICT)
class ReviewAgent:
    """``review.agent``: an agent that judges what all other checks let pass."""

    #: null: none; where it wrote the work itself, or cannot be started, its ``fallback`` is asked
    name: AgentName | None = None
    #: it may judge its own work
    allow_author: StrictBool = False
    #: after which there is no verdict
    timeout_seconds: Positive = 900
    #: severities of findings that keep a candidate from landing
    refuses: tuple[Literal["blocker", "major", "minor", "note"], ...] = ("blocker", "major")


@dataclass(frozen=True, config=_STRICT)
class Review:
    """``review``: what a candidate must pass."""

    #: each through ``/bin/sh -c``, once, in the copy that the checks' copies are made from
    setup: tuple[Text, ...] = ()
    checks: tuple[Check, ...] = ()
    coverage: Coverage | None = None
    requirements: Literal["warn", "strict"] = "warn"
    integrity: Integrity = Field(default_factory=Integrity)
    agent: ReviewAgent = Field(default_factory=ReviewAgent)
    #: for the subject line; ``{wp}`` stands for the package's id, as text
    commit_pattern: CommitPattern = r"^(feat|fix|docs|test|refactor|chore|perf|build)\({wp}\): .+"


@dataclass(frozen=True, config=_STRICT)
class Regenerate:
    """One entry of ``merge.regenerate``: a file that a command makes anew where both sides have changed it."""

    path: RelativePath
    #: through ``/bin/sh -c`` in a throw-away copy of the candidate
    run: Text


@dataclass(frozen=True, config=_STRICT)
class Merge:
    """``merge``: how a candidate is made and whether ``run`` lands it."""

    strategy: Literal["merge", "squash", "rebase"] = "merge"
    auto: StrictBool = True
    #: the remote that targets live on, which is followed and pushed to; null: they are this repository's own
    remote: Name | None = None
    #: gitignore-style: files in which lines that both sides have added at one place are kept, and are no conflict
    union: tuple[Glob, ...] = ()
    #: files that are no conflict either, since a command makes them anew: lock files
    regenerate: tuple[Regenerate, ...] = ()
    #: candidates of a run whose checks run side by side, each on the one before it
    parallel: Positive = 4
    #: how many times as long as others' a package's checks may take until these pass it, once; 0: for ever
    passing: NotNegative = 3
    #: candidates of a run that are judged by one run of the commands, on the last of them, where these are slow
    batch: Positive = 1
    #: how long the checks must have taken, together, when they last ran
    batch_seconds: NotNegative = 30


@dataclass(frozen=True, config=_STRICT)
class Backoff:
    """``run.backoff``: seconds until a package is tried again; doubled with every failure in a row."""

    #: after a failure of the agent, its time or its limits
    agent: Seconds = 5
    #: after a failure of the machine
    environment: Seconds = 10
    #: after a failure of the model's provider
    provider: Seconds = 30
    #: no wait is longer
    longest: Seconds = 600
    #: percent that chance may take off a wait
    jitter: Percent = 25


@dataclass(frozen=True, config=_STRICT)
class RunLimits:
    """``run.limits`` of all live sessions of the repository together; null: none."""

    #: bytes, resident, of all their processes
    memory: Positive | None = None
    #: how many at once
    processes: Positive | None = None
    #: bytes, of all worktrees and private git dirs that sessions work in
    disk: Positive | None = None


@dataclass(frozen=True, config=_STRICT)
class Run:
    """``run``: how many sessions at once, what they may take together, how often and when something is tried again."""

    jobs: Positive = 4
    #: further tries of a package in a row after failures of the machine or the model's provider
    environment_retries: NotNegative = 5
    #: so many of those failures in a row, over all packages, hold the run
    breaker_failures: Positive = 3
    #: sessions that find out whether they are over before a held run gives up
    breaker_probes: NotNegative = 8
    #: of ``run --until-done``: rounds for packages that failed, and fixes of each failed done check
    max_cycles: NotNegative = 3
    backoff: Backoff = Field(default_factory=Backoff)
    limits: RunLimits = Field(default_factory=RunLimits)


@dataclass(frozen=True, config=_STRICT)
class Secrets:
    """``secrets``: where ``${{ secrets.NAME }}`` is looked up, in this order."""

    providers: tuple[Literal["environment", "file", "keyring", "command"], ...] = ("environment",)
    #: absolute, or from the home folder; null: ``agentpkg/secrets.env`` in the user's configuration folder
    file: Text | None = None
    #: prints the value of ``{name}``
    command: tuple[SecretArgument, ...] = ()


@dataclass(frozen=True, config=_STRICT)
class Network:
    """``isolation.network``: what can be reached where the level cuts the network."""

    #: ``host:port``, and services of this machine as ``tcp:127.0.0.1:5432``
    allow: tuple[Host, ...] = ()


@dataclass(frozen=True, config=_STRICT)
class Isolation:
    """``isolation``: the least that will do; the best available is used."""

    minimum: Literal["strong", "medium", "basic"] = "basic"
    #: the level to use; null: the best that works here
    level: Literal["strong", "medium", "basic"] | None = None
    network: Network = Field(default_factory=Network)
    #: more folders to be seen, read-only
    mounts: tuple[Text, ...] = ()


@dataclass(frozen=True, config=_STRICT)
class Limits:
    """``limits`` of a session; null: agentpkg's own bound, or none."""

    #: bytes, of all its processes
    memory: Positive | None = None
    #: how many at once; far beyond what honest work needs, so that a fork storm ends by itself
    processes: Positive | None = 2_000
    #: seconds of processor time
    cpu: Positive | None = None
    #: bytes, of the worktree and the private git dir
    disk: Positive | None = None
    #: bytes kept of what it prints
    output: Positive | None = None
    #: seconds without a sign of life
    silence: Positive | None = None


@dataclass(frozen=True, config=_STRICT)
class Amounts:
    """The most of each that may be used; null: no bound."""

    #: US dollars, as far as agents' programs report money
    cost_usd: Money | None = None
    #: that models read and write, cached ones included
    tokens: Positive | None = None


@dataclass(frozen=True, config=_STRICT)
class Budget:
    """``budget``: what agents may use; a feature's meta may set its own for ``feature``."""

    session: Amounts = Field(default_factory=Amounts)
    package: Amounts = Field(default_factory=Amounts)
    feature: Amounts = Field(default_factory=Amounts)


@dataclass(frozen=True, config=_STRICT)
class Questions:
    """``questions``: what agents ask while they work, since neither scope nor policy decides it."""

    #: seconds that an agent waits for a person's answer
    deadline_seconds: Positive = 900
    #: what it is told when nobody answered
    default: Literal["refuse", "allow"] = "refuse"


@dataclass(frozen=True, config=_STRICT)
class Audit:
    """``audit``: the chain's anchors in git."""

    #: with the key of git's own configuration (``user.signingKey``, ``gpg.format``)
    sign: StrictBool = False


@dataclass(frozen=True, config=_STRICT)
class Nats:
    """``nats``: which server events go to."""

    #: null: agentpkg's own server, on loopback
    url: NatsUrl | None = None
    #: a credentials or seed file
    credentials: Text | None = None
    prefix: Prefix = "agentpkg"
    #: the nats-server program for the server of one's own; null: beside the interpreter, then on PATH
    server: Text | None = None


@dataclass(frozen=True, config=_STRICT)
class Settings:
    """All of the configuration; every part has defaults."""

    project: Project = Field(default_factory=Project)
    agent: Agent = Field(default_factory=Agent)
    agents: dict[AgentName, AgentDefinition] = Field(default_factory=dict)
    worktree: Worktree = Field(default_factory=Worktree)
    review: Review = Field(default_factory=Review)
    merge: Merge = Field(default_factory=Merge)
    run: Run = Field(default_factory=Run)
    secrets: Secrets = Field(default_factory=Secrets)
    isolation: Isolation = Field(default_factory=Isolation)
    limits: Limits = Field(default_factory=Limits)
    budget: Budget = Field(default_factory=Budget)
    questions: Questions = Field(default_factory=Questions)
    audit: Audit = Field(default_factory=Audit)
    nats: Nats = Field(default_factory=Nats)
