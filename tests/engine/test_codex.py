"""The real Codex against a scripted model, from dispatch to conclusion."""

from typing import Any

import pytest

from agentpkg.core.model import State
from tests.support.clis import agent_shop, codex, committed, log_of
from tests.support.engine_shop import Shop, ShopFactory
from tests.support.models import ModelServer, Say, Shell, Turn, Write

pytestmark = pytest.mark.slow


def _shop(shops: ShopFactory, url: str, **more: Any) -> Shop:
    return agent_shop(shops, codex(url), **more)


def test_it_does_a_package_in_its_sandbox(shops: ShopFactory, model: ModelServer) -> None:
    outside = shops.root / "outside"
    turns: list[Turn] = [
        (Say("I begin."), Write("src/wp01.txt", "one\n")), committed(),
        (Shell(f"echo no > {outside}; git update-ref -d refs/heads/main; mktemp"),), (Say("All is done."),),
    ]  # fmt: skip
    shop = _shop(shops, model.play(*turns))
    row = shop.implement("WP01")
    assert (row.state, row.commits) == (State.FOR_REVIEW, 1), (row.reason, log_of(shop))
    assert not outside.exists()
    assert shop.tip("main")
    assert {"session", "text", "tool", "tool_result", "usage", "commit"} <= {one["kind"] for one in log_of(shop)}
    session = shop.project.ledger.session(str(row.session))
    assert session is not None
    assert session.usage["input_tokens"] == 4000
    assert "# Mission" in model.asked()[0].text


def test_a_write_outside_the_scope_is_refused_with_the_reason(shops: ShopFactory, model: ModelServer) -> None:
    turns: list[Turn] = [
        (Write("docs/outside.md", "no\n"),), (Write("../above.txt", "no\n"),), (Shell("cargo test --all"),),
        (Write("src/wp01.txt", "one\n"),), committed(),
    ]  # fmt: skip
    shop = _shop(shops, model.play(*turns), agent={"constraints": {"forbidden_commands": ["cargo test"]}})
    row = shop.implement("WP01")
    assert row.state is State.FOR_REVIEW, row.reason
    asked = [request.text for request in model.asked()]
    assert "docs/outside.md is out of scope" in asked[1]
    assert "the command `cargo test` is forbidden in this project" in asked[3]
    refused = [record["text"] for record in log_of(shop) if record["kind"] == "permission"]
    assert len(refused) == 3
    assert not (shop.repo / ".worktrees" / "above.txt").exists()


def test_a_projects_own_hooks_are_not_run_and_its_instructions_are_read(shops: ShopFactory, model: ModelServer) -> None:
    shop = _shop(shops, model.play((Write("src/wp01.txt", "one\n"),), committed()))
    (shop.repo / "AGENTS.md").write_text("Speak of purple elephants.\n")
    (shop.repo / ".codex").mkdir()
    head = '[[hooks.PreToolUse]]\nmatcher="*"\n[[hooks.PreToolUse.hooks]]\ntype="command"\n'
    (shop.repo / ".codex" / "config.toml").write_text(f'{head}command="touch {shop.tools}/ran"\n')
    shop.save("what the project has")
    row = shop.implement("WP01")
    assert row.state is State.FOR_REVIEW, row.reason
    assert "purple elephants" in model.asked()[0].text
    assert not (shop.tools / "ran").exists()
