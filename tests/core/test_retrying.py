"""Retrying: who tries again and when, and when all trying holds. Plain values, no clock."""

import pytest

from agentpkg.config.settings import Backoff
from agentpkg.core import retrying
from agentpkg.core.model import FailureClass
from agentpkg.core.retrying import Breaker, Try

AGENT, TIMEOUT, LIMIT = FailureClass.AGENT, FailureClass.TIMEOUT, FailureClass.LIMIT
PROVIDER, ENVIRONMENT, CANCELLED = FailureClass.PROVIDER, FailureClass.ENVIRONMENT, FailureClass.CANCELLED

STILL = Backoff(agent=5, environment=10, provider=30, longest=600, jitter=0)


def tries(*said: tuple[str, FailureClass | None]) -> list[Try]:
    return [Try(agent, cause) for agent, cause in said]


@pytest.mark.parametrize(
    ("attempt", "cause", "seconds"),
    [(1, AGENT, 5), (2, AGENT, 10), (4, LIMIT, 40), (1, ENVIRONMENT, 10), (3, PROVIDER, 120), (99, PROVIDER, 600)],
)
def test_a_wait_doubles_with_every_failure_up_to_a_bound(attempt: int, cause: FailureClass, seconds: float) -> None:
    assert retrying.wait(STILL, attempt, cause, 0.5) == seconds


def test_chance_takes_off_a_share_and_never_adds() -> None:
    policy = Backoff(agent=100, jitter=25)
    assert retrying.wait(policy, 1, AGENT, 0.0) == 100
    assert 75 < retrying.wait(policy, 1, AGENT, 0.999) < 76


def test_a_sessions_chance_is_its_own_and_always_the_same() -> None:
    chances = {retrying.chance_of(f"sess_{i}") for i in range(100)}
    assert len(chances) == 100
    assert all(0 <= chance < 1 for chance in chances)
    assert retrying.chance_of("sess_7") == retrying.chance_of("sess_7")


def test_only_tries_since_the_package_was_planned_count() -> None:
    before = tries(("a", AGENT), ("a", AGENT))
    after = tries(("a", PROVIDER), ("a", AGENT))
    assert retrying.since_planned([*before, *after], 1) == after
    assert retrying.since_planned(before, 0) == []


def test_the_first_in_line_with_retries_left_tries_next() -> None:
    line = {"a": 1, "b": 0}
    assert retrying.next_agent(line, []) == "a"
    assert retrying.next_agent(line, tries(("a", AGENT))) == "a"
    assert retrying.next_agent(line, tries(("a", AGENT), ("a", TIMEOUT))) == "b"
    assert retrying.next_agent(line, tries(("a", AGENT), ("a", LIMIT), ("b", AGENT))) is None


def test_failures_of_machine_and_provider_use_up_no_retries() -> None:
    shared = tries(*[("a", ENVIRONMENT), ("a", PROVIDER)] * 9)
    assert retrying.next_agent({"a": 0}, shared) == "a"


def test_a_fallback_takes_over_while_a_provider_is_out_and_gives_back_when_it_fails_itself() -> None:
    line = {"a": 1, "b": 1}
    assert retrying.next_agent(line, tries(("a", PROVIDER))) == "b"
    assert retrying.next_agent(line, tries(("a", PROVIDER), ("b", AGENT))) == "b"
    assert retrying.next_agent(line, tries(("a", PROVIDER), ("b", PROVIDER))) == "a"
    assert retrying.next_agent(line, tries(("a", PROVIDER), ("b", AGENT), ("b", AGENT))) == "a"


def test_a_row_is_of_one_kind() -> None:
    assert retrying.in_a_row(tries(("a", AGENT), ("a", PROVIDER), ("a", ENVIRONMENT))) == 2
    assert retrying.in_a_row(tries(("a", PROVIDER), ("a", AGENT), ("a", TIMEOUT))) == 2
    assert retrying.in_a_row(tries(("a", AGENT), ("a", None))) == 0


def test_the_breaker_opens_after_shared_failures_in_a_row_and_closes_with_any_other_end() -> None:
    breaker = Breaker()
    for session in ("s1", "s2"):
        breaker = breaker.heard(session, PROVIDER)
    assert not breaker.open(3)
    breaker = breaker.heard("s3", ENVIRONMENT)
    assert breaker.open(3)
    breaker = breaker.probe("s4")
    assert (breaker.probes, breaker.probing) == (1, "s4")
    breaker = breaker.heard("s4", PROVIDER)
    assert (breaker.failures, breaker.probing) == (4, None)
    assert not breaker.heard("s5", AGENT).open(3)
    assert breaker.heard("s5", None) == Breaker()


def test_what_a_person_ended_says_nothing_of_the_provider() -> None:
    breaker = Breaker(3, 1, "s4")
    assert breaker.heard("s4", CANCELLED) == Breaker(3, 1, None)
