"""Landing: the target moves to the reviewed candidate, whatever else happens; and what a kill leaves is finished."""

import signal

import pytest

from agentpkg.core.errors import FellShort, NotAllowed
from agentpkg.core.model import State
from agentpkg.engine import moving
from agentpkg.engine.judging.review import review
from agentpkg.engine.landing import merging
from agentpkg.engine.upkeep import auditing, recovery
from tests.support.engine_shop import FEATURE, Shop, ShopFactory
from tests.support.repos import commit, git, write

BRANCH = f"feat/{FEATURE}-WP01"


def approved(shops: ShopFactory, strategy: str = "merge") -> Shop:
    """A shop whose WP01 is approved."""
    shop = shops(strategy=strategy)
    shop.implement("WP01")
    review(shop.project, FEATURE, "WP01")
    return shop


def land(shop: Shop, wp: str = "WP01") -> merging.Merged:
    merged = merging.land_approved(shop.project, FEATURE, wp, "human:me")
    assert isinstance(merged, merging.Merged)
    return merged


def trailers(shop: Shop, commit: str) -> dict[str, str]:
    said = git(shop.repo, "log", "-1", "--format=%(trailers)", commit)
    return dict(line.split(": ", 1) for line in said.splitlines() if line)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["merge", "squash", "rebase"])
def test_every_strategy_lands_the_work_and_leaves_a_good_chain(shops: ShopFactory, strategy: str) -> None:
    shop = shops({"WP01": [], "WP02": []}, strategy=strategy)
    for wp in ("WP01", "WP02"):
        shop.agent(wp, 'save "src/$n.txt" one "one"; save "src/$n-b.txt" two "two"')
    base = shop.tip()
    assert shop.run().stuck == ()
    assert {shop.show("src/wp01.txt"), shop.show("src/wp02.txt")} == {"one"}
    count = {"merge": 2, "squash": 2, "rebase": 4}[strategy]
    assert len(git(shop.repo, "rev-list", "--first-parent", f"{base}..main").splitlines()) == count
    merges = len(git(shop.repo, "rev-list", "--merges", f"{base}..main").splitlines())
    assert merges == (2 if strategy == "merge" else 0)
    said = trailers(shop, shop.tip())
    assert said["Feature"] == FEATURE
    assert set(said) == {"Feature", "Work-Package", "Agent", "Session", "Review-Cycle", "Audit-Hash"}
    shop.check()
    assert auditing.verify(shop.project, FEATURE).ok
    assert git(shop.repo, "branch", "--list", "feat/*") == ""


def test_without_an_approval_of_this_tip_nothing_lands(shops: ShopFactory) -> None:
    shop = shops()
    shop.implement("WP01")
    with pytest.raises(NotAllowed, match="no approval"):
        land(shop)
    review(shop.project, FEATURE, "WP01")
    commit(shop.repo / ".worktrees" / f"{FEATURE}-WP01", {"src/wp01.txt": "new\n"}, "fix(WP01): more")
    with pytest.raises(NotAllowed, match="no approval"):
        land(shop)


def test_a_target_that_moved_after_the_review_is_reviewed_and_landed_on(shops: ShopFactory) -> None:
    shop = approved(shops)
    moved = commit(shop.repo, {"other.txt": "x"})
    merged = land(shop)
    assert git(shop.repo, "rev-parse", f"{merged.merge_commit}^1") == moved
    assert len(shop.project.ledger.reviews(FEATURE, "WP01")) == 2
    shop.check()


def test_a_target_that_moved_into_a_conflict_is_no_landing(shops: ShopFactory) -> None:
    shop = approved(shops)
    moved = commit(shop.repo, {"src/wp01.txt": "mine\n"})
    assert isinstance(merging.land_approved(shop.project, FEATURE, "WP01", "human:me"), merging.Rejected)
    assert shop.tip() == moved
    assert shop.row("WP01").state is State.FOR_REVIEW


def test_the_users_changes_elsewhere_stay_as_they_are(shops: ShopFactory) -> None:
    shop = approved(shops)
    write(shop.repo, {"README.md": "staged\n", "notes.txt": "untracked\n", "src/base.txt": "unsaved\n"})
    git(shop.repo, "add", "README.md")
    land(shop)
    assert set(git(shop.repo, "status", "--porcelain").splitlines()) == {
        "M  README.md",
        " M src/base.txt",
        "?? notes.txt",
    }
    assert (shop.repo / "src" / "wp01.txt").read_text() == "by WP01, try 1\n"


