"""The table of states: every way from one to another, for every kind of actor."""

from dataclasses import replace
from itertools import product

import pytest

from agentpkg.core import states
from agentpkg.core.errors import Busy, NotAllowed
from agentpkg.core.model import FailureClass, FeatureState, Outcome, State, Verdict
from agentpkg.core.records import PackageRow

ACTORS = ("human:ada", "agent:coder", "ci:automation", "system:timeout")

#: the documented table, written down a second time; "-> done" from planned is a lane adopted at registration
ALLOWED = {
    ("none", "planned"): "system",
    ("planned", "doing"): "agent",
    ("blocked", "doing"): "agent",
    ("for_review", "doing"): "agent",
    ("doing", "for_review"): "agent",
    ("doing", "blocked"): "agent system",
    ("for_review", "for_review"): "ci",
    ("for_review", "blocked"): "ci",
    ("for_review", "done"): "ci human",
    ("blocked", "for_review"): "human",
    ("blocked", "planned"): "human",
    ("for_review", "planned"): "human",
    ("planned", "cancelled"): "human",
    ("doing", "cancelled"): "human",
    ("for_review", "cancelled"): "human",
    ("blocked", "cancelled"): "human",
    ("cancelled", "planned"): "human",
    ("planned", "done"): "system",
}


