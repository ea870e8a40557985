"""Real agents that speak the Agent Client Protocol, against a scripted model, from dispatch to conclusion."""

import pytest

from agentpkg.core.model import State
from tests.support.clis import agent_shop, claude_by_acp, committed, gemini, goose, log_of, opencode
from tests.support.engine_shop import Shop, ShopFactory
from tests.support.models import ModelServer, Say, Turn, Write

pytestmark = pytest.mark.slow


AGENTS = {"claude-agent-acp": claude_by_acp, "opencode": opencode, "gemini": gemini, "goose": goose}


@pytest.fixture(
    params=[
        "claude-agent-acp",
        *(pytest.param(one, marks=pytest.mark.exhaustive) for one in ("opencode", "gemini", "goose")),
    ]
)
def shop(request: pytest.FixtureRequest, shops: ShopFactory, model: ModelServer) -> Shop:
    return agent_shop(
        shops, AGENTS[request.param](model.play()), agent={"constraints": {"forbidden_commands": ["cargo test"]}}
    )


def test_it_does_a_package_within_its_scope(shop: Shop, model: ModelServer) -> None:
    worktree = shop.repo / ".worktrees" / "003-auth-system-WP01"
    model.play(
        (Say("I begin."), Write(str(worktree / "src" / "wp01.txt"), "one\n")), committed(), (Say("All is done."),),
    )  # fmt: skip
    row = shop.implement("WP01")
    assert (row.state, row.commits) == (State.FOR_REVIEW, 1), (row.reason, log_of(shop)[-8:])
    kinds = {record["kind"] for record in log_of(shop)}
    assert {"session", "text", "tool", "permission", "commit"} <= kinds, kinds
    assert "# Mission" in model.asked()[0].text


def test_what_is_out_of_scope_is_refused_and_the_agent_told_why(shop: Shop, model: ModelServer) -> None:
    worktree = shop.repo / ".worktrees" / "003-auth-system-WP01"
    turns: list[Turn] = [
        (Write(str(worktree / "docs" / "outside.md"), "no\n"),),
        (Write(str(worktree / "src" / "wp01.txt"), "one\n"),), committed(),
    ]  # fmt: skip
    model.play(*turns)
    row = shop.implement("WP01")
    assert row.state is State.FOR_REVIEW, (row.reason, log_of(shop)[-8:])
    assert not (worktree / "docs").exists()
    refused = [record for record in log_of(shop) if record["kind"] == "permission" and record["decision"] == "refused"]
    assert len(refused) == 1
    assert any("out of scope" in request.text for request in model.asked()[1:])
