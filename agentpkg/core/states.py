"""The transition table of work packages and features, and the one pure function that consults it.

Who is asked by kind: an actor is ``human:LOGIN``, ``agent:NAME``, ``ci:automation`` or ``system:…``. Nothing here
knows of time, files or processes; :mod:`agentpkg.engine.transition` applies what is decided here in one ledger
transaction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from agentpkg.core.errors import Busy, NotAllowed
from agentpkg.core.model import FailureClass, FeatureState, Outcome, State, Verdict
from agentpkg.core.records import PackageRow

#: how a package that is not registered yet is written in a transition
NONE = "none"

_S = State

#: (from, to) -> the kinds of actor that may do it
TABLE: Mapping[tuple[str, str], frozenset[str]] = {
    (NONE, _S.PLANNED): frozenset({"system"}),
    (_S.PLANNED, _S.DOING): frozenset({"agent"}),
    (_S.BLOCKED, _S.DOING): frozenset({"agent"}),
    (_S.FOR_REVIEW, _S.DOING): frozenset({"agent"}),
    (_S.DOING, _S.FOR_REVIEW): frozenset({"agent"}),
    (_S.DOING, _S.BLOCKED): frozenset({"agent", "system"}),
    # reviews, questions and their answers; who gave an answer stands in the entry's metadata
    (_S.FOR_REVIEW, _S.FOR_REVIEW): frozenset({"ci"}),
    (_S.FOR_REVIEW, _S.BLOCKED): frozenset({"ci"}),
    (_S.FOR_REVIEW, _S.DONE): frozenset({"ci", "human"}),
    (_S.BLOCKED, _S.FOR_REVIEW): frozenset({"human"}),
    (_S.BLOCKED, _S.PLANNED): frozenset({"human"}),
    (_S.FOR_REVIEW, _S.PLANNED): frozenset({"human"}),
    **{(s, _S.CANCELLED): frozenset({"human"}) for s in (_S.PLANNED, _S.DOING, _S.FOR_REVIEW, _S.BLOCKED)},
    (_S.CANCELLED, _S.PLANNED): frozenset({"human"}),
    # a lane written in the file, adopted at registration
    (_S.PLANNED, _S.DONE): frozenset({"system"}),
}

#: what to do next, by state; every "not now" about a package ends in one of these
NEXT_STEP: Mapping[State, str] = {
    _S.PLANNED: "start it with `agentpkg implement {feature} --wp {wp}`",
    _S.DOING: "wait for it, or stop it with `agentpkg cancel {feature} {wp} --reason TEXT`",
    _S.FOR_REVIEW: "judge it with `agentpkg review {feature} {wp}`",
    _S.BLOCKED: "look at `agentpkg logs {feature} {wp}`, then `agentpkg implement {feature} --wp {wp}` tries again",
    _S.DONE: "it has landed; nothing is left to do",
    _S.CANCELLED: "bring it back with `agentpkg move {feature} {wp} --to planned`",
}


def actor_kind(actor: str) -> str:
    """``human``, ``agent``, ``ci`` or ``system``."""
    return actor.partition(":")[0]


def next_step(row: PackageRow) -> str:
    """What a person can do with the package as it is."""
    return NEXT_STEP[row.state].format(feature=row.feature, wp=row.wp)


def check(row: PackageRow, to: State, actor: str) -> None:
    """Raises unless ``actor`` may move the package to ``to`` from where it is.

    Raises:
        NotAllowed: the table has no such transition, or not for this kind of actor.
    """
    who = TABLE.get((row.state, to))
    if who is None:
        raise NotAllowed(
            f"{row.wp} is {row.state}; it cannot become {to} from there", next_step(row), code="illegal_transition"
        )
    if actor_kind(actor) not in who:
        raise NotAllowed(
            f"{actor} may not move {row.wp} from {row.state} to {to}",
            f"this is for {' or '.join(sorted(who))} to do",
            code="not_for_this_actor",
        )


def decide_dispatch(row: PackageRow, actor: str, open_dependencies: Sequence[str]) -> PackageRow:
    """The package as a dispatch makes it (``doing``), without its session's facts.

    Raises:
        Busy: a session holds it.
        NotAllowed: dependencies are open, or its state has no way to ``doing``.
    """
    if row.state is State.DOING:
        raise Busy(
            f"{row.wp} is being worked on by {row.agent} in session {row.session}",
            next_step(row),
            details={"session": row.session, "agent": row.agent},
        )
    if row.state is State.FOR_REVIEW and row.verdict is not Verdict.CHANGES_REQUESTED:
        raise NotAllowed(f"{row.wp} already waits for review", next_step(row), code="illegal_transition")
    check(row, State.DOING, actor)
    if open_dependencies:
        raise NotAllowed(
            f"{row.wp} still depends on {', '.join(open_dependencies)}",
            _first(row, open_dependencies[0]),
            code="dependencies_open",
            details={"open": list(open_dependencies)},
        )
    return replace(row, state=State.DOING, reason=None, reason_class=None)


def _first(row: PackageRow, dependency: str) -> str:
    other, _, _ = dependency.rpartition("/")
    if other:
        return f"finish {dependency} first: `agentpkg run {other}`"
    return f"finish {dependency} first, or let `agentpkg run {row.feature}` do all in order"


def decide_finish(
    row: PackageRow, outcome: Outcome, actor: str, reason: str | None, cause: FailureClass | None
) -> PackageRow:
    """The package as the end of its session makes it: ``for_review`` when it completed, else ``blocked``."""
    if outcome is Outcome.COMPLETED:
        check(row, State.FOR_REVIEW, actor)
        return replace(row, state=State.FOR_REVIEW, verdict=None, candidate=None, reason=None, reason_class=None)
    check(row, State.BLOCKED, actor)
    counted = cause is not None and cause.counted
    return replace(row, state=State.BLOCKED, reason=reason, reason_class=cause, failures=row.failures + counted)


def decide_judged(row: PackageRow, verdict: Verdict, fresh_tip: bool, limit: int) -> tuple[PackageRow, bool]:
    """The package after a review, and whether its review cycles are used up.

    Args:
        fresh_tip: this branch tip has not been rejected before.
        limit: ``max_review_cycles``.

    ``cycle`` counts rejected branch tips plus one, so a tip that is rejected twice counts once.
    """
    check(row, State.FOR_REVIEW, "ci:automation")
    cycle = row.cycle + (1 if verdict is Verdict.CHANGES_REQUESTED and fresh_tip else 0)
    used_up = verdict is Verdict.CHANGES_REQUESTED and cycle > limit
    return replace(row, verdict=verdict, cycle=cycle), used_up


def decide_move(row: PackageRow, to: State, actor: str) -> PackageRow:
    """The package as a person's ``move`` to planned, for_review or cancelled makes it.

    Raises:
        Busy: a session works on it (only ``cancelled`` stops one).
        NotAllowed: as :func:`check`.
    """
    if row.state is State.DOING and to is not State.CANCELLED:
        raise Busy(
            f"{row.wp} is being worked on by {row.agent} in session {row.session}",
            next_step(row),
            details={"session": row.session, "agent": row.agent},
        )
    check(row, to, actor)
    if to is State.PLANNED:
        return replace(
            row, state=to, verdict=None, candidate=None, cycle=1, failures=0, reason=None, reason_class=None,
            finished_at=None, approved_by=None,
        )  # fmt: skip
    if to is State.FOR_REVIEW:
        return replace(row, state=to, verdict=None, candidate=None, reason=None, reason_class=None)
    return replace(row, state=to)


def feature_state(current: FeatureState, packages: Sequence[State]) -> FeatureState:
    """What a feature becomes by the states of its packages, after any change of one.

    A shipped or cancelled feature stays what it is. The first dispatch makes it ``implementing``, the last package
    ``validated`` (all done or cancelled, one at least done), and new work takes it back.
    """
    if current in (FeatureState.SHIPPED, FeatureState.CANCELLED):
        return current
    finished = all(s in (State.DONE, State.CANCELLED) for s in packages) and State.DONE in packages
    if finished:
        return FeatureState.VALIDATED
    begun = any(s in (State.DOING, State.FOR_REVIEW, State.BLOCKED) for s in packages)
    if begun or current is FeatureState.VALIDATED:
        return FeatureState.IMPLEMENTING
    return current
