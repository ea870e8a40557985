"""Tries after failures: whose fault they are, who tries next, and a run that holds instead of making a storm."""

import re

import pytest

from agentpkg.core.model import FailureClass, State
from agentpkg.engine import looking, retries
from agentpkg.engine.dispatching import dispatch
from agentpkg.views import Seen
from tests.engine.test_run import Running
from tests.support.engine_shop import FEATURE, Shop, ShopFactory
from tests.support.wait import until

OUT = "echo 'API Error: 529 overloaded_error: Overloaded' >&2; exit 1"


def causes(shop: Shop, wp: str = "WP01") -> list[FailureClass | None]:
    return [s.reason_class for s in shop.project.ledger.sessions(FEATURE, wp)]


def agents(shop: Shop, wp: str = "WP01") -> list[str]:
    return [s.agent for s in shop.project.ledger.sessions(FEATURE, wp)]


def kinds(shop: Shop) -> list[str]:
    return [str(e.metadata["kind"]) for e in shop.project.ledger.entries(FEATURE) if "kind" in e.metadata]


def configure(shop: Shop, **run: object) -> None:
    """Sets keys of ``run`` and ``run.backoff`` in a shop's configuration."""
    path = shop.repo / ".kittify" / "config.yaml"
    text = path.read_text()
    for key, value in run.items():
        text, known = re.subn(rf"\b{key}: [^,}}]+(?=[,}}])", f"{key}: {value}", text)
        if not known:
            text = text.replace("run: {", f"run: {{{key}: {value}, ")
    path.write_text(text)


def second_agent(shop: Shop, script: str, **more: str) -> None:
    """Adds the agent ``other`` and makes it the fallback of the first."""
    tool = shop.tools / "other.sh"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    path = shop.repo / ".kittify" / "config.yaml"
    first = f'["{shop.tools / "agent.sh"}"]'
    text = path.read_text().replace(f"command: {first}", f"command: {first}, fallback: other")
    path.write_text(text.replace("review:\n", f'  other: {{harness: command, command: ["{tool}"]}}\nreview:\n', 1))


SAVE = 'mkdir -p src; echo x > src/wp01.txt; git add src; git commit -q -m "feat(WP01): by the other"'


@pytest.mark.slow
def test_failures_of_the_provider_use_up_no_retries_and_the_run_goes_on_when_it_is_back(shops: ShopFactory) -> None:
    shop = shops(retries=0)
    configure(shop, breaker_failures=9)
    shop.agent("WP01", OUT, attempt=1)
    assert shop.run().stuck == ()
    assert causes(shop) == [FailureClass.PROVIDER, None]
    assert shop.row("WP01").failures == 0


@pytest.mark.slow
def test_an_exit_code_can_be_said_to_be_the_providers(shops: ShopFactory) -> None:
    shop = shops(retries=0)
    path = shop.repo / ".kittify" / "config.yaml"
    path.write_text(path.read_text().replace("harness: command,", "harness: command, provider_exit_codes: [75],"))
    shop.agent("WP01", "exit 75", attempt=1)
    assert shop.run().stuck == ()
    assert causes(shop) == [FailureClass.PROVIDER, None]


@pytest.mark.slow
def test_a_provider_that_is_out_holds_the_run_until_one_probe_gets_through(shops: ShopFactory) -> None:
    shop = shops({"WP01": [], "WP02": [], "WP03": [], "WP04": []}, retries=0)
    shop.agent("WP01", OUT, attempt=1)
    shop.agent("WP02", OUT, attempt=1)
    configure(shop, breaker_failures=2, environment_retries=5)
    assert shop.run(jobs=2).stuck == ()
    assert kinds(shop).count("run_held") == 1
    assert kinds(shop).count("run_released") == 1
    told = [e.subject for e in shop.told if ".run." in e.subject]
    assert told == [f"feature.{FEATURE}.run.held", f"feature.{FEATURE}.run.released"]


