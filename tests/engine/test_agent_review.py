"""A review by an agent: another one than the author, in a sealed copy, and never an approval by chance."""

import json
import re
from typing import Any

import pytest
import yaml

from agentpkg.core.errors import Lacking
from agentpkg.core.model import State, Verdict
from agentpkg.engine import cleaning, looking
from agentpkg.engine.asking import budgets
from agentpkg.engine.judging import explaining
from agentpkg.engine.judging.review import Judged, review
from agentpkg.isolation import probe_all
from tests.support import clis
from tests.support.clis import agent_shop
from tests.support.engine_shop import Shop, ShopFactory
from tests.support.models import Hang, ModelServer, Say, Shell, Tell, Turn, Write
from tests.support.repos import git, write

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


#: refuses like a provider while the file ``closed`` beside it says for how long (and whom: ``1 WP03``), else approves
_CRITIC = """\
#!/bin/sh
here=$(dirname "$0")
echo "$1" >> "$here/asked"
read -r seconds whom < "$here/closed" 2>/dev/null
prompt=$(cat)
if [ -e "$here/closed" ] && case "$prompt" in *"Part $whom"*) true ;; *) false ;; esac; then
  [ "$1" = stubborn ] || rm "$here/closed"
  echo "HTTP 429 Too Many Requests, retry-after: $seconds" >&2; exit 1
fi
candidate=$(printf %s "$prompt" | grep -o 'candidate [0-9a-f]\\{40\\}' | head -1 | cut -d' ' -f2)
echo '{"candidate": "'$candidate'", "verdict": "approve", "requirements": []}'
"""


def _asked(shop: Shop) -> list[str]:
    return (shop.tools / "asked").read_text().split()


def _runs(shop: Shop) -> int:
    """How often the check ran."""
    return len((shop.tools / "runs").read_text().split())


def test_a_reviewer_whose_provider_refuses_is_waited_for_and_its_word_is_kept_by_content(shops: ShopFactory) -> None:
    shop = shops(auto=False)
    script = shop.tools / "critic.sh"
    script.write_text(_CRITIC)
    script.chmod(0o755)
    path = shop.repo / ".kittify" / "config.yaml"
    config = yaml.safe_load(path.read_text())
    critic = {"harness": "command", "command": [str(script), "stubborn"]}
    config["agents"]["critic"] = critic
    config["review"] = {"agent": {"name": "critic"}, "checks": [{"name": "ok", "run": f"echo . >> {shop.tools}/runs"}]}
    path.write_text(json.dumps(config))
    shop.save("a reviewer")
    (shop.tools / "closed").write_text("7200")
    assert shop.implement("WP01").state is State.FOR_REVIEW
    for insist in (False, False, True):
        with pytest.raises(Lacking, match="the model provider of the reviewer critic refuses to serve") as refused:
            review(shop.project, shop.feature, "WP01", insist=insist)
    assert refused.value.code == "provider_rests"
    # while it rests only a person's word has it asked, and no cycle is used up
    assert _asked(shop) == ["stubborn"] * 2
    # what the other checks said is kept by content
    assert _runs(shop) == 1
    row = shop.row("WP01")
    assert (row.state, row.verdict, row.cycle) == (State.FOR_REVIEW, None, 1)
    project = shop.project
    assert list(looking.see(project, project.good_feature(shop.feature)).parked) == ["critic"]
    # a fallback steps in
    config["agents"]["critic"] = {**critic, "fallback": "second"}
    config["agents"]["second"] = {**critic, "command": [str(script), "second"]}
    path.write_text(json.dumps(config))
    (shop.tools / "closed").unlink()
    assert "review by second" in {check.name for check in _review(shop).review.checks}
    assert _asked(shop)[2:] == ["second"]
    # the target moves, and nothing that the reviewer looked at has changed
    git(shop.repo, "commit", "-q", "--allow-empty", "-m", "nothing")
    told = explaining.explain(shop.project, shop.feature, "WP01")
    assert {one.result.name: one.again for one in told.checks}["review by second"] is False, told.checks
    again = _review(shop)
    assert (again.reused, again.review.verdict, len(_asked(shop))) == (False, Verdict.APPROVED, 3)
    # a run waits until it is served; of a batch nothing runs, and nobody is asked, twice
    for wp in ("WP02", "WP03"):
        shop.package(wp)
        shop.implement(wp)
    config["merge"] |= {"auto": True, "batch": 3, "batch_seconds": 0}
    config["agents"]["patient"] = {**critic, "command": [str(script), "patient"]}
    config["review"]["agent"] = {"name": "patient"}
    path.write_text(json.dumps(config))
    write(shop.repo, {"README.md": "another target\n"})
    shop.save("another target")
    (shop.tools / "closed").write_text("1 WP03")
    before = _runs(shop)
    assert shop.run().stuck == ()
    assert (_asked(shop)[3:], _runs(shop) - before) == (["patient"] * 4, 1)
    assert {r.batch for wp in ("WP01", "WP03") for r in shop.project.ledger.reviews(shop.feature, wp)[-1:]} != {None}
    assert set(shop.states().values()) == {State.DONE}
    assert shop.row("WP01").cycle == 1
    logs = [name for name in cleaning.clean(shop.project, dry_run=False).removed if "agent-reviews" in name]
    assert len(logs) >= 3
    assert list((shop.state / "agent-reviews").iterdir()) == []
