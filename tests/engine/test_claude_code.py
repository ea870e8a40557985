"""The real Claude Code against a scripted model, from dispatch to conclusion."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from agentpkg.core.model import FailureClass, State
from agentpkg.engine import attach, retries
from agentpkg.engine.dispatching import dispatch, telling
from agentpkg.harnesses.claude_code import ClaudeCodeHarness
from agentpkg.proc import run
from tests.support.clis import agent_shop, claude, cli, committed, log_of
from tests.support.engine_shop import Shop, ShopFactory
from tests.support.models import Fail, ModelServer, Say, Shell, Turn, Write
from tests.support.sessions_jobs import SomeAgent, job
from tests.support.wait import until

pytestmark = pytest.mark.slow


def _shop(shops: ShopFactory, url: str, key: str | None = "sk-scripted", **more: Any) -> Shop:
    return agent_shop(shops, claude(url, key), **more)


def test_it_does_a_package_from_dispatch_to_review(shops: ShopFactory, model: ModelServer) -> None:
    url = model.play((Say("I begin."), Write("src/wp01.txt", "one\n")), committed(), (Say("All is done."),))
    shop = _shop(shops, url)
    row = shop.implement("WP01")
    assert (row.state, row.commits) == (State.FOR_REVIEW, 1), row.reason
    records = log_of(shop)
    kinds = [record["kind"] for record in records]
    assert {"session", "text", "tool", "tool_result", "usage", "commit"} <= set(kinds)
    session = shop.project.ledger.session(str(row.session))
    assert session is not None
    assert session.usage["input_tokens"] == 3000
    assert session.usage["cost_usd"]
    assert "# Mission" in model.asked()[0].text


def test_a_write_outside_the_scope_is_refused_with_the_reason_and_it_goes_another_way(
    shops: ShopFactory, model: ModelServer
) -> None:
    turns: list[Turn] = [
        (Write("docs/outside.md", "no\n"),), (Write("../above.txt", "no\n"),), (Shell("cargo test --all"),),
        (Write("src/wp01.txt", "one\n"),), committed(), (Say("Done another way."),),
    ]  # fmt: skip
    shop = _shop(shops, model.play(*turns), agent={"constraints": {"forbidden_commands": ["cargo test"]}})
    row = shop.implement("WP01")
    assert row.state is State.FOR_REVIEW, row.reason
    asked = [request.text for request in model.asked()]
    assert "docs/outside.md is out of scope: this work package owns only src/wp01*" in asked[1]
    assert "outside of the worktree" in asked[2]
    assert "the command `cargo test` is forbidden in this project" in asked[3]
    assert not (shop.repo / ".worktrees" / "above.txt").exists()
    ended = [record for record in log_of(shop) if record["kind"] == "usage"]
    assert len(ended) == 1


def test_a_used_up_quota_rests_until_it_opens_again(shops: ShopFactory, model: ModelServer) -> None:
    opens = int(time.time()) + 7200
    shop = _shop(shops, model.play((Fail(429, f"Claude AI usage limit reached|{opens}"),), loop=True))
    row = shop.implement("WP01")
    assert row.reason_class is FailureClass.PROVIDER, row.reason
    project = shop.project
    again = retries.again(project, project.good_feature(shop.feature), row)
    assert again is not None
    assert 6000 < again.rest <= 7200


def test_without_sign_in_that_is_what_is_said(shops: ShopFactory, model: ModelServer) -> None:
    shop = _shop(shops, model.play(), key=None)
    row = shop.implement("WP01")
    assert (row.state, row.reason_class) == (State.BLOCKED, FailureClass.ENVIRONMENT)
    assert "Not logged in" in str(row.reason)


def test_it_hears_what_it_is_told_while_it_works(shops: ShopFactory, model: ModelServer) -> None:
    waiting = "touch src/waiting; while [ ! -e src/go ]; do sleep 0.1; done; rm src/waiting src/go"
    shop = _shop(
        shops, model.play((Shell(f"cd src; cd ..; {waiting}"),), (Write("src/wp01.txt", "one\n"),), committed())
    )
    project = shop.project
    session = dispatch.start(project, project.good_feature(shop.feature), "WP01", dispatch.Wish()).session.id
    source = shop.repo / ".worktrees" / "003-auth-system-WP01" / "src"
    until(lambda: (source / "waiting").exists(), what="its first command", seconds=60)
    assert telling.tell(shop.project, shop.feature, "WP01", "Speak of purple elephants.").session == session
    until(lambda: any(one["kind"] == "told" for one in log_of(shop)), what="the instruction's delivery", seconds=60)
    (source / "go").touch()
    attach.wait(shop.project, session)
    assert shop.row("WP01").state is State.FOR_REVIEW
    assert "purple elephants" in model.asked()[1].text


def test_the_projects_instructions_are_told_and_its_hooks_are_not_run(shops: ShopFactory, model: ModelServer) -> None:
    shop = _shop(shops, model.play((Write("src/wp01.txt", "one\n"),), committed()))
    (shop.repo / "CLAUDE.md").write_text("Be kind.\n@AGENTS.md\n")
    (shop.repo / "AGENTS.md").write_text("Speak of purple elephants.\n")
    hook = {"type": "command", "command": f"touch {shop.tools}/ran"}
    (shop.repo / ".claude").mkdir()
    settings = {"hooks": {"PreToolUse": [{"matcher": "*", "hooks": [hook]}]}}
    (shop.repo / ".claude" / "settings.json").write_text(json.dumps(settings))
    shop.save("what the project has")
    row = shop.implement("WP01")
    assert row.state is State.FOR_REVIEW, row.reason
    assert "purple elephants" in model.asked()[0].text
    assert not (shop.tools / "ran").exists()


def test_where_the_hook_cannot_judge_nothing_is_changed(tmp_path: Path, model: ModelServer) -> None:
    url = model.play((Write("x.txt", "one\n"),), (Shell("touch y.txt"),), (Say("Too bad."),))
    (tmp_path / "harness").mkdir()
    agent = SomeAgent(command=(cli("claude"),))
    launch = ClaudeCodeHarness().launch(agent, job(tmp_path, folder=str(tmp_path / "harness")))
    (tmp_path / "harness" / "settings.json").write_text(launch.files["settings.json"])
    env = {**os.environ, **launch.env, "ANTHROPIC_API_KEY": "sk-scripted", "ANTHROPIC_BASE_URL": url}
    run(launch.argv, env=env, cwd=tmp_path, timeout=60, stdin=str(launch.stdin).encode())
    assert "so it is refused" in model.asked()[1].text
    assert not {"x.txt", "y.txt"} & {path.name for path in tmp_path.iterdir()}


def test_a_sign_in_in_the_users_home_goes_on_working(shops: ShopFactory, model: ModelServer, still_world: Path) -> None:
    (still_world / ".claude").mkdir()
    helper = {"apiKeyHelper": "echo sk-from-the-home"}
    (still_world / ".claude" / "settings.json").write_text(json.dumps(helper))
    shop = _shop(shops, model.play((Write("src/wp01.txt", "one\n"),), committed()), key=None)
    row = shop.implement("WP01")
    assert row.state is State.FOR_REVIEW, row.reason
    assert "sk-from-the-home" in json.dumps(dict(model.asked()[0].headers))
