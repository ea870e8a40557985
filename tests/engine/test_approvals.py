"""What a candidate needs of people: asked in the queue, bound to that candidate, answered by people alone."""

import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agentpkg.core.errors import BadInput, NotAllowed
from agentpkg.core.model import State
from agentpkg.core.records import QuestionRow
from agentpkg.engine import moving, running
from agentpkg.engine.asking import approvals, forecast
from agentpkg.engine.asking.approvals import Waiting
from agentpkg.engine.judging.review import review
from agentpkg.engine.landing import merging
from agentpkg.engine.transition import REVIEWER
from agentpkg.engine.upkeep import recovery
from tests.support.engine_shop import FEATURE, Shop, ShopFactory
from tests.support.repos import commit, git
from tests.support.wait import until

DONE, FOR_REVIEW = State.DONE, State.FOR_REVIEW
NEEDY = "actions: {merge: approval}\n"


def policy(shop: Shop, text: str) -> None:
    (shop.repo / ".kittify" / "governance.yaml").write_text(text)


@contextmanager
def person(name: str) -> Iterator[None]:
    """Somebody else at the keyboard."""
    before = {key: os.environ.get(key) for key in ("LOGNAME", "USER")}
    os.environ.update(dict.fromkeys(before, name))
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


def waiting(shops: ShopFactory, text: str = NEEDY, **more: Any) -> Shop:
    """A shop whose WP01 was approved by its review, and waits for people."""
    shop = shops(**more)
    policy(shop, text)
    with person("dora"):
        shop.implement("WP01")
    review(shop.project, FEATURE, "WP01")
    return shop


def asked(shop: Shop, open_only: bool = True) -> list[QuestionRow]:
    return shop.project.ledger.questions(FEATURE, "WP01", open_only=open_only)


def said(shop: Shop) -> list[tuple[str, str]]:
    """Who said it, and the kind, of what the chain has of questions; all of it is recorded by the review."""
    kinds = ("question", "approval", "denial")
    entries = shop.project.ledger.entries(FEATURE, wp="WP01")
    found = [e for e in entries if e.metadata.get("kind") in kinds]
    assert {e.actor for e in found} <= {REVIEWER}
    return [(e.metadata.get("by", e.actor), e.metadata["kind"]) for e in found]


def land(shop: Shop) -> object:
    return merging.land(shop.project, FEATURE, "WP01", REVIEWER)


def refused(act: Any) -> tuple[int, str]:
    with pytest.raises((BadInput, NotAllowed)) as found:
        act()
    return found.value.exit_code, found.value.code


def approve(shop: Shop, who: str = "ada", reason: str | None = None) -> QuestionRow:
    with person(who):
        return approvals.decide(shop.project, FEATURE, "WP01", "yes", reason)


def deny(shop: Shop, who: str = "ada", reason: str | None = "not now") -> QuestionRow:
    with person(who):
        return approvals.decide(shop.project, FEATURE, "WP01", "no", reason)


# --------------------------------------------------------------------------- asked


@pytest.mark.slow
def test_an_approved_candidate_that_needs_people_waits_and_lands_once_one_has_said_yes(shops: ShopFactory) -> None:
    shop = waiting(shops)
    (question,) = asked(shop)
    assert (question.kind, question.subject, question.fallback) == ("approval", shop.row("WP01").candidate, "no")
    assert isinstance(land(shop), Waiting)
    assert shop.row("WP01").state is FOR_REVIEW
    assert approve(shop, reason="fine").answer == "yes"
    merged = land(shop)
    assert isinstance(merged, merging.Merged)
    assert merged.merge_commit == question.subject
    assert said(shop) == [("ci:automation", "question"), ("human:ada", "approval")]
    done = next(e for e in shop.project.ledger.entries(FEATURE, wp="WP01") if e.transition.endswith("->done"))
    assert (done.actor, done.metadata["approved_by"]) == ("ci:automation", "human:ada")
    assert (done.metadata["approvals"], done.metadata["question"]) == (["human:ada"], question.number)
    assert asked(shop) == []
    shop.check()


