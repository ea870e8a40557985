"""The queue of questions on the command line."""

from pathlib import Path

import pytest

from agentpkg.cli import render_questions
from tests.cli import support
from tests.cli.support import quick
from tests.support.repos import ScratchFactory

ADA, BOB = {"LOGNAME": "ada"}, {"LOGNAME": "bob"}
POLICY = "actions: {merge: approval}\napproval: {people: 2, deadline_seconds: 3600}\n"


@pytest.fixture
def repo(scratch: ScratchFactory) -> Path:
    """WP01 passed its review and waits for two people."""
    repo = scratch(support.files(**{".kittify/governance.yaml": POLICY}))
    assert quick(repo, "implement", "001", "--wp", "WP01").code == 0
    judged = quick(repo, "review", "WP01")
    assert judged.code == 0, judged.err
    assert "needs approval" in judged.out
    assert "Next: agentpkg approve 001-greeting WP01" in judged.out
    return repo


@pytest.mark.slow
def test_a_question_is_listed_shown_and_answered_by_two(repo: Path) -> None:
    listed = quick(repo, "questions")
    assert "Q1  001-greeting WP01  open" in listed.out
    assert "any person; 2 different people, 2 still missing" in listed.out
    assert "UTC, then no" in listed.out
    shown = quick(repo, "status", "001")
    assert "? Q1 WP01: merge: it would land on the target" in shown.out
    assert "Next: agentpkg approve 001-greeting WP01" in shown.out
    assert quick(repo, "status", "001", "--json").json["questions"][0]["question"] == "Q1"
    [waiting] = quick(repo, "queue", "001", "--json").json["queue"]
    assert (waiting["wp"], waiting["place"], waiting["state"]) == ("WP01", None, "person")
    assert "waits for a person  Q1: merge: it would land on the target" in quick(repo, "queue").out

    first = quick(repo, "approve", "WP01", "--json", environ=ADA)
    assert (first.code, first.json["state"], first.json["missing"]) == (0, "open", 1)
    again = quick(repo, "approve", "001", "WP01", environ=ADA)
    assert again.code == 3
    assert "another person" in again.err
    second = quick(repo, "answer", "q1", "yes", "--reason", "fine", environ=BOB)
    assert second.code == 0, second.err
    assert "Q1 001-greeting WP01: yes by human:bob" in second.out
    assert quick(repo, "questions", "--json").json == {"questions": []}
    everything = quick(repo, "questions", "001", "--all", "--json").json["questions"]
    assert [(one["state"], one["answer"]) for one in everything] == [("answered", "yes")]

    moved = quick(repo, "move", "001", "WP01", "--to", "done", "--json", environ=ADA)
    assert moved.code == 0, moved.err
    assert quick(repo, "events", "audit-verify", "--feature", "001").code == 0


@pytest.mark.slow
def test_a_denial_stops_a_run_which_says_so(repo: Path) -> None:
    denied = quick(repo, "deny", "001", "WP01", "--reason", "[bold]not\x1b[31m now", environ=ADA)
    assert denied.code == 0, denied.err
    assert "\x1b" not in denied.out
    ran = quick(repo, "run", "001", "--json")
    assert ran.code == 1
    stuck = {one["wp"]: one["reason"] for one in ran.lines[-1]["stuck"]}
    assert "Q1: denied by human:ada" in stuck["WP01"]
    assert "agentpkg approve 001-greeting WP01 --reason" in stuck["WP01"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("answer", "x1", "yes"), 2, "is no question"),
        (("answer", "7", "yes"), 2, "there is no question Q7"),
        (("answer", "1", "perhaps"), 2, "answer yes or no"),
        (("approve", "WP02"), 3, "planned"),
        (("review", "WP01", "--merge"), 3, "agentpkg approve 001-greeting WP01"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_one_line_and_a_hint(
    repo: Path, args: tuple[str, ...], code: int, said: str
) -> None:
    found = quick(repo, *args)
    assert found.code == code
    assert said in found.err
    assert "hint:" in found.err


def test_a_policy_is_checked_beforehand(scratch: ScratchFactory) -> None:
    policy = "paths: [{match: [WP01.txt]}, {match: [WP02.txt], action: forbidden}]\n"
    repo = scratch(support.files(**{".kittify/governance.yaml": policy}))
    found = quick(repo, "policy", "check", "001", "--json")
    assert found.code == 1
    packages = {one["wp"]: one for one in found.json["packages"]}
    assert packages["WP01"]["needs"][0]["paths"] == ["WP01.txt"]
    assert packages["WP02"]["forbidden"][0]["detail"] == "WP02.txt: WP02.txt"
    assert quick(repo, "policy", "check", "001", "WP01").code == 0
    assert "needs approval: paths: WP01.txt" in quick(repo, "policy", "check", "001", "WP01").out
    assert not (repo / ".git" / "agentpkg").exists()


def test_a_bad_policy_is_told_with_its_lines(scratch: ScratchFactory) -> None:
    repo = scratch(support.files(**{".kittify/governance.yaml": "actions:\n  merge: no\n  mrege: no\n"}))
    for args in (("policy", "check", "001"), ("implement", "001", "--wp", "WP01"), ("run", "001")):
        found = quick(repo, *args)
        assert found.code == 2, args
        assert "governance.yaml:2" in found.err
        assert "governance.yaml:3" in found.err
    assert quick(repo, "status", "001").code == 0
    policy = next(one for one in quick(repo, "doctor", "--json").json["checks"] if one["name"] == "policy")
    assert policy["status"] == "fail"


def test_the_doctor_tells_of_a_key_that_is_missing(scratch: ScratchFactory) -> None:
    repo = scratch(support.files(**{".kittify/config.yaml": support.CONFIG + "audit: {sign: true}\n"}))
    found = {one["name"]: one["status"] for one in quick(repo, "doctor", "--json").json["checks"]}
    assert (found["policy"], found["signing"]) == ("pass", "warn")


def test_what_is_asked_for_money_is_said_and_who_is_left_of_those_named() -> None:
    asked = {
        "question": "Q2", "feature": "003-auth-system", "wp": "WP02", "kind": "spending", "state": "open", "why": "",
        "candidate": "budget.feature.tokens", "text": "may it use 1000 tokens more?", "needs": [], "answers": [],
        "overdue": False, "answer": None, "options": ["yes", "no"], "deadline": None, "default": "no", "people": 1,
        "missing": 1, "approvers": ["human:ada", "human:bob"], "excluded": ["human:ada"],
    }  # fmt: skip
    said = "\n".join(text.plain for text in render_questions.listed([asked]))
    assert "may it use 1000 tokens more?" in said
    assert "human:bob\n" in said
    assert "nobody" in render_questions.listed([{**asked, "excluded": asked["approvers"]}])[2].plain
