"""What landing takes cannot be made up."""

import ast
from dataclasses import replace
from pathlib import Path

import pytest

from agentpkg.core.errors import NotAllowed
from agentpkg.core.model import Verdict
from agentpkg.core.proof import Landable, Live, Proof, Stale, Word, give_word, prove, stale
from agentpkg.core.records import ReviewRow

REVIEW = ReviewRow("001-x", "WP01", "head", "base", "key", Verdict.APPROVED, 1, "candidate")
THERE = Landable("candidate", "tree", "base", "head")
NOW = Live("head", "base", "key", THERE)
ROOT = Path(__file__).parents[2] / "agentpkg"


def test_an_approval_of_what_would_land_now_is_a_proof_of_that_candidate() -> None:
    made = prove(REVIEW, NOW)
    assert isinstance(made, Proof)
    assert (made.review, made.candidate) == (REVIEW, THERE)


@pytest.mark.parametrize(
    ("now", "parts"),
    [
        (replace(NOW, head="other"), ["branch"]),
        (replace(NOW, base="other"), ["target"]),
        (replace(NOW, definitions="other"), ["definitions"]),
        (replace(NOW, candidate=None), ["candidate"]),
        (replace(NOW, candidate=replace(THERE, commit="other")), ["candidate"]),
        (Live("a", "b", "c", None), ["branch", "target", "definitions", "candidate"]),
    ],
)
def test_what_has_changed_since_is_named_and_nothing_else(now: Live, parts: list[str]) -> None:
    assert list(stale(REVIEW, now)) == parts
    assert prove(REVIEW, now) == Stale(tuple(parts))


def test_a_rejection_proves_nothing_and_an_agent_has_no_word() -> None:
    for review in (replace(REVIEW, verdict=Verdict.CHANGES_REQUESTED), replace(REVIEW, candidate=None)):
        with pytest.raises(NotAllowed):
            prove(review, NOW)
    for by, reason in (("agent:me", "done"), ("human:me", " ")):
        with pytest.raises(NotAllowed):
            give_word("001-x", "WP01", THERE, by, reason)
    assert give_word("001-x", "WP01", THERE, "human:me", "I looked").candidate == THERE


def test_neither_can_be_made_without_the_seal() -> None:
    with pytest.raises(TypeError):
        Proof(object(), REVIEW, THERE)
    with pytest.raises(TypeError):
        Word(None, "001-x", "WP01", THERE, "human:me", "because")


def test_one_place_proves_and_one_place_lands() -> None:
    users: dict[str, set[str]] = {"prove": set(), "give_word": set(), "_SEAL": set(), "LandingPlan": set()}
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            name = getattr(node, "id", None) or getattr(node, "attr", None) or getattr(node, "name", None)
            if name in users:
                users[name].add(str(path.relative_to(ROOT)))
    assert users == {
        "prove": {"core/proof.py", "engine/proving.py"},
        "give_word": {"core/proof.py", "engine/merging.py"},
        "_SEAL": {"core/proof.py"},
        "LandingPlan": {"git/landing.py", "engine/merging.py", "engine/elsewhere.py"},
    }