@pytest.mark.slow
def test_asked_again_nothing_is_written_twice(shops: ShopFactory) -> None:
    shop = waiting(shops)
    before = shop.transitions()
    review(shop.project, FEATURE, "WP01")
    assert isinstance(land(shop), Waiting)
    assert shop.transitions() == before
    assert len(asked(shop, open_only=False)) == 1


@pytest.mark.slow
def test_moving_to_done_is_the_approval_of_whoever_does_it(shops: ShopFactory) -> None:
    shop = waiting(shops, packages={"WP01": {"approval": "required"}}, text="")
    (question,) = asked(shop)
    assert "approval: required" in question.text
    with person("ada"):
        moved = moving.move(shop.project, FEATURE, "WP01", moving.Wish(DONE))
    assert isinstance(moved, moving.Moved)
    assert said(shop) == [("ci:automation", "question"), ("human:ada", "approval")]
    assert asked(shop, open_only=False)[0].answer == "yes"


@pytest.mark.slow
def test_what_is_forbidden_fails_the_review(shops: ShopFactory) -> None:
    shop = waiting(shops, "paths: [{match: ['src/'], action: forbidden, name: the source}]\n")
    row = shop.row("WP01")
    assert row.verdict == "changes_requested"
    assert "governance/policy: paths: forbidden: the source: src/wp01.txt" in (row.reason or "")
    assert asked(shop) == []


def test_a_bad_policy_is_refused_before_an_agent_starts(shops: ShopFactory) -> None:
    shop = shops()
    policy(shop, "actions: {merge: perhaps}\n")
    with pytest.raises(BadInput, match=r"governance\.yaml:1"):
        shop.implement("WP01")
    assert shop.diary() == []


