"""What landing takes cannot be made up."""

import ast
from dataclasses import replace
from pathlib import Path

import pytest

from agentpkg.core.errors import NotAllowed
from agentpkg.core.model import Verdict
from agentpkg.core.proof import (
    Landable,
    Live,
    Part,
    Proof,
    Stale,
    Together,
    Word,
    give_word,
    prove,
    prove_together,
    stale,
)
from agentpkg.core.records import Batch, ReviewRow

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


def batch() -> tuple[list[ReviewRow], list[Live]]:
    """Three packages that were judged together, and everything as it was then."""
    whole = Batch("c3", ("WP01", "WP02", "WP03"))
    reviews = [
        replace(REVIEW, wp=f"WP0{n}", head=f"h{n}", base=f"c{n - 1}", candidate=f"c{n}", batch=whole) for n in (1, 2, 3)
    ]
    lives = [Live(r.head, "c0", "key", Landable(f"c{n}", f"t{n}", r.base, r.head)) for n, r in enumerate(reviews, 1)]
    return reviews, lives


def test_a_batch_is_proven_as_a_whole_at_its_tip_and_none_of_it_alone() -> None:
    reviews, lives = batch()
    made = prove_together(reviews, lives)
    assert isinstance(made, Together)
    assert (made.candidate, made.heads) == (Landable("c3", "t3", "c0", "h3"), ("h1", "h2", "h3"))
    assert [part.candidate.commit for part in made.parts] == ["c1", "c2", "c3"]
    assert prove(reviews[0], lives[0]) == Stale(("batch",))
    assert prove(reviews[2], replace(lives[2], base="c2")) == Stale(("batch",))
    # neither a part of it, nor in another order, nor with something else in between
    assert prove_together(reviews[:2], lives[:2]) == Stale(("batch",))
    assert isinstance(prove_together(reviews[::-1], lives[::-1]), Stale)
    for number, change, part in (
        (0, {"base": "other"}, "target"), (1, {"head": "other"}, "branch"),
        (2, {"definitions": "other"}, "definitions"), (1, {"candidate": None}, "candidate"),
    ):  # fmt: skip
        now = [replace(live, **change) if n == number else live for n, live in enumerate(lives)]
        found = prove_together(reviews, now)
        assert isinstance(found, Stale)
        assert part in found.parts
    unlike = [replace(reviews[0], batch=None), *reviews[1:]]
    assert prove_together(unlike, lives) == Stale(("batch",))
    with pytest.raises(NotAllowed):
        prove_together([replace(reviews[0], verdict=Verdict.CHANGES_REQUESTED), *reviews[1:]], lives)


def test_neither_can_be_made_without_the_seal() -> None:
    with pytest.raises(TypeError):
        Proof(object(), REVIEW, THERE)
    with pytest.raises(TypeError):
        Word(None, "001-x", "WP01", THERE, "human:me", "because")
    with pytest.raises(TypeError):
        Part(None, REVIEW, THERE)
    with pytest.raises(TypeError):
        Together(None, prove_together(*batch()).parts)  # type: ignore[union-attr]


def test_one_place_proves_and_one_place_lands() -> None:
    users: dict[str, set[str]] = {
        "prove": set(),
        "prove_together": set(),
        "give_word": set(),
        "_SEAL": set(),
        "LandingPlan": set(),
    }
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            name = getattr(node, "id", None) or getattr(node, "attr", None) or getattr(node, "name", None)
            if name in users:
                users[name].add(str(path.relative_to(ROOT)))
    assert users == {
        "prove": {"core/proof.py", "engine/judging/proving.py"},
        "prove_together": {"core/proof.py", "engine/judging/proving.py"},
        "give_word": {"core/proof.py", "engine/landing/merging.py", "engine/landing/recording.py"},
        "_SEAL": {"core/proof.py"},
        "LandingPlan": {"git/landing.py", "engine/landing/merging.py", "engine/landing/elsewhere.py"},
    }