@pytest.mark.slow
@pytest.mark.parametrize("ignored", [False, True])
def test_a_file_of_the_users_in_the_way_stops_all_and_the_same_command_lands_it_later(
    shops: ShopFactory, ignored: bool
) -> None:
    shop = approved(shops)
    before = shop.tip()
    if ignored:
        exclude = shop.repo / ".git" / "info" / "exclude"
        exclude.write_text(exclude.read_text() + "wp01.txt\n")
    write(shop.repo, {"src/wp01.txt": "mine\n"})
    with pytest.raises(NotAllowed, match=r"src/wp01\.txt") as refused:
        land(shop)
    assert refused.value.details == {"paths": ["src/wp01.txt"]}
    assert (shop.tip(), shop.row("WP01").state) == (before, State.FOR_REVIEW)
    assert not (shop.state / "landing-intent.json").exists()
    (shop.repo / "src" / "wp01.txt").unlink()
    land(shop)


def test_two_commands_that_land_the_same_package_do_it_once(shops: ShopFactory) -> None:
    shop = approved(shops)
    code = (
        "from agentpkg.engine.landing import merging; from agentpkg.core.errors import AgentpkgError\n"
        "try: merging.land_approved(shop.project, shop.feature, 'WP01', 'human:me'); print('landed')\n"
        "except AgentpkgError as error: print(error.exit_code)"
    )
    children = [shop.python(code) for _ in range(2)]
    said = [child.communicate(timeout=30) for child in children]
    assert sorted(out.strip() for out, _ in said) in (["3", "landed"], ["4", "landed"]), said
    assert shop.transitions("WP01").count("WP01:for_review->done") == 1
    shop.check()


@pytest.mark.slow
def test_two_packages_that_land_at_once_both_land(shops: ShopFactory) -> None:
    shop = shops({"WP01": [], "WP02": []})
    for wp in ("WP01", "WP02"):
        shop.implement(wp)
        review(shop.project, FEATURE, wp)
    code = (
        "from agentpkg.engine.landing import merging; "
        "merging.land_approved(shop.project, shop.feature, sys.argv[1], 'human:me')"
    )
    children = [shop.python(code, wp) for wp in ("WP01", "WP02")]
    for child in children:
        _, errors = child.communicate(timeout=30)
        assert child.returncode == 0, errors
    assert set(shop.states().values()) == {State.DONE}
    shop.check()


# --------------------------------------------------------------------------- killed in the middle


_DIE = "import os, signal\ndef die(*a, **k): os.kill(os.getpid(), signal.SIGKILL)\n"
_LAND = "merging.land_approved(shop.project, shop.feature, 'WP01', 'human:me')"

