"""What agents may spend: stopped at the cap with nothing lost, and gone on when it is raised."""

import json
import sys
import time
from decimal import Decimal
from typing import Any

import pytest
import yaml

from agentpkg import views
from agentpkg.core.errors import NotAllowed
from agentpkg.core.model import FailureClass, State
from agentpkg.engine import looking, retries
from agentpkg.engine.asking import approvals, budgets
from agentpkg.engine.supervising import raising
from agentpkg.engine.supervising.plan import read_plan
from tests.support import clis
from tests.support.clis import agent_shop, committed
from tests.support.engine_shop import Shop, ShopFactory
from tests.support.matrix import points
from tests.support.models import Fail, Hang, ModelServer, Say, Shell, Write

pytestmark = pytest.mark.slow


def _configure(shop: Shop, **sections: Any) -> None:
    path = shop.repo / ".kittify" / "config.yaml"
    path.write_text(json.dumps({**yaml.safe_load(path.read_text()), **sections}))


def _budget(shop: Shop) -> dict[str, Any]:
    project = shop.project
    found: dict[str, Any] = views.status(looking.see(project, project.good_feature(shop.feature)))["budget"]
    return found


def test_one_that_spends_past_the_budget_is_stopped_and_goes_on_when_it_is_raised(
    shops: ShopFactory, model: ModelServer
) -> None:
    look = (Shell("git status --short"),)
    first = ((Write("src/wp01.txt", "one\n"),), committed(), (Write("src/wp01b.txt", "two\n"),), look, look, look)
    shop = agent_shop(shops, clis.claude(model.play(*first)), settings={"budget": {"feature": {"cost_usd": 0.02}}})
    shop.package("WP01", estimate="1h")
    shop.package("WP02", estimate="2h")
    row = shop.implement("WP01")
    assert (row.state, row.reason_class) == (State.BLOCKED, FailureClass.BUDGET), row.reason
    # what it had committed is in, what it had not is kept
    assert row.commits == 1
    assert list(shop.project.ledger.entries(shop.feature, wp="WP01"))[-1].metadata["snapshot"]
    told = _budget(shop)
    assert float(told["spent"]["cost_usd"]) >= 0.02
    assert "the feature has used" in str(told["used_up"])
    with pytest.raises(NotAllowed, match="the feature has used") as refused:
        shop.implement("WP02")
    assert refused.value.code == "budget_spent"
    assert {one.wp for one in shop.run().stuck} == {"WP01", "WP02"}
    _configure(shop, budget={"feature": {"cost_usd": 5}}, merge={"auto": False})
    model.play((Write("src/wp01b.txt", "two\n"),), committed(), (Write("src/wp02.txt", "x\n"),), committed("WP02"))
    shop.run(jobs=1, until="WP01")
    assert shop.row("WP01").state is State.FOR_REVIEW, shop.row("WP01").reason


#: an agent that speaks ACP, commits a part of its work, tells what that has cost, and goes on without end
_ACP = """\
import json, pathlib, subprocess, sys
def say(**said): print(json.dumps({"jsonrpc": "2.0", **said}), flush=True)
def tell(**update): say(method="session/update", params={"sessionId": "c1", "update": update})
for line in sys.stdin:
    call = json.loads(line)
    if call.get("method") == "initialize":
        say(id=call["id"], result={"protocolVersion": 1, "agentInfo": {"name": "spender", "version": "1"}})
    elif call.get("method") == "session/new":
        say(id=call["id"], result={"sessionId": "c1"})
    elif call.get("method") == "session/prompt":
        wp = pathlib.Path.cwd().name[-4:].lower()
        pathlib.Path("src", wp + ".txt").write_text("one")
        subprocess.run(["sh", "-c", f"git add -A && git commit -qm 'feat({wp.upper()}): one'"], check=True)
        pathlib.Path("src", wp + "b.txt").write_text("two")
        tell(sessionUpdate="usage_update", used=10, size=100, cost={"amount": 0.03, "currency": "USD"})
"""


def test_money_that_an_acp_agent_tells_is_held_by_the_caps_of_package_and_feature(shops: ShopFactory) -> None:
    definition = {"harness": "acp", "command": [sys.executable, "-c", _ACP]}
    caps = {"package": {"cost_usd": 0.02}, "feature": {"cost_usd": 0.05}}
    shop = agent_shop(shops, definition, settings={"budget": caps})
    shop.package("WP02")
    reasons = {}
    for wp in ("WP01", "WP02"):
        row = shop.implement(wp)
        assert (row.state, row.reason_class, row.commits) == (State.BLOCKED, FailureClass.BUDGET, 1), row.reason
        assert list(shop.project.ledger.entries(shop.feature, wp=wp))[-1].metadata["snapshot"]
        reasons[wp] = str(row.reason)
        _configure(shop, budget={"package": {"cost_usd": 0.2}, "feature": {"cost_usd": 0.05}})
    assert "the package has used 0.03 of 0.02 USD" in reasons["WP01"]
    assert "the feature has used 0.06 of 0.05 USD" in reasons["WP02"]
    assert _budget(shop)["spent"]["cost_usd"] == "0.06"


