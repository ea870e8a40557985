"""What the ledger knows: rows of its tables, entries of the chain, events, and the pieces they are made of."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from agentpkg.core.model import FailureClass, FeatureState, Outcome, State, Verdict

CheckStatus = Literal["pass", "fail", "warn", "skip"]


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """A registered feature's current facts."""

    id: str
    title: str
    state: FeatureState
    #: full target branch name, without ``refs/heads/``
    target: str


@dataclass(frozen=True, slots=True)
class PackageRow:
    """A registered work package's current facts: a cache of its entries, written in the same transactions."""

    feature: str
    wp: str
    title: str
    state: State
    #: dependencies as last registered
    dependencies: tuple[str, ...] = ()
    #: the last session, live or ended
    session: str | None = None
    agent: str | None = None
    branch: str | None = None
    #: target's tip when the branch was made
    base: str | None = None
    #: admitted tip of the branch
    head: str | None = None
    #: rejected branch tips since it was last planned, plus one
    cycle: int = 1
    #: sessions that failed by the agent's fault since it was last planned
    failures: int = 0
    #: verdict on :attr:`head`, None when it has not been judged
    verdict: Verdict | None = None
    #: the candidate that verdict is about
    candidate: str | None = None
    #: a person's approval is bound to this candidate
    approved_by: str | None = None
    merge_commit: str | None = None
    forced: bool = False
    #: why it is blocked, or what the review said
    reason: str | None = None
    reason_class: FailureClass | None = None
    commits: int = 0
    files_changed: int = 0
    tests_passed: int | None = None
    tests_failed: int | None = None
    #: RFC 3339
    started_at: str | None = None
    finished_at: str | None = None


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One run of one agent on one work package. A row without ``ended_at`` is a live lease."""

    id: str
    feature: str
    wp: str
    agent: str
    harness: str
    #: grows with every session of the package; fences older ones
    epoch: int
    started_at: str
    isolation: str = "basic"
    model: str | None = None
    #: target's tip at dispatch
    base: str = ""
    #: branch tip at dispatch
    old_head: str = ""
    #: branch tip after admission
    new_head: str | None = None
    prompt_sha256: str = ""
    #: process identity of the supervisor: pid and start time in clock ticks since boot (or psutil's create time)
    pid: int | None = None
    pid_started: str | None = None
    agent_pid: int | None = None
    boot_id: str | None = None
    ended_at: str | None = None
    outcome: Outcome | None = None
    reason: str | None = None
    reason_class: FailureClass | None = None
    exit_code: int | None = None
    commits: int = 0
    files_changed: int = 0
    #: whatever the harness reported (tokens, cost), JSON without floats
    usage: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the audit chain, exactly as exported. ``seq`` is the ledger-wide row number and not part of it."""

    seq: int
    id: int
    feature_id: str
    wp_id: str | None
    timestamp: str
    actor: str
    transition: str
    evidence_refs: tuple[Mapping[str, str], ...]
    metadata: Mapping[str, Any]
    prev_hash: str
    hash: str


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One check of a review.

    Attributes:
        evidence: ``sha256:…`` of the stored evidence, or None.
    """

    group: str
    name: str
    status: CheckStatus
    detail: str = ""
    evidence: str | None = None


@dataclass(frozen=True, slots=True)
class Need:
    """Why a candidate may not land without people's word.

    Attributes:
        action: ``merge``, ``package``, ``dependencies``, ``migrations``, ``workflows``, ``paths`` or ``scope``.
        detail: one line for people.
        paths: those that it is about, as many as are kept.
    """

    action: str
    detail: str
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """Packages whose commands ran once for all of them, and which land together or not at all.

    Attributes:
        tip: the commit that they ran on: the candidate of the last package.
        packages: in the order in which they land.
    """

    tip: str
    packages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReviewRow:
    """A recorded review: one per (branch tip, target tip, definitions)."""

    feature: str
    wp: str
    head: str
    #: target's tip it was made on
    base: str
    #: hash of everything that defines the checks
    definitions: str
    verdict: Verdict
    cycle: int
    #: None after a conflict
    candidate: str | None
    checks: tuple[CheckResult, ...] = ()
    tests_passed: int | None = None
    tests_failed: int | None = None
    created_at: str = ""
    #: what must be approved before this candidate lands
    needs: tuple[Need, ...] = ()
    #: those it was judged with, and what the commands ran on; None: alone, on its candidate
    batch: Batch | None = None


@dataclass(frozen=True, slots=True)
class QuestionRow:
    """One question in the queue that people answer.

    Attributes:
        number: people call it by this: ``Q3``.
        kind: what it is about: ``approval`` of a candidate, ``permission`` for a call of a working agent's.
        session: the live session that asked; None for none.
        subject: what exactly it is bound to: a candidate's commit, or the session's request.
        text: the question, one line.
        details: what decides whether an answer still holds, and more to show; JSON without floats.
        options: the answers there are; the first one lets things go on.
        fallback: the answer once the deadline has passed.
        deadline: RFC 3339; None: it waits for ever.
        people: how many different people have to give the first option.
        approvers: ``human:LOGIN`` of those who may answer; empty: any person.
        excluded: ``human:LOGIN`` of those who may not.
        answers: ``{"by", "answer", "reason", "time"}``, in order.
        state: ``open``, ``answered``, ``expired`` (what it was bound to has changed) or ``withdrawn``.
        answer: the one that holds; None while there is none.
    """

    number: int
    kind: str
    feature: str
    wp: str | None
    session: str | None
    subject: str
    text: str
    details: Mapping[str, Any]
    options: tuple[str, ...]
    fallback: str
    deadline: str | None
    people: int
    approvers: tuple[str, ...]
    excluded: tuple[str, ...]
    asked_at: str
    answers: tuple[Mapping[str, Any], ...] = ()
    state: str = "open"
    answer: str | None = None
    closed_at: str | None = None


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event that was or will be published; ``rowid`` orders them, ``id`` is the ``Nats-Msg-Id``."""

    rowid: int
    id: str
    #: without the prefix: ``feature.003-auth-system.wp.WP02.state.changed``
    subject: str
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SessionEvent:
    """What a harness saw in its agent's stream.

    Attributes:
        kind: ``text`` ``tool`` ``tool_result`` ``output`` ``commit`` ``permission`` ``usage`` ``notice`` ``end`` …
        text: one or more lines for people, not yet redacted.
        data: more, as JSON without floats.
    """

    kind: str
    text: str
    data: Mapping[str, Any] = field(default_factory=dict)