#: where a landing is killed: code that puts the end in place of, or behind, a step
_KILLS = {
    "before the intent is written": "merging.intents.files.write_atomic = die",
    "before the target moves": "landing.land = die",
    "in the middle of the landing": "from agentpkg.git import landing as l; l.user.follow = die",
    "after the target moved": "real = landing.land\ndef land(*a): real(*a); die()\nlanding.land = land",
    "before the ledger's transaction ends": (
        "real = transition.landed\ndef landed(*a): real(*a); die()\ntransition.landed = landed"
    ),
    "before worktree and branch are removed": (
        "from agentpkg.engine.landing import recording\nrecording.after_landing = die"
    ),
    "after it is recorded and cleaned up": (
        "from agentpkg.engine.landing import recording\nreal = recording.after_landing\n"
        "def after(*a): real(*a); die()\nrecording.after_landing = after"
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("step", _KILLS)
def test_a_landing_that_is_killed_anywhere_ends_as_the_undisturbed_one(shops: ShopFactory, step: str) -> None:
    shop = approved(shops)
    write(shop.repo, {"README.md": "mine\n"})
    child = shop.python(
        f"{_DIE}from agentpkg.engine import transition\nfrom agentpkg.engine.landing import merging\n"
        "from agentpkg.git import landing\n"
        f"{_KILLS[step]}\n{_LAND}"
    )
    _, errors = child.communicate(timeout=30)
    assert child.returncode == -signal.SIGKILL, errors
    recovery.reconcile(shop.project)
    if shop.row("WP01").state is not State.DONE:
        assert shop.tip() == git(shop.repo, "rev-parse", "HEAD")
        assert git(shop.repo, "status", "--porcelain").split() == ["M", "README.md"]
        land(shop)
    assert shop.row("WP01").merge_commit == shop.tip()
    assert shop.show("src/wp01.txt") == (shop.repo / "src" / "wp01.txt").read_text().strip()
    assert git(shop.repo, "status", "--porcelain").split() == ["M", "README.md"]
    assert shop.transitions("WP01").count("WP01:for_review->done") == 1
    assert not (shop.state / "landing-intent.json").exists()
    shop.check()
    assert auditing.verify(shop.project, FEATURE).ok
    assert git(shop.repo, "branch", "--list", BRANCH) == ""
    assert not (shop.repo / ".worktrees" / f"{FEATURE}-WP01").exists()
    moved = [row.subject for row in shop.project.ledger.events() if row.payload.get("to") == "done"]
    assert moved == [f"feature.{FEATURE}.wp.WP01.state.changed"]


@pytest.mark.slow
def test_a_landing_that_is_killed_and_overtaken_by_the_users_commit_is_recorded(shops: ShopFactory) -> None:
    shop = approved(shops)
    child = shop.python(
        f"{_DIE}from agentpkg.engine import transition\nfrom agentpkg.engine.landing import merging\n"
        "from agentpkg.git import landing\n"
        f"{_KILLS['after the target moved']}\n{_LAND}"
    )
    child.communicate(timeout=30)
    landed = shop.tip()
    commit(shop.repo, {"more.txt": "x"})
    recovery.reconcile(shop.project)
    assert shop.row("WP01").state is State.DONE
    assert shop.row("WP01").merge_commit == landed
    shop.check()


@pytest.mark.slow
def test_a_review_that_is_killed_before_it_is_recorded_is_simply_done_again(shops: ShopFactory) -> None:
    shop = shops()
    shop.implement("WP01")
    child = shop.python(
        f"{_DIE}from agentpkg.engine import transition\nfrom agentpkg.engine.judging import review\n"
        "real = transition.judged\ndef judged(*a): real(*a); die()\ntransition.judged = judged\n"
        "review.review(shop.project, shop.feature, 'WP01')"
    )
    child.communicate(timeout=30)
    assert shop.project.ledger.reviews(FEATURE, "WP01") == []
    assert not review(shop.project, FEATURE, "WP01").reused
    land(shop)
    shop.check()


@pytest.mark.slow
def test_an_intent_whose_target_is_gone_does_not_stop_other_commands(shops: ShopFactory) -> None:
    shop = approved(shops)
    child = shop.python(
        f"{_DIE}from agentpkg.engine.landing import merging\nfrom agentpkg.git import landing\n"
        f"{_KILLS['before the target moves']}\n{_LAND}"
    )
    child.communicate(timeout=30)
    git(shop.repo, "branch", "-m", "main", "elsewhere")
    recovery.reconcile(shop.project)
    assert not (shop.state / "landing-intent.json").exists()
    git(shop.repo, "branch", "-m", "elsewhere", "main")
    land(shop)


# --------------------------------------------------------------------------- force


def test_force_lands_the_current_candidate_and_is_shown_for_ever(shops: ShopFactory) -> None:
    shop = shops(checks='{name: never, run: "false"}')
    shop.implement("WP01")
    moved = moving.move(shop.project, FEATURE, "WP01", moving.Wish(State.DONE, force=True, reason="I looked"))
    assert isinstance(moved, moving.Moved)
    assert moved.merge_commit == shop.tip()
    (done,) = [e for e in shop.project.ledger.entries(FEATURE) if e.transition == "WP01:for_review->done"]
    assert (done.metadata["forced"], done.metadata["reason"]) == (True, "I looked")
    assert shop.row("WP01").forced
    assert auditing.verify(shop.project, FEATURE).ok
    shop.check()


def test_force_accepts_a_tip_that_is_on_the_target_already(shops: ShopFactory) -> None:
    shop = shops()
    shop.implement("WP01")
    git(shop.repo, "merge", "-q", "--no-edit", BRANCH)
    before = shop.tip()
    moved = moving.move(shop.project, FEATURE, "WP01", moving.Wish(State.DONE, force=True, reason="merged by hand"))
    assert isinstance(moved, moving.Moved)
    assert shop.tip() == before
    assert shop.row("WP01").state is State.DONE
    assert auditing.verify(shop.project, FEATURE).ok


def test_force_does_not_settle_a_conflict(shops: ShopFactory) -> None:
    shop = shops()
    shop.implement("WP01")
    before = commit(shop.repo, {"src/wp01.txt": "mine\n"})
    with pytest.raises(FellShort, match="conflict"):
        merging.force(shop.project, FEATURE, "WP01", "human:me", "I insist")
    assert shop.tip() == before


def test_an_intent_that_cannot_be_read_stops_no_command(shops: ShopFactory) -> None:
    shop = shops()
    project = shop.project
    project.ensure_registered(project.good_feature(FEATURE))
    spoiled = shop.state / "landing-intent.json"
    spoiled.write_bytes(b"\0" * 200)
    recovery.reconcile(project)
    assert not spoiled.exists()
    assert spoiled.with_suffix(".damaged").exists()
    assert recovery.reconcile(shop.project) == []