@pytest.mark.parametrize("agent", points([clis.codex], [clis.claude]))
def test_what_was_used_counts_though_it_was_cut_off(shops: ShopFactory, model: ModelServer, agent: Any) -> None:
    look = (Shell("git status"),)
    url = model.play((Write("src/wp01.txt", "one\n"),), look, look, (Hang("stream"),))
    shop = agent_shop(shops, agent(url), settings={"budget": {"session": {"tokens": 1100}}})
    row = shop.implement("WP01")
    assert (row.state, row.reason_class) == (State.BLOCKED, FailureClass.BUDGET), row.reason
    told = _budget(shop)
    # Codex is known to the end of the answer before the one whose call was put to the hook
    assert (1040 < told["spent"]["tokens"] <= 3720, told["unknown"]["tokens"]) == (True, 0)


def test_a_budget_that_is_raised_holds_for_the_session_that_works(shops: ShopFactory) -> None:
    shop = shops()
    _configure(shop, budget={"package": {"tokens": 1000}})
    session = str(shop.implement("WP01").session)
    now = raising.Budgets(read_plan(shop.state / "sessions" / session), shop.project.ledger)
    assert now() == {"package": {"tokens": Decimal(1000)}}
    _configure(shop, budget={"package": {"tokens": 5000}})
    assert now() == {"package": {"tokens": Decimal(5000)}}
    (shop.repo / "features" / shop.feature / "meta.yaml").write_text("budget: {tokens: 7000}\n")
    assert now() == {"package": {"tokens": Decimal(5000)}, "feature": {"tokens": Decimal(7000)}}
    (shop.repo / ".kittify" / "config.yaml").write_text("budget: nonsense\n")
    assert now()["feature"] == {"tokens": Decimal(7000)}


def test_by_policy_people_are_asked_for_more(shops: ShopFactory, model: ModelServer) -> None:
    url = model.play((Say("no work today"),), (Write("src/wp01.txt", "one\n"),), committed())
    shop = agent_shop(shops, clis.codex(url), settings={"budget": {"package": {"tokens": 1000}}})
    (shop.repo / ".kittify" / "governance.yaml").write_text("actions: {spending: approval}\n")
    shop.save("policy")
    assert shop.implement("WP01").reason_class is FailureClass.AGENT
    with pytest.raises(NotAllowed, match="Q1: a person must allow more"):
        shop.implement("WP01")
    with pytest.raises(NotAllowed, match="Q1"):
        shop.implement("WP01")
    project = shop.project
    approvals.answer(project, 1, "yes", None)
    found = budgets.caps(project, project.good_feature(shop.feature), "WP01", project.ledger)
    assert budgets.plan(project, project.good_feature(shop.feature), "WP01") == {"package": {"tokens": "2000"}}
    assert int(found["package"]["tokens"]) == 2000


def test_a_closed_provider_is_known_to_all_packages_and_a_fallback_steps_in(
    shops: ShopFactory, model: ModelServer
) -> None:
    opens = int(time.time()) + 7200
    limit = Fail(429, f"Claude AI usage limit reached|{opens}")
    shop = agent_shop(shops, clis.claude(model.play((limit,), loop=True)))
    shop.package("WP02")
    assert shop.implement("WP01").reason_class is FailureClass.PROVIDER
    project = shop.project
    project.ensure_registered(project.good_feature(shop.feature))
    feature = project.good_feature(shop.feature)
    seen = looking.see(project, feature)
    assert list(seen.parked) == ["robot"]
    again = retries.again(project, feature, project.row(shop.feature, "WP02"))
    assert again is not None
    assert (again.agent, 6000 < again.rest <= 7200) == ("robot", True)
    robot = {**clis.claude("http://127.0.0.1:1"), "fallback": "other"}
    _configure(shop, agents={"robot": robot, "other": {"harness": "command", "command": ["true"]}})
    project = shop.project
    again = retries.again(project, feature, project.row(shop.feature, "WP02"))
    assert again is not None
    assert (again.agent, again.rest) == ("other", 0.0)
