"""The review of a package: what it is about, what is on record, what counts as a cycle."""

import pytest

from agentpkg.core.errors import Busy, Interrupted, Lacking, NotAllowed
from agentpkg.core.model import State, Verdict
from agentpkg.engine import moving
from agentpkg.engine.judging.review import review
from agentpkg.engine.landing import merging
from tests.support.engine_shop import FEATURE, Shop, ShopFactory
from tests.support.repos import commit, git
from tests.support.wait import until

APPROVED, REJECTED = Verdict.APPROVED, Verdict.CHANGES_REQUESTED

#: the agent writes what it does not own
_WRONG = 'save "src/n$try.txt" "$try"'


def judged(shop: Shop, wp: str = "WP01"):  # type: ignore[no-untyped-def]
    return review(shop.project, FEATURE, wp)


def entries(shop: Shop) -> int:
    return len(shop.transitions())


def test_the_same_question_is_answered_from_the_record(shops: ShopFactory) -> None:
    shop = shops(checks='{name: count, run: "echo x >> $HOME/count; true"}')
    shop.implement("WP01")
    first = judged(shop)
    before = entries(shop)
    again = judged(shop)
    assert (first.reused, again.reused) == (False, True)
    assert again.review == first.review
    assert first.review.verdict is APPROVED
    assert entries(shop) == before
    assert (first.review.head, first.review.base) == (shop.tip("feat/003-auth-system-WP01"), shop.tip("main"))


@pytest.mark.slow
@pytest.mark.parametrize("what", ["target", "branch", "definitions"])
def test_a_new_target_tip_or_branch_tip_or_definition_asks_for_a_new_review(shops: ShopFactory, what: str) -> None:
    shop = shops()
    shop.implement("WP01")
    first = judged(shop).review
    if what == "target":
        commit(shop.repo, {"other.txt": "x"})
    elif what == "branch":
        commit(shop.repo / ".worktrees" / f"{FEATURE}-WP01", {"src/wp01.txt": "by hand\n"}, "fix(WP01): by hand")
    else:
        config = shop.repo / ".kittify" / "config.yaml"
        config.write_text(config.read_text().replace('run: "true"', 'run: "true || true"'))
    second = judged(shop)
    assert not second.reused
    same = {
        "target": (second.review.head == first.head, second.review.definitions == first.definitions),
        "branch": (second.review.base == first.base, second.review.definitions == first.definitions),
        "definitions": (second.review.head == first.head, second.review.base == first.base),
    }
    assert same[what] == (True, True)
    assert second.review.verdict is APPROVED


@pytest.mark.slow
def test_cycle_counts_rejected_tips_and_not_reviews(shops: ShopFactory) -> None:
    shop = shops(cycles=3)
    shop.agent("WP01", _WRONG)
    shop.implement("WP01")
    assert (judged(shop).review.cycle, shop.row("WP01").cycle) == (1, 2)
    commit(shop.repo, {"other.txt": "x"})
    # the same tip on another target: rejected again, in the same cycle
    assert (judged(shop).review.cycle, shop.row("WP01").cycle) == (1, 2)
    shop.implement("WP01")
    assert (judged(shop).review.cycle, shop.row("WP01").cycle) == (2, 3)


@pytest.mark.slow
def test_the_last_cycle_blocks_the_package_and_planning_it_anew_begins_to_count_again(shops: ShopFactory) -> None:
    shop = shops(cycles=1)
    shop.agent("WP01", _WRONG)
    shop.implement("WP01")
    assert judged(shop).row.state is State.BLOCKED
    assert "used up" in (shop.row("WP01").reason or "")
    moving.move(shop.project, FEATURE, "WP01", moving.Wish(State.PLANNED))
    assert shop.row("WP01").cycle == 1
    shop.agent("WP01", 'git rm -q -f src/n1.txt; save "src/$n.txt" x')
    shop.implement("WP01")
    assert judged(shop).row.state in (State.FOR_REVIEW, State.BLOCKED)