def row(state: State = State.PLANNED, **more: object) -> PackageRow:
    return replace(PackageRow("003-auth", "WP01", "Part", state, session="sess_1", agent="coder"), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(("old", "new", "actor"), list(product(State, State, ACTORS)))
def test_a_transition_is_allowed_exactly_where_the_table_says(old: State, new: State, actor: str) -> None:
    allowed = actor.partition(":")[0] in ALLOWED.get((old, new), "").split()
    if allowed:
        states.check(row(old), new, actor)
    else:
        with pytest.raises(NotAllowed) as refused:
            states.check(row(old), new, actor)
        assert refused.value.hint
        assert refused.value.code in ("illegal_transition", "not_for_this_actor")


def test_the_table_has_nothing_that_is_not_documented() -> None:
    assert {(str(a), str(b)): who for (a, b), who in states.TABLE.items()} == {
        pair: frozenset(who.split()) for pair, who in ALLOWED.items()
    }


@pytest.mark.parametrize("to", [State.DONE, State.PLANNED, State.CANCELLED])
@pytest.mark.parametrize("old", list(State))
def test_an_agent_never_moves_a_package_to_done_planned_or_cancelled(old: State, to: State) -> None:
    with pytest.raises((NotAllowed, Busy)):
        states.check(row(old), to, "agent:coder")


@pytest.mark.parametrize("state", [State.PLANNED, State.BLOCKED])
def test_a_dispatch_starts_what_is_planned_or_blocked(state: State) -> None:
    new = states.decide_dispatch(row(state, reason="x", reason_class=FailureClass.AGENT), "agent:coder", [])
    assert (new.state, new.reason, new.reason_class) == (State.DOING, None, None)


def test_a_dispatch_starts_what_a_review_rejected_and_nothing_else_that_waits() -> None:
    rejected = row(State.FOR_REVIEW, verdict=Verdict.CHANGES_REQUESTED)
    assert states.decide_dispatch(rejected, "agent:coder", []).state is State.DOING
    for verdict in (None, Verdict.APPROVED):
        with pytest.raises(NotAllowed, match="waits for review"):
            states.decide_dispatch(row(State.FOR_REVIEW, verdict=verdict), "agent:coder", [])


@pytest.mark.parametrize("state", [State.DONE, State.CANCELLED])
def test_a_dispatch_of_a_finished_package_is_refused(state: State) -> None:
    with pytest.raises(NotAllowed):
        states.decide_dispatch(row(state), "agent:coder", [])


def test_a_dispatch_names_the_holder_or_the_open_dependencies() -> None:
    with pytest.raises(Busy, match="coder in session sess_1") as busy:
        states.decide_dispatch(row(State.DOING), "agent:other", [])
    assert busy.value.details == {"session": "sess_1", "agent": "coder"}
    with pytest.raises(NotAllowed, match="WP07, WP08") as refused:
        states.decide_dispatch(row(), "agent:coder", ["WP07", "WP08"])
    assert refused.value.details == {"open": ["WP07", "WP08"]}


@pytest.mark.parametrize(
    ("cause", "failures"),
    [(FailureClass.AGENT, 1), (FailureClass.TIMEOUT, 1), (FailureClass.ENVIRONMENT, 0), (FailureClass.CANCELLED, 0)],
)
def test_only_the_agents_own_failures_are_counted(cause: FailureClass, failures: int) -> None:
    new = states.decide_finish(row(State.DOING), Outcome.FAILED, "system:recovery", "why", cause)
    assert (new.state, new.failures, new.reason, new.reason_class) == (State.BLOCKED, failures, "why", cause)


def test_a_completed_session_forgets_the_verdict_on_what_was_there_before() -> None:
    old = row(State.DOING, verdict=Verdict.CHANGES_REQUESTED, candidate="abc", cycle=2)
    new = states.decide_finish(old, Outcome.COMPLETED, "agent:coder", None, None)
    assert (new.state, new.verdict, new.candidate, new.cycle) == (State.FOR_REVIEW, None, None, 2)


def test_only_an_agent_completes_its_session() -> None:
    for actor in ("human:ada", "ci:automation", "system:recovery"):
        with pytest.raises(NotAllowed):
            states.decide_finish(row(State.DOING), Outcome.COMPLETED, actor, None, None)


def test_a_tip_that_is_rejected_twice_uses_one_cycle_up() -> None:
    waiting = row(State.FOR_REVIEW)
    once, used_up = states.decide_judged(waiting, Verdict.CHANGES_REQUESTED, True, 3)
    again, _ = states.decide_judged(once, Verdict.CHANGES_REQUESTED, False, 3)
    assert (once.cycle, again.cycle, used_up) == (2, 2, False)


def test_the_rejection_beyond_the_limit_uses_the_cycles_up() -> None:
    current = row(State.FOR_REVIEW)
    seen = []
    for _ in range(3):
        current, used_up = states.decide_judged(current, Verdict.CHANGES_REQUESTED, True, 3)
        seen.append(used_up)
    assert seen == [False, False, True]
    assert states.decide_judged(row(State.FOR_REVIEW, cycle=3), Verdict.APPROVED, True, 3)[1] is False


def test_a_person_starts_a_package_anew_with_clean_counts() -> None:
    old = row(State.BLOCKED, cycle=3, failures=2, verdict=Verdict.CHANGES_REQUESTED, branch="feat/x", reason="r")
    new = states.decide_move(old, State.PLANNED, "human:ada")
    assert (new.state, new.cycle, new.failures, new.verdict, new.reason) == (State.PLANNED, 1, 0, None, None)
    assert new.branch == "feat/x"


def test_a_package_at_work_can_only_be_cancelled() -> None:
    for to in (State.PLANNED, State.FOR_REVIEW):
        with pytest.raises(Busy):
            states.decide_move(row(State.DOING), to, "human:ada")
    assert states.decide_move(row(State.DOING), State.CANCELLED, "human:ada").state is State.CANCELLED


@pytest.mark.parametrize("state", list(State))
def test_every_state_says_what_to_do_next(state: State) -> None:
    said = states.next_step(row(state))
    assert "{" not in said
    assert len(said) > 10


@pytest.mark.parametrize(
    ("current", "packages", "then"),
    [
        (FeatureState.PLANNED, [State.PLANNED], FeatureState.PLANNED),
        (FeatureState.PLANNED, [State.CANCELLED, State.PLANNED], FeatureState.PLANNED),
        (FeatureState.PLANNED, [State.DOING, State.PLANNED], FeatureState.IMPLEMENTING),
        (FeatureState.IMPLEMENTING, [State.DONE, State.PLANNED], FeatureState.IMPLEMENTING),
        (FeatureState.IMPLEMENTING, [State.DONE, State.CANCELLED], FeatureState.VALIDATED),
        (FeatureState.IMPLEMENTING, [State.CANCELLED, State.CANCELLED], FeatureState.IMPLEMENTING),
        (FeatureState.PLANNED, [State.DONE], FeatureState.VALIDATED),
        (FeatureState.VALIDATED, [State.DONE, State.PLANNED], FeatureState.IMPLEMENTING),
        (FeatureState.SHIPPED, [State.DONE, State.PLANNED], FeatureState.SHIPPED),
        (FeatureState.CANCELLED, [State.DOING], FeatureState.CANCELLED),
        (FeatureState.PLANNED, [], FeatureState.PLANNED),
    ],
)
def test_a_features_state_follows_its_packages(
    current: FeatureState, packages: list[State], then: FeatureState
) -> None:
    assert states.feature_state(current, packages) is then
