"""What is removed after a landing, what ``clean`` finds, and what stays because something would be lost."""

from pathlib import Path

import pytest

from agentpkg.core.model import State
from agentpkg.engine import cleaning, moving
from agentpkg.engine.judging.review import review
from agentpkg.engine.landing import merging
from tests.support.engine_shop import FEATURE, Shop, ShopFactory
from tests.support.repos import git, write

BRANCH = f"feat/{FEATURE}-WP01"


def worktree(shop: Shop, wp: str = "WP01") -> Path:
    return shop.repo / ".worktrees" / f"{FEATURE}-{wp}"


def landed(shop: Shop) -> merging.Merged:
    merged = merging.land(shop.project, FEATURE, "WP01", "human:me")
    assert isinstance(merged, merging.Merged)
    return merged


def branches(shop: Shop) -> list[str]:
    return git(shop.repo, "for-each-ref", "--format=%(refname:short)", "refs/heads").splitlines()


@pytest.mark.slow
def test_after_a_landing_worktree_and_branch_are_gone(shops: ShopFactory) -> None:
    shop = shops()
    shop.implement("WP01")
    assert worktree(shop).is_dir()
    assert landed(shop).kept == ()
    assert not worktree(shop).exists()
    assert branches(shop) == ["main"]
    assert len(git(shop.repo, "worktree", "list").splitlines()) == 1


@pytest.mark.slow
def test_what_would_be_lost_stays_and_is_told_and_clean_takes_it_once_it_is_safe(shops: ShopFactory) -> None:
    shop = shops()
    shop.implement("WP01")
    review(shop.project, FEATURE, "WP01")
    write(worktree(shop), {"notes.txt": "do not lose me\n"})
    merged = landed(shop)
    assert "notes.txt" in merged.kept[0]
    assert (worktree(shop) / "notes.txt").exists()
    assert shop.row("WP01").state is State.DONE
    (kept,) = cleaning.clean(shop.project, dry_run=False).kept
    assert "notes.txt" in kept.reason
    (worktree(shop) / "notes.txt").unlink()
    done = cleaning.clean(shop.project, dry_run=False)
    assert done == cleaning.Cleaned((f".worktrees/{FEATURE}-WP01", BRANCH), ())
    assert branches(shop) == ["main"]


@pytest.mark.slow
def test_a_dry_run_tells_and_removes_nothing(shops: ShopFactory) -> None:
    shop = shops()
    shop.implement("WP01")
    moving.cancel(shop.project, FEATURE, "WP01", "no")
    git(shop.repo, "merge", "-q", "--no-edit", BRANCH)
    told = cleaning.clean(shop.project, dry_run=True)
    assert worktree(shop).is_dir()
    done = cleaning.clean(shop.project, dry_run=False)
    assert told == done
    assert not worktree(shop).exists()


@pytest.mark.slow
def test_a_dry_run_tells_of_what_would_be_kept(shops: ShopFactory) -> None:
    shop = shops()
    shop.implement("WP01")
    moving.cancel(shop.project, FEATURE, "WP01", "no")
    told = cleaning.clean(shop.project, dry_run=True)
    assert told.removed == ()
    assert told == cleaning.clean(shop.project, dry_run=False)
    assert BRANCH in branches(shop)


@pytest.mark.slow
def test_packages_at_work_and_strangers_stay(shops: ShopFactory) -> None:
    shop = shops()
    shop.implement("WP01")
    write(shop.repo / ".worktrees" / "mine", {"a.txt": "x"})
    found = cleaning.clean(shop.project, dry_run=False)
    assert found.removed == ()
    assert {one.path: one.reason for one in found.kept} == {
        f".worktrees/{FEATURE}-WP01": "WP01 is for_review", ".worktrees/mine": "it belongs to no work package",
    }  # fmt: skip


@pytest.mark.slow
def test_a_branch_that_was_left_alone_is_cleaned_without_a_worktree(shops: ShopFactory) -> None:
    shop = shops()
    shop.implement("WP01")
    tip = shop.tip(BRANCH)
    landed(shop)
    git(shop.repo, "branch", BRANCH, tip)
    assert cleaning.clean(shop.project, dry_run=False).kept == ()
    assert branches(shop) == ["main"]
