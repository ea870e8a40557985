"""What ``agents list`` and ``agents test`` say of real programs."""

import pytest

from agentpkg.engine import agents
from tests.support.clis import agent_shop, cli
from tests.support.engine_shop import ShopFactory
from tests.support.models import ModelServer, Say, Shell, Write

pytestmark = pytest.mark.slow


def test_they_say_whether_they_are_signed_in_without_spending(shops: ShopFactory, model: ModelServer) -> None:
    base = {"ANTHROPIC_BASE_URL": model.play()}
    shop = agent_shop(shops, {"harness": "claude-code", "command": [cli("claude")], "environment": base})
    config = shop.repo / ".kittify" / "config.yaml"
    found = {one.name: one for one in agents.list_agents(shop.project)}["robot"]
    assert (found.signed_in, found.ready) == (False, False)
    assert "claude auth login" in found.detail
    assert "2." in str(found.version)
    config.write_text(config.read_text().replace('"ANTHROPIC_BASE_URL"', '"ANTHROPIC_API_KEY": "sk-scripted", "X"'))
    found = {one.name: one for one in agents.list_agents(shop.project)}["robot"]
    assert (found.signed_in, found.ready) == (True, True)
    assert model.requests == []


def test_codex_says_so_too(shops: ShopFactory) -> None:
    shop = agent_shop(shops, {"harness": "codex", "command": [cli("codex")]})
    found = {one.name: one for one in agents.list_agents(shop.project)}["robot"]
    assert (found.signed_in, found.ready) == (False, False), found.detail


def test_a_trial_has_one_do_a_small_package(shops: ShopFactory, model: ModelServer) -> None:
    turns = (
        (Write("hello.txt", "hello\n"),),
        (Shell('git add -A && git commit -q -m "feat(WP01): add a greeting"'),), (Say("Done."),),
    )  # fmt: skip
    environment = {"ANTHROPIC_API_KEY": "sk-scripted", "ANTHROPIC_BASE_URL": model.play(*turns)}
    shop = agent_shop(shops, {"harness": "claude-code", "command": [cli("claude")], "environment": environment})
    trial = agents.try_agent(shop.project, "robot", timeout=120)
    assert trial.ok, trial.as_json()
    assert [step.name for step in trial.steps] == ["program", "dispatch", "session", "commits", "task"]
