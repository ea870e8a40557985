"""A review by an agent: another one than the author, in a sealed copy, and never an approval by chance."""

import json
import re
from typing import Any

import pytest

from agentpkg.core.errors import Lacking
from agentpkg.core.model import State, Verdict
from agentpkg.engine import budgets
from agentpkg.engine.review import Judged, review
from agentpkg.isolation import probe_all
from tests.support import clis
from tests.support.clis import agent_shop
from tests.support.engine_shop import Shop, ShopFactory
from tests.support.models import Hang, ModelServer, Say, Shell, Tell, Turn, Write

pytestmark = pytest.mark.slow

FINDING = {"file": "src/wp01.txt", "line": 1, "severity": "major", "requirement": "FR-1", "message": "it is hard-coded"}


def _answer(**more: Any) -> Tell:
    """A verdict on whatever candidate the prompt is about."""

    def make(body: str) -> str:
        found = re.search(r"candidate ([0-9a-f]{40})", body)
        assert found is not None
        said = {"candidate": found[1], "verdict": "approve", "requirements": [{"ref": "FR-1", "met": True}], **more}
        return f"I have looked.\n```json\n{json.dumps(said)}\n```"

    return Tell(make)


def _shop(shops: ShopFactory, reviewer: dict[str, Any], **settings: Any) -> Shop:
    level = "strong" if probe_all()["strong"].works else "basic"
    checks = {"checks": [{"name": "ok", "run": "true"}], "agent": {"name": "critic", "timeout_seconds": 60, **settings}}
    shop = agent_shop(shops, reviewer, level=level, settings={"review": checks})
    path = shop.repo / ".kittify" / "config.yaml"
    config = json.loads(path.read_text())
    author = {"harness": "command", "command": [str(shop.tools / "agent.sh")]}
    config["agents"] = {"robot": author, "critic": config["agents"]["robot"]}
    config["isolation"]["mounts"] = [str(shop.tools)]
    path.write_text(json.dumps(config))
    shop.package("WP01", requirement_refs=["FR-1"])
    shop.agent("WP01", 'save src/wp01.txt "by WP01 at $(date +%s%N)"')
    shop.save("a reviewer")
    assert shop.implement("WP01").state is State.FOR_REVIEW, shop.row("WP01").reason
    return shop


def _review(shop: Shop) -> Judged:
    return review(shop.project, shop.feature, "WP01")


@pytest.mark.parametrize("name", ["claude-code", "codex"])
def test_another_agent_judges_and_its_findings_go_back(shops: ShopFactory, model: ModelServer, name: str) -> None:
    tries: list[Turn] = [
        (Write("src/new.txt", "mine\n"),), (Shell("echo no >> src/wp01.txt; cat src/wp01.txt"),),
        (_answer(verdict="request_changes", findings=[FINDING]),), (_answer(),),
    ]  # fmt: skip
    shop = _shop(shops, {"claude-code": clis.claude, "codex": clis.codex}[name](model.play(*tries)))
    judged = _review(shop)
    assert judged.review.verdict is Verdict.CHANGES_REQUESTED, judged.review.checks
    (found,) = [check for check in judged.review.checks if check.name == "review by critic"]
    assert (found.group, found.status) == ("specification", "fail")
    assert "src/wp01.txt:1: major (FR-1): it is hard-coded" in found.detail
    prompt = model.asked()[0].text
    assert "FR-1" in prompt
    assert "```diff" in prompt
    assert "forbidden for this work package" in model.asked()[1].text
    assert "by WP01 at" in model.asked()[2].text
    assert _review(shop).reused
    used = budgets.usages(shop.state, shop.project.ledger, shop.feature)
    assert used[-1][1]["input_tokens"]
    # the next try reads it; its work is another candidate, which is judged anew
    assert shop.implement("WP01").state is State.FOR_REVIEW
    session = shop.row("WP01").session
    assert "it is hard-coded" in (shop.state / "sessions" / str(session) / "prompt.md").read_text()
    assert _review(shop).review.verdict is Verdict.APPROVED, shop.row("WP01").reason


def test_no_answer_is_no_approval(shops: ShopFactory, model: ModelServer) -> None:
    approval = '{"candidate": "%s", "verdict": "approve"}' % ("0" * 40)
    url = model.play((Say("I approve."),), (Say(approval),), (Hang("stream"),))
    shop = _shop(shops, clis.claude(url))
    with pytest.raises(Lacking, match="its verdict is about 0000"):
        _review(shop)
    _configure(shop, name="critic", timeout_seconds=3)
    with pytest.raises(Lacking, match="no verdict within 3 s"):
        _review(shop)
    row = shop.row("WP01")
    assert (row.state, row.verdict, row.cycle) == (State.FOR_REVIEW, None, 1)
    _configure(shop, name="robot")
    with pytest.raises(Lacking, match="it wrote what is to be judged"):
        _review(shop)


def _configure(shop: Shop, **agent: Any) -> None:
    path = shop.repo / ".kittify" / "config.yaml"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "review": {**config["review"], "agent": agent}}))
