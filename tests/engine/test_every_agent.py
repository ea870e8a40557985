"""What holds for Claude Code and Codex alike, whatever their model does: each real program against a scripted one."""

from typing import Any

import pytest

from agentpkg.core.model import FailureClass, State
from agentpkg.engine.supervising import conversation
from agentpkg.isolation import probe_all
from tests.support import clis
from tests.support.clis import agent_shop, committed, log_of
from tests.support.engine_shop import Shop, ShopFactory
from tests.support.models import Cut, Fail, Flood, Hang, ModelServer, Say, Turn, Write

pytestmark = pytest.mark.slow

AGENTS = {"claude-code": clis.claude, "codex": clis.codex}
WRITE: Turn = (Write("src/wp01.txt", "one\n"),)


class Stage:
    """One of the agents, and the model behind it."""

    def __init__(self, name: str, shops: ShopFactory, model: ModelServer) -> None:
        self._name, self._shops, self.model = name, shops, model

    def shop(self, *turns: Turn, loop: bool = False, **more: Any) -> Shop:
        return agent_shop(self._shops, AGENTS[self._name](self.model.play(*turns, loop=loop)), **more)


@pytest.fixture(params=sorted(AGENTS))
def stage(request: pytest.FixtureRequest, shops: ShopFactory, model: ModelServer) -> Stage:
    return Stage(request.param, shops, model)


def test_it_works_in_the_sandbox_within_its_scope(stage: Stage) -> None:
    if not probe_all()["strong"].works:
        pytest.skip("no sandbox here")
    shop = stage.shop((Write("docs/no.md", "no\n"),), WRITE, committed(), (Say("Done."),), level="strong")
    row = shop.implement("WP01")
    assert (row.state, row.commits) == (State.FOR_REVIEW, 1), (row.reason, log_of(shop)[-8:])
    assert "docs/no.md is out of scope" in stage.model.asked()[1].text


def test_two_commits_around_a_busy_provider_a_cut_stream_and_a_flood_are_both_admitted(stage: Stage) -> None:
    shop = stage.shop(
        (Fail(429, "slow down", retry_after=1),), WRITE, (Cut("I was"),), committed(),
        (Flood(3_000_000), Write("src/wp01b.txt", "two\n")), committed(more="more"),
    )  # fmt: skip
    row = shop.implement("WP01")
    assert (row.state, row.commits) == (State.FOR_REVIEW, 2), row.reason
    assert (shop.state / "sessions" / str(row.session) / "events.jsonl").stat().st_size < 1 << 20


def test_one_that_hangs_is_ended_in_time_and_its_work_is_kept(stage: Stage) -> None:
    row = (shop := stage.shop(WRITE, (Hang("stream"),), agent={"timeout_seconds": 8})).implement("WP01")
    assert (row.state, str(row.reason).split(":")[0]) == (State.BLOCKED, "timeout")
    assert list(shop.project.ledger.entries(shop.feature, wp="WP01"))[-1].metadata["snapshot"]


def test_an_overloaded_provider_is_told_as_such(stage: Stage) -> None:
    row = stage.shop((Fail(429, "slow down"),), loop=True).implement("WP01")
    assert (row.state, row.reason_class) == (State.BLOCKED, FailureClass.PROVIDER), row.reason


@pytest.mark.parametrize(
    "level", ["strong", *(pytest.param(x, marks=pytest.mark.exhaustive) for x in ("medium", "basic"))]
)
def test_one_that_never_commits_has_failed_and_its_next_try_goes_on_in_the_same_conversation(
    stage: Stage, level: str
) -> None:
    if not probe_all()[level].works:
        pytest.skip(f"no {level} here")
    thought = (Say("A remarkable thought. I committed everything."),)
    shop = stage.shop(thought, WRITE, committed(), (Say("Done."),), level=level)
    row = shop.implement("WP01")
    assert (row.state, str(row.reason).split(":")[0]) == (State.BLOCKED, "no_commits")
    row = shop.implement("WP01")
    assert row.state is State.FOR_REVIEW, row.reason
    assert "A remarkable thought." in stage.model.asked()[1].text
    sessions = shop.project.ledger.sessions(shop.feature, "WP01")
    kept = [conversation.of(shop.state / "sessions" / session.id) for session in sessions]
    assert [one.resumed for one in kept if one] == [False, True]
    assert len({one.id for one in kept if one}) == 1
    # each counts its own tokens
    assert [session.usage["input_tokens"] for session in sessions] == [1000, 3000]
