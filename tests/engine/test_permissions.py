"""Real agents that ask: what neither scope nor policy decides becomes a question, and the agent waits for an answer."""

from typing import Any

import pytest

from agentpkg.core.life import LifeState
from agentpkg.core.model import State
from agentpkg.engine import attach, looking
from agentpkg.engine.asking import approvals
from agentpkg.engine.dispatching import dispatch
from agentpkg.engine.supervising import control
from agentpkg.isolation import probe_all
from tests.support import clis
from tests.support.clis import agent_shop, committed, log_of
from tests.support.engine_shop import Shop, ShopFactory
from tests.support.models import Call, ModelServer, Say, Shell, Turn, Write
from tests.support.wait import until

pytestmark = pytest.mark.slow

AGENTS = {"claude-code": clis.claude, "codex": clis.codex, "claude-agent-acp": clis.claude_by_acp}


def _shop(shops: ShopFactory, definition: dict[str, Any], seconds: int = 60, **more: Any) -> Shop:
    asking = {"constraints": {"ask_commands": ["touch asked"]}}
    return agent_shop(shops, definition, agent=asking, settings={"questions": {"deadline_seconds": seconds}}, **more)


@pytest.mark.parametrize("name", sorted(AGENTS))
def test_a_command_waits_for_a_persons_word_and_goes_on_by_it(
    shops: ShopFactory, model: ModelServer, name: str
) -> None:
    level = "strong" if name == "codex" and probe_all()["strong"].works else "basic"
    shop = _shop(shops, AGENTS[name](model.play()), level=level)
    path = str(shop.repo / ".worktrees" / "003-auth-system-WP01" / "src" / "wp01.txt")
    turns: list[Turn] = [
        (Shell("touch asked-for; rm -f asked-for; touch asked && rm asked"),), (Shell("touch asked; echo no"),),
        (Write(path if name == "claude-agent-acp" else "src/wp01.txt", "one\n"),), committed(), (Say("Done."),),
    ]  # fmt: skip
    model.play(*turns)
    project = shop.project
    session = dispatch.start(project, project.good_feature(shop.feature), "WP01", dispatch.Wish()).session.id
    _answer_next(shop, "yes", 1)
    _answer_next(shop, "no", 2)
    attach.wait(project, session)
    row = shop.row("WP01")
    assert row.state is State.FOR_REVIEW, (row.reason, log_of(shop)[-10:])
    asked = [request.text for request in model.asked()]
    # ACP has no words for it: it is told when the agent ends its turn
    assert any("not today" in request for request in asked[2:])
    assert "not today" not in asked[1]
    decisions = [one.get("decision") for one in log_of(shop) if one["kind"] == "permission" and one.get("decision")]
    assert {"allowed", "refused"} <= set(decisions)
    events = [event for event in project.ledger.events(0) if ".question." in event.subject]
    assert [event.subject.rpartition(".")[2] for event in events] == ["asked", "answered"] * 2


def _answer_next(shop: Shop, option: str, number: int) -> None:
    until(lambda: shop.project.ledger.question(number) is not None, what=f"Q{number}", seconds=60)
    project = shop.project
    seen = looking.see(project, project.good_feature(shop.feature))
    (life,) = seen.life.values()
    assert (life.state, life.detail) == (LifeState.WAITING, f"Q{number}")
    assert "asks: " in seen.questions[0].text
    assert "touch asked" in seen.questions[0].text
    approvals.answer(project, number, option, "not today" if option == "no" else None)


def test_without_an_answer_the_default_holds_and_the_same_is_not_asked_twice(
    shops: ShopFactory, model: ModelServer
) -> None:
    fetch: Turn = (Call("WebFetch", {"url": "https://example.com/", "prompt": "what is it"}),)
    url = model.play(fetch, fetch, (Write("src/wp01.txt", "one\n"),), committed(), (Say("Done."),))
    shop = _shop(shops, clis.claude(url), seconds=1)
    assert shop.implement("WP01").state is State.FOR_REVIEW
    texts = [request.text for request in model.asked()]
    assert "nobody answered in time" in texts[1]
    assert "asked before" in texts[2]
    (question,) = shop.project.ledger.questions(shop.feature)
    assert (question.kind, question.state, question.answer) == ("permission", "answered", "no")


def test_a_session_that_ends_takes_its_questions_back(shops: ShopFactory, model: ModelServer) -> None:
    url = model.play((Shell("touch asked"),))
    shop = _shop(shops, clis.claude(url), seconds=600)
    project = shop.project
    session = dispatch.start(project, project.good_feature(shop.feature), "WP01", dispatch.Wish()).session.id
    until(lambda: shop.project.ledger.question(1) is not None, what="its question", seconds=60)
    control.interrupt(shop.state, session, project.actor)
    attach.wait(project, session)
    question = shop.project.ledger.question(1)
    assert question is not None
    assert question.state == "withdrawn"
