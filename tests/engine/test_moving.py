"""A person's moves, and what an agent may not do."""

import pytest

from agentpkg.core.errors import Busy, NotAllowed
from agentpkg.core.model import FeatureState, State
from agentpkg.engine import moving
from agentpkg.engine.judging import frozen
from agentpkg.engine.judging.review import review
from tests.support.engine_shop import FEATURE, Shop, ShopFactory
from tests.support.repos import commit, git
from tests.support.wait import until


def move(shop: Shop, to: State, wp: str = "WP01", **more: object) -> moving.Moved | moving.NotApproved:
    return moving.move(shop.project, FEATURE, wp, moving.Wish(to, **more))  # type: ignore[arg-type]


def test_move_to_done_lands_what_was_approved_and_tells_what_that_unblocked(shops: ShopFactory) -> None:
    shop = shops({"WP01": [], "WP02": ["WP01"], "WP03": ["WP01", "WP02"]})
    shop.implement("WP01")
    review(shop.project, FEATURE, "WP01")
    moved = move(shop, State.DONE)
    assert isinstance(moved, moving.Moved)
    assert moved.as_json() == {
        "feature": FEATURE, "wp": "WP01", "from": "for_review", "to": "done", "merge_commit": shop.tip(),
        "unblocked": ["WP02"],
    }  # fmt: skip
    (done,) = [e for e in shop.project.ledger.entries(FEATURE) if e.transition.endswith("->done")]
    assert done.actor.startswith("human:")


def test_move_to_done_without_an_approval_is_refused(shops: ShopFactory) -> None:
    shop = shops()
    shop.implement("WP01")
    with pytest.raises(NotAllowed) as refused:
        move(shop, State.DONE)
    assert (refused.value.exit_code, refused.value.code) == (3, "no_approval")


def test_move_to_done_whose_new_candidate_is_rejected_says_so(shops: ShopFactory) -> None:
    shop = shops()
    shop.implement("WP01")
    review(shop.project, FEATURE, "WP01")
    commit(shop.repo, {"src/wp01.txt": "mine\n"})
    assert isinstance(move(shop, State.DONE), moving.NotApproved)
    assert shop.row("WP01").state is State.FOR_REVIEW


@pytest.mark.parametrize("to", [State.DONE, State.FOR_REVIEW])
def test_what_the_table_does_not_have_is_refused(shops: ShopFactory, to: State) -> None:
    shop = shops()
    with pytest.raises(NotAllowed):
        move(shop, to)
    # a refusal records nothing, not even that the files were seen
    assert shop.states() == {}


@pytest.mark.slow
def test_feedback_is_kept_and_reaches_the_next_agent(shops: ShopFactory) -> None:
    shop = shops()
    shop.implement("WP01")
    move(shop, State.PLANNED, feedback="Please use shorter words.")
    (entry,) = [e for e in shop.project.ledger.entries(FEATURE) if e.transition == "WP01:for_review->planned"]
    assert frozen.store(shop.project).get(entry.metadata["feedback"]) == b"Please use shorter words."
    shop.agent("WP01", 'cp "$AGENTPKG_PROMPT" "$here/prompt"; save "src/$n.txt" again')
    shop.implement("WP01")
    assert "Please use shorter words." in (shop.tools / "prompt").read_text()


@pytest.mark.slow
def test_a_blocked_package_with_commits_of_a_persons_own_can_be_put_up_for_review(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", "exit 1")
    shop.implement("WP01")
    with pytest.raises(NotAllowed, match="nothing to review"):
        move(shop, State.FOR_REVIEW)
    worktree = shop.repo / ".worktrees" / f"{FEATURE}-WP01"
    tip = commit(worktree, {"src/wp01.txt": "by hand\n"}, "feat(WP01): by hand")
    move(shop, State.FOR_REVIEW)
    assert (shop.row("WP01").state, shop.row("WP01").head) == (State.FOR_REVIEW, tip)
    assert review(shop.project, FEATURE, "WP01").review.verdict == "approved"
    assert isinstance(move(shop, State.DONE), moving.Moved)
    shop.check()


def test_cancel_stops_the_session_and_keeps_its_commits(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", 'save "src/$n.txt" kept; wait_for never')
    child = shop.python("shop.implement('WP01')")
    until(lambda: shop.diary() and (shop.tools / "WP01.tries").exists())
    until(lambda: any(e.subject.endswith(".commit") for e in shop.project.ledger.events()), 20)
    with pytest.raises(Busy):
        move(shop, State.PLANNED)
    assert moving.cancel(shop.project, FEATURE, "WP01", "enough").state is State.CANCELLED
    child.communicate(timeout=20)
    assert shop.show("src/wp01.txt", f"feat/{FEATURE}-WP01") == "kept"
    move(shop, State.PLANNED)
    assert shop.states() == {"WP01": State.PLANNED}


@pytest.mark.slow
def test_an_agent_may_neither_move_nor_force_nor_cancel(shops: ShopFactory) -> None:
    shop = shops({"WP01": [], "WP02": []})
    shop.implement("WP02")
    shop.agent(
        "WP01",
        f"cd {shop.repo.parent}; PYTHONPATH={__file__.rsplit('/tests/', 1)[0]} {_python()} - <<'END'\n"
        "from pathlib import Path\n"
        "from agentpkg.engine import moving\nfrom agentpkg.engine.project import open_project\n"
        "from agentpkg.core.errors import NotAllowed\nfrom agentpkg.core.model import State\n"
        f"project = open_project(Path({str(shop.repo)!r}))\nsaid = []\n"
        "for wish in (moving.Wish(State.DONE, True, 'x'), moving.Wish(State.PLANNED), moving.Wish(State.CANCELLED)):\n"
        f"    try: moving.move(project, {FEATURE!r}, 'WP02', wish)\n"
        "    except NotAllowed as error: said.append(error.code)\n"
        f"Path({str(shop.tools / 'said')!r}).write_text(' '.join(said))\n"
        "END",
    )
    shop.implement("WP01")
    assert (shop.tools / "said").read_text() == "not_for_agents not_for_agents not_for_agents"
    assert shop.states()["WP02"] is State.FOR_REVIEW


def _python() -> str:
    import sys

    return sys.executable


@pytest.mark.slow
def test_a_feature_is_shipped_once_it_is_validated(shops: ShopFactory) -> None:
    shop = shops()
    with pytest.raises(NotAllowed):
        moving.move_feature(shop.project, "003", FeatureState.SHIPPED, None)
    shop.run()
    moved = moving.move_feature(shop.project, "003", FeatureState.SHIPPED, "out it goes")
    assert moved.as_json() | {"unblocked": None} == {
        "feature": FEATURE, "wp": None, "from": "validated", "to": "shipped", "merge_commit": None, "unblocked": None,
    }  # fmt: skip
    shop.check()


def test_a_move_registers_nothing_but_the_feature_it_is_about(shops: ShopFactory) -> None:
    shop = shops()
    shop.package("WP01", feature="009-other")
    move(shop, State.CANCELLED)
    assert [f.id for f in shop.project.ledger.features()] == [FEATURE]
    assert git(shop.repo, "status", "--porcelain") == "?? features/009-other/"