def test_a_policy_that_changed_while_the_session_ran_wants_a_person(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", 'wait_for go; save "src/$n.txt" x')
    told: list[running.Finished] = []
    thread = threading.Thread(target=lambda: told.append(shop.run()))
    thread.start()
    until(lambda: shop.order() == ["WP01"])
    policy(shop, NEEDY)
    shop.go("go")
    thread.join(20)
    assert "configuration changed" in told[0].stuck[0].reason


@pytest.mark.slow
def test_beyond_owned_files_is_for_people_where_the_policy_says_so(shops: ShopFactory) -> None:
    shop = shops()
    policy(shop, "actions: {scope: approval}\n")
    shop.agent("WP01", 'save "src/$n.txt" x; save other.txt y')
    shop.implement("WP01")
    judged = review(shop.project, FEATURE, "WP01")
    assert judged.review.verdict == "approved"
    assert [(need.action, need.paths) for need in judged.review.needs] == [("scope", ("other.txt",))]


# --------------------------------------------------------------------------- bound to the candidate


@pytest.mark.slow
def test_an_approval_holds_for_no_other_candidate(shops: ShopFactory) -> None:
    shop = waiting(shops)
    (first,) = asked(shop)
    approve(shop)
    commit(shop.repo, {"elsewhere.txt": "x"}, "somebody else's")
    found = land(shop)
    assert isinstance(found, Waiting)
    (second,) = asked(shop)
    assert (second.number, second.subject) == (2, shop.row("WP01").candidate)
    assert second.subject != first.subject
    approve(shop)
    assert isinstance(land(shop), merging.Merged)


@pytest.mark.slow
def test_with_binds_change_it_holds_wherever_the_target_is(shops: ShopFactory) -> None:
    shop = waiting(shops, NEEDY + "approval: {binds: change}\n")
    commit(shop.repo, {"elsewhere.txt": "x"}, "somebody else's")
    approve(shop)
    commit(shop.repo, {"elsewhere.txt": "y"}, "more of somebody else's")
    assert isinstance(land(shop), merging.Merged)
    assert len(asked(shop, open_only=False)) == 1


@pytest.mark.slow
def test_a_candidate_with_the_same_tree_and_needs_keeps_its_approval(shops: ShopFactory) -> None:
    shop = waiting(shops)
    approve(shop)
    git(shop.repo, "commit", "-q", "--allow-empty", "-m", "nothing")
    assert isinstance(land(shop), merging.Merged)


@pytest.mark.slow
def test_what_is_asked_about_an_older_candidate_expires_when_somebody_answers(shops: ShopFactory) -> None:
    shop = waiting(shops)
    commit(shop.repo, {"elsewhere.txt": "x"}, "somebody else's")
    assert refused(lambda: approve(shop)) == (3, "candidate_changed")
    (question,) = asked(shop, open_only=False)
    assert (question.state, question.answer) == ("expired", None)
    assert refused(lambda: approve(shop)) == (3, "candidate_changed")
    review(shop.project, FEATURE, "WP01")
    assert approve(shop).number == 2


@pytest.mark.slow
def test_stricter_terms_ask_anew(shops: ShopFactory) -> None:
    shop = waiting(shops)
    approve(shop)
    policy(shop, NEEDY + "approval: {people: 2}\n")
    found = land(shop)
    assert isinstance(found, Waiting)
    assert found.question.people == 2


@pytest.mark.slow
def test_starting_anew_takes_an_approval_back(shops: ShopFactory) -> None:
    shop = waiting(shops)
    approve(shop)
    moving.move(shop.project, FEATURE, "WP01", moving.Wish(State.PLANNED))
    assert [q.state for q in asked(shop, open_only=False)] == ["withdrawn"]
    assert shop.row("WP01").approved_by is None


@pytest.mark.slow
def test_force_withdraws_the_question_unless_the_policy_forbids_force(shops: ShopFactory) -> None:
    shop = waiting(shops, NEEDY)
    policy(shop, "actions: {merge: approval, force: forbidden}\n")
    wish = moving.Wish(DONE, force=True, reason="must be")
    assert refused(lambda: moving.move(shop.project, FEATURE, "WP01", wish)) == (3, "force_forbidden")
    policy(shop, NEEDY)
    moving.move(shop.project, FEATURE, "WP01", wish)
    assert [q.state for q in asked(shop, open_only=False)] == ["withdrawn"]


# --------------------------------------------------------------------------- who answers


@pytest.mark.slow
def test_two_different_people_have_to_say_yes(shops: ShopFactory) -> None:
    shop = waiting(shops, NEEDY + "approval: {people: 2}\n")
    assert approve(shop, "ada").state == "open"
    assert refused(lambda: approve(shop, "ada")) == (3, "not_for_this_actor")
    assert isinstance(land(shop), Waiting)
    assert approve(shop, "bob").answer == "yes"
    assert isinstance(land(shop), merging.Merged)
    done = next(e for e in shop.project.ledger.entries(FEATURE, wp="WP01") if e.transition.endswith("->done"))
    assert done.metadata["approved_by"] == "human:ada, human:bob"


@pytest.mark.slow
def test_moving_to_done_is_one_of_two_words(shops: ShopFactory) -> None:
    shop = waiting(shops, NEEDY + "approval: {people: 2}\n")
    with person("ada"):
        assert refused(lambda: moving.move(shop.project, FEATURE, "WP01", moving.Wish(DONE))) == (
            3,
            "approval_required",
        )
    with person("bob"):
        assert isinstance(moving.move(shop.project, FEATURE, "WP01", moving.Wish(DONE)), moving.Moved)


@pytest.mark.slow
def test_only_those_named_and_not_whoever_dispatched_it(shops: ShopFactory) -> None:
    shop = waiting(shops, NEEDY + "approval: {approvers: [ada, dora], exclude_dispatcher: true}\n")
    assert asked(shop)[0].excluded == ("human:dora",)
    for who in ("eve", "dora"):
        assert refused(lambda who=who: approve(shop, who)) == (3, "not_for_this_actor")
        assert refused(lambda who=who: deny(shop, who)) == (3, "not_for_this_actor")
    assert approve(shop, "ada").answer == "yes"


_ASK = """\
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from agentpkg.core.errors import AgentpkgError
from agentpkg.engine.asking import approvals
from agentpkg.engine.project import open_project

for act in ("decide", "answer"):
    try:
        project = open_project(Path({repo!r}))
        approvals.decide(project, {feature!r}, "WP01", "yes", None) if act == "decide" else (
            approvals.answer(project, 1, "yes", None))
        print("allowed")
    except AgentpkgError as error:
        print(error.exit_code, error.code)
"""


@pytest.mark.slow
def test_no_process_of_an_agent_may_answer(shops: ShopFactory) -> None:
    shop = waiting(shops, needs={"WP01": [], "WP02": []})
    code = _ASK.format(root=str(Path(__file__).parents[2]), repo=str(shop.repo), feature=FEATURE)
    (shop.tools / "ask.py").write_text(code)
    ask = f'{sys.executable} "$here/ask.py"'
    shop.agent(
        "WP02",
        f"""
        {ask} > "$here/marked" 2>&1
        env -i PATH="$PATH" {ask} > "$here/unmarked" 2>&1
        printf '%s > orphan 2>&1; touch over' '{ask.replace("$here/", "")}' > "$here/orphan.sh"
        (cd "$here"; env -i PATH="$PATH" setsid sh -c '(sh orphan.sh) &')
        wait_for over
        save src/wp02.txt x""",
    )
    shop.implement("WP02")
    for name in ("marked", "unmarked", "orphan"):
        assert (shop.tools / name).read_text().splitlines() == ["3 not_for_agents"] * 2, name
    assert asked(shop)[0].answers == ()


# --------------------------------------------------------------------------- no


@pytest.mark.slow
def test_a_denial_holds_for_the_branch_and_its_reason_reaches_the_next_agent(shops: ShopFactory) -> None:
    from agentpkg.engine.dispatching import prompting

    shop = waiting(shops)
    commit(shop.repo, {"elsewhere.txt": "x"}, "somebody else's")
    deny(shop, reason="use the standard library")
    assert isinstance(land(shop), Waiting)
    commit(shop.repo, {"elsewhere.txt": "y"}, "somebody else's")
    found = land(shop)
    assert isinstance(found, Waiting)
    assert "denied by human:ada: use the standard library" in found.error().message
    assert said(shop) == [("ci:automation", "question"), ("human:ada", "denial")]
    project = shop.project
    feature = project.good_feature(FEATURE)
    assert "use the standard library" in prompting.bundle(project, feature, feature.packages["WP01"]).prompt


@pytest.mark.slow
def test_a_denial_is_taken_back_with_a_reason_only(shops: ShopFactory) -> None:
    shop = waiting(shops)
    deny(shop)
    assert refused(lambda: approve(shop)) == (3, "question_closed")
    assert approve(shop, "bob", "talked it over").answer == "yes"
    assert isinstance(land(shop), merging.Merged)
    assert [kind for _, kind in said(shop)] == ["question", "denial", "question", "approval"]


@pytest.mark.slow
def test_who_does_not_answer_in_time_has_said_no(shops: ShopFactory) -> None:
    shop = waiting(shops, NEEDY + "approval: {deadline_seconds: 1}\n")
    (question,) = asked(shop)
    until(lambda: recovery.reconcile(shop.project), 5, "the deadline")
    assert refused(lambda: approve(shop)) == (3, "question_closed")
    assert said(shop)[-1] == ("system:timeout", "denial")
    assert refused(lambda: approvals.answer(shop.project, question.number, "yes", None)) == (3, "question_closed")
    assert approve(shop, reason="was on holiday").answer == "yes"


@pytest.mark.slow
def test_what_needs_no_answer_gets_none(shops: ShopFactory) -> None:
    shop = shops()
    shop.project.ensure_registered(shop.project.good_feature(FEATURE))
    assert refused(lambda: approve(shop)) == (3, "not_for_review")
    shop.implement("WP01")
    assert refused(lambda: approve(shop)) == (3, "no_approval")
    review(shop.project, FEATURE, "WP01")
    assert refused(lambda: approve(shop)) == (3, "nothing_to_approve")


@pytest.mark.slow
def test_an_answer_must_be_one(shops: ShopFactory) -> None:
    shop = waiting(shops)
    assert refused(lambda: approvals.answer(shop.project, 7, "yes", None)) == (2, "unknown_question")
    assert refused(lambda: approvals.answer(shop.project, 1, "maybe", None)) == (2, "no_such_answer")


# --------------------------------------------------------------------------- run


def events(shop: Shop) -> list[str]:
    return [e.subject.rpartition("question.")[2] for e in shop.project.ledger.events() if "question" in e.subject]


@pytest.mark.slow
def test_a_run_goes_on_with_others_and_says_what_waits(shops: ShopFactory) -> None:
    shop = shops({"WP01": [], "WP02": ["WP01"], "WP03": []}, packages={"WP01": {"approval": "required"}})
    finished = shop.run()
    assert shop.states() == {"WP01": FOR_REVIEW, "WP02": State.PLANNED, "WP03": DONE}
    reasons = {one.wp: one.reason for one in finished.stuck}
    number = asked(shop)[0].number
    assert f"Q{number}" in reasons["WP01"]
    assert f"agentpkg approve {FEATURE} WP01" in reasons["WP01"]
    # it is about today's target, whatever landed meanwhile
    approve(shop)
    assert shop.run().stuck == ()
    shop.check()


@pytest.mark.slow
@pytest.mark.parametrize("nats", [True, False])
def test_a_run_lands_what_is_approved_elsewhere_at_once(shops: ShopFactory, nats: bool) -> None:
    shop = shops({"WP01": [], "WP02": []}, nats=nats, packages={"WP01": {"approval": "required"}})
    shop.agent("WP02", 'wait_for go; save "src/$n.txt" x')
    found: list[running.Finished] = []
    thread = threading.Thread(target=lambda: found.append(shop.run()))
    thread.start()
    until(lambda: asked(shop))
    child = shop.python(
        "from agentpkg.engine.asking import approvals; import time; "
        "approvals.decide(shop.project, shop.feature, 'WP01', 'yes', None); print(time.time())"
    )
    _, errors = child.communicate(timeout=20)
    assert child.returncode == 0, errors
    until(lambda: shop.states()["WP01"] is DONE, 10, "the landing")
    shop.go("go")
    thread.join(20)
    assert found[0].stuck == ()
    assert events(shop) == ["asked", "answered"]


# --------------------------------------------------------------------------- beforehand


def test_a_forecast_tells_from_the_plan_and_then_from_the_branch(shops: ShopFactory) -> None:
    more = {"owned_files": ["src/**", "infra/**"], "approval": "required"}
    shop = shops(packages={"WP01": more})
    policy(
        shop, "actions: {dependencies: approval}\npaths: [{match: [infra/], action: forbidden}, {match: [src/wp01*]}]\n"
    )

    def told() -> forecast.Forecast:
        return forecast.forecast(shop.project, shop.project.good_feature(FEATURE), "WP01")

    plan = told()
    assert (plan.basis, plan.forbidden) == ("plan", ())
    assert [need.action for need in plan.needs] == ["package", "paths"]
    assert plan.may == ()
    assert [(need.action, need.paths) for need in plan.may_not] == [("paths", ("infra/new",))]
    shop.agent("WP01", 'mkdir -p infra; save "src/$n.txt" x; save infra/a y; save package.json "{}"')
    shop.implement("WP01")
    branch = told()
    assert (branch.basis, [need.action for need in branch.forbidden]) == ("branch", ["paths"])
    assert json.dumps([need.detail for need in branch.needs]).count("infra") == 0