@pytest.mark.slow
def test_a_conflict_is_a_rejection_without_a_candidate(shops: ShopFactory) -> None:
    shop = shops()
    shop.implement("WP01")
    commit(shop.repo, {"src/wp01.txt": "the user's own\n"})
    found = judged(shop).review
    assert (found.verdict, found.candidate) == (REJECTED, None)
    assert [(c.group, c.name, c.status) for c in found.checks] == [("merge", "conflict", "fail")]
    assert "src/wp01.txt" in found.checks[0].detail
    assert shop.row("WP01").cycle == 2
    assert isinstance(merging.land(shop.project, FEATURE, "WP01", "human:me"), merging.Rejected)
    assert git(shop.repo, "status", "--porcelain") == ""


@pytest.mark.slow
def test_without_a_verdict_nothing_is_recorded_and_no_cycle_is_used(shops: ShopFactory) -> None:
    shop = shops(checks="{name: tests, run: no-such-program-anywhere}")
    shop.implement("WP01")
    before = entries(shop)
    with pytest.raises(Lacking) as refused:
        judged(shop)
    assert refused.value.exit_code == 5
    assert refused.value.hint
    assert entries(shop) == before
    assert shop.row("WP01").cycle == 1
    assert shop.row("WP01").state is State.FOR_REVIEW


def test_a_package_is_judged_by_what_it_was_dispatched_with(shops: ShopFactory) -> None:
    shop = shops()
    shop.implement("WP01")
    shop.package("WP01", deliverables=["src/something-else.txt"])
    assert judged(shop).review.verdict is APPROVED
    (shop.repo / "features" / FEATURE / "tasks" / "WP01-part.md").unlink()
    commit(shop.repo, {"other.txt": "x"})
    assert judged(shop).review.verdict is APPROVED


def test_a_package_that_does_not_wait_for_review_is_not_judged(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", "exit 1")
    shop.implement("WP01")
    with pytest.raises(NotAllowed, match="blocked"):
        judged(shop)


def test_a_branch_that_is_gone_is_told_with_the_way_back(shops: ShopFactory) -> None:
    shop = shops()
    shop.implement("WP01")
    git(shop.repo, "worktree", "remove", "--force", f".worktrees/{FEATURE}-WP01")
    git(shop.repo, "branch", "-q", "-D", f"feat/{FEATURE}-WP01")
    with pytest.raises(NotAllowed, match="gone"):
        judged(shop)


@pytest.mark.slow
def test_one_package_is_judged_by_one_command_at_a_time_and_it_can_be_stopped(shops: ShopFactory) -> None:
    shop = shops()
    mark = shop.tools / "checking"
    config = shop.repo / ".kittify" / "config.yaml"
    config.write_text(config.read_text().replace('run: "true"', f'run: "touch {mark}; sleep 30"'))
    shop.save()
    shop.implement("WP01")
    child = shop.python("from agentpkg.engine.judging.review import review; review(shop.project, shop.feature, 'WP01')")
    until(mark.exists)
    with pytest.raises(Busy):
        judged(shop)
    child.kill()
    child.communicate()
    with pytest.raises(Interrupted):
        review(shop.project, FEATURE, "WP01", lambda: True)
    assert shop.project.ledger.reviews(FEATURE, "WP01") == []


@pytest.mark.slow
def test_a_candidate_that_was_lost_is_made_and_judged_again(shops: ShopFactory) -> None:
    shop = shops()
    shop.implement("WP01")
    first = judged(shop).review
    objects = shop.state / "control.git" / "objects"
    (objects / first.candidate[:2] / first.candidate[2:]).unlink()  # type: ignore[index]
    assert not judged(shop).reused
    assert isinstance(merging.land_approved(shop.project, FEATURE, "WP01", "human:me"), merging.Merged)
    shop.check()


@pytest.mark.slow
def test_files_that_an_agent_left_untracked_are_a_warning(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", 'save "src/$n.txt" x; echo left > notes.txt')
    shop.implement("WP01")
    checks = {c.name: c for c in review(shop.project, FEATURE, "WP01").review.checks}
    assert checks["worktree"].status == "warn"
    assert "notes.txt" in checks["worktree"].detail