@pytest.mark.slow
def test_a_run_whose_provider_stays_out_gives_up_after_its_probes_and_says_why(shops: ShopFactory) -> None:
    shop = shops({"WP01": [], "WP02": ["WP01"]}, retries=3)
    shop.agent("WP01", OUT)
    configure(shop, breaker_failures=2, breaker_probes=2, environment_retries=50)
    stuck = {one.wp: one.reason for one in shop.run().stuck}
    assert len(causes(shop)) == 4
    assert stuck["WP01"].startswith("the run gave up: 4 failures of the provider in a row")
    assert "529" in stuck["WP01"]
    # a later run asks again
    shop.agent("WP01", 'save "src/$n.txt" x')
    assert shop.run().stuck == ()


@pytest.mark.slow
def test_a_held_run_shows_it_with_the_time_of_the_next_try_and_can_be_stopped(shops: ShopFactory) -> None:
    shop = shops(retries=3)
    shop.agent("WP01", OUT)
    configure(shop, breaker_failures=1, provider=900)
    running = Running(shop)
    seen = until(lambda: (s := look(shop)).run["held"] and s, seconds=60)
    assert seen.run["owner"]["jobs"] == 4
    assert (seen.run["held"]["failures"], seen.run["held"]["reason_class"]) == (1, "provider")
    assert seen.run["held"]["until"] > seen.run["held"]["since"]
    assert seen.retry_at["WP01"] > seen.run["held"]["since"]
    running.stop.press()
    assert running.finished().interrupted
    # with the run its hold is over
    assert look(shop).run == {"owner": None, "paused": None, "held": None}
    assert look(shop).retry_at == {}


def look(shop: Shop) -> Seen:
    project = shop.project
    return looking.see(project, project.good_feature(FEATURE))


@pytest.mark.slow
def test_a_package_that_alone_meets_a_broken_machine_is_not_tried_for_ever(shops: ShopFactory) -> None:
    shop = shops(retries=5)
    shop.agent("WP01", OUT)
    configure(shop, breaker_failures=50)
    shop.run()
    assert len(causes(shop)) == 2
    assert shop.row("WP01").state is State.BLOCKED


def test_a_fallback_that_cannot_be_started_is_named_before_it_is_needed(shops: ShopFactory) -> None:
    shop = shops()
    second_agent(shop, SAVE)
    project = shop.project
    feature = project.good_feature(FEATURE)
    assert dispatch.preflight(project, feature, "WP01", None) == []
    (shop.tools / "other.sh").unlink()
    (said,) = dispatch.preflight(project, feature, "WP01", None)
    assert said.startswith("other, the fallback of scripted, cannot be started: ")


@pytest.mark.slow
def test_a_fallback_takes_over_when_the_first_agents_retries_are_used_up(shops: ShopFactory) -> None:
    shop = shops(retries=1)
    second_agent(shop, SAVE)
    shop.agent("WP01", "exit 3")
    assert shop.run().stuck == ()
    assert agents(shop) == ["scripted", "scripted", "other"]


@pytest.mark.slow
def test_a_fallback_takes_over_at_once_when_the_first_agents_provider_is_out(shops: ShopFactory) -> None:
    shop = shops(retries=1)
    second_agent(shop, SAVE)
    shop.agent("WP01", OUT)
    configure(shop, provider=900)
    assert shop.run().stuck == ()
    assert agents(shop) == ["scripted", "other"]


def test_a_package_rests_before_its_next_try_and_anybody_can_say_how_long(shops: ShopFactory) -> None:
    shop = shops(retries=2)
    path = shop.repo / ".kittify" / "config.yaml"
    path.write_text(path.read_text().replace("backoff: {agent: 0,", "backoff: {agent: 100, jitter: 0,"))
    shop.agent("WP01", "exit 3")
    row = shop.implement("WP01")
    project = shop.project
    again = retries.again(project, project.good_feature(FEATURE), row)
    assert again is not None
    assert (again.agent, again.rest, again.session) == ("scripted", 100, row.session)
    assert retries.again(project, project.good_feature(FEATURE), row) == again
