"""Commands killed at every step of a review, a landing and a run: the next one ends where an undisturbed one does."""

import signal

import pytest

from agentpkg.core.model import State, Verdict
from agentpkg.core.records import PackageRow
from agentpkg.engine.judging import review
from agentpkg.engine.landing import merging
from agentpkg.engine.upkeep import recovery
from tests.support import engine_kill
from tests.support.engine_shop import FEATURE, Shop, ShopFactory
from tests.support.matrix import points
from tests.support.repos import git

_REVIEW = "from agentpkg.engine.judging import review\nreview.review(shop.project, shop.feature, 'WP01')"
_LAND = "from agentpkg.engine.landing import merging\nmerging.land(shop.project, shop.feature, 'WP01', 'ci:automation')"
_RUN = "shop.run()"

#: every step of a review, in order
REVIEWING = (
    "agentpkg.engine.judging.review:judge:call",
    "agentpkg.git.candidate:make:return",
    "agentpkg.engine.judging.review:context:return",
    "agentpkg.checks.pipeline:side_by_side:call",
    "agentpkg.checks.pipeline:side_by_side:return",
    "agentpkg.checks.pipeline:conclude:return",
    "agentpkg.checks.pipeline:run_all:return",
    "agentpkg.engine.transition.reviews:judged:return",
    "agentpkg.engine.judging.review:_record:return",
)
#: every step of a landing after its review
LANDING = (
    "agentpkg.engine.landing.merging:_intent:return",
    "agentpkg.git.landing:land:call",
    "agentpkg.git.incoming:receive:return",
    "agentpkg.git.incoming:accept:return",
    "agentpkg.git.landing_journal:new_one:return",
    "agentpkg.git.landing_journal:_write:return",
    "agentpkg.git.landing_journal:lock:return",
    "agentpkg.git.checkouts:follow:call",
    "agentpkg.git.checkouts:follow:return",
    "agentpkg.git.landing:__call__:call",
    "agentpkg.git.landing:__call__:return",
    "agentpkg.git.landing_recovery:settle:call",
    "agentpkg.git.landing:land:return",
    "agentpkg.engine.landing.recording:record:call",
    "agentpkg.engine.transition.reviews:landed:return",
    "agentpkg.engine.cleaning:after_landing:call",
    "agentpkg.git.removal:_remove:call",
    "agentpkg.git.worktrees:drop_admin:call",
    "agentpkg.git.worktrees:drop_admin:return",
    "agentpkg.git.removal:_delete_branch:return",
    "agentpkg.engine.cleaning:after_landing:return",
    "agentpkg.engine.landing.recording:record:return",
)
#: steps that a run takes itself, beside those of its dispatches, reviews and landings
RUNNING = (
    "agentpkg.engine.running.starting:preflight:return",
    "agentpkg.engine.transition.registration:register:return",
    "agentpkg.engine.dispatching.dispatch:_take_lease:return",
    "agentpkg.engine.dispatching.dispatch:_make_room:return",
    "agentpkg.engine.dispatching.launching:spawn:return",
    "agentpkg.engine.running.starting:start:return",
    "agentpkg.engine.running.train:make:return",
    "agentpkg.engine.running.landing:queue:return",
    "agentpkg.engine.running.lane:submit:return",
    "agentpkg.engine.transition.reviews:judged:return",
    "agentpkg.git.landing:__call__:return",
    "agentpkg.engine.transition.reviews:landed:return",
    "agentpkg.engine.cleaning:after_landing:return",
    "agentpkg.engine.running.landing:collect:return",
    "agentpkg.engine.running.ending:stuck:call",
)


def kill(shop: Shop, monkeypatch: pytest.MonkeyPatch, code: str, point: str) -> None:
    """Runs ``code`` in a process that is killed at a point."""
    for name, value in engine_kill.environment(shop.tools / "hook", "engine_shop", point).items():
        monkeypatch.setenv(name, value)
    child = shop.python(code)
    _, err = child.communicate(timeout=120)
    assert child.returncode == -signal.SIGKILL, err
    monkeypatch.delenv("TEST_KILL_WHICH")


def told(shop: Shop) -> list[str]:
    """Changes of state in the outbox, in order."""
    return [
        f"{event.subject.split('.')[3]}:{event.payload['from']}->{event.payload['to']}"
        for event in shop.project.ledger.events()
        if event.subject.endswith("state.changed") and ".wp." in event.subject
    ]


def end(shop: Shop) -> tuple[list[str], list[PackageRow]]:
    """What landed, and the packages; what must hold anyway is asserted."""
    shop.check()
    assert git(shop.repo, "status", "--porcelain") == ""
    assert git(shop.repo, "for-each-ref", "--format=%(refname)", "refs/heads") == "refs/heads/main"
    assert len(git(shop.repo, "worktree", "list").splitlines()) == 1
    git(shop.repo, "fsck", "--connectivity-only")
    assert not (shop.state / "landing-intent.json").exists()
    assert not list((shop.state / "landing").glob("*"))
    assert not list(shop.state.glob("control.view.*"))
    assert not list((shop.repo / ".git").glob("*.lock"))
    landed = git(shop.repo, "log", "--first-parent", "--format=%(trailers:key=Work-Package,valueonly)", "main").split()
    rows = shop.project.ledger.packages()
    assert sorted(landed) == [row.wp for row in rows]
    moves = [t for t in shop.transitions() if ":" in t and "none->" not in t and t != "WP01:for_review->for_review"]
    assert [line for line in moves if line.split(":")[1].partition("->")[0] != line.rpartition(">")[2]] == told(shop)
    return git(shop.repo, "ls-tree", "-r", "--name-only", "main", "src/").splitlines(), rows


def as_undisturbed(shop: Shop, *packages: str) -> None:
    """The feature is where it is when nobody is killed."""
    tree, rows = end(shop)
    assert tree == ["src/base.txt", *(f"src/{wp.lower()}.txt" for wp in packages)]
    for row in rows:
        assert shop.show(f"src/{row.wp.lower()}.txt") == f"by {row.wp}"
        assert (row.state, row.verdict, row.cycle, row.failures, row.commits, row.forced, row.reason) == (
            State.DONE, Verdict.APPROVED, 1, 0, 1, False, None,
        )  # fmt: skip


def begun(shops: ShopFactory) -> Shop:
    shop = shops()
    shop.agent("WP01", 'save src/wp01.txt "by WP01"')
    shop.implement("WP01")
    return shop


@pytest.mark.slow
@pytest.mark.parametrize("point", points(REVIEWING))
def test_a_review_that_is_killed_is_made_again_or_stands(
    shops: ShopFactory, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    shop = begun(shops)
    kill(shop, monkeypatch, _REVIEW, point)
    recovery.reconcile(shop.project)
    assert shop.row("WP01").state is State.FOR_REVIEW
    judged = review.review(shop.project, FEATURE, "WP01")
    assert judged.review.verdict == "approved"
    assert len(shop.project.ledger.reviews(FEATURE, "WP01")) == 1
    assert isinstance(merging.land(shop.project, FEATURE, "WP01", "ci:automation"), merging.Merged)
    as_undisturbed(shop, "WP01")


@pytest.mark.slow
@pytest.mark.parametrize("point", points(LANDING))
def test_a_landing_that_is_killed_is_finished_or_undone(
    shops: ShopFactory, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    shop = begun(shops)
    kill(shop, monkeypatch, _LAND, point)
    recovery.reconcile(shop.project)
    if shop.row("WP01").state is State.FOR_REVIEW:
        assert git(shop.repo, "status", "--porcelain") == ""
        assert isinstance(merging.land(shop.project, FEATURE, "WP01", "ci:automation"), merging.Merged)
    as_undisturbed(shop, "WP01")


@pytest.mark.slow
@pytest.mark.parametrize("point", points(RUNNING))
def test_a_run_that_is_killed_is_followed_by_the_next(
    shops: ShopFactory, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    needs = {"WP01": [], "WP02": ["WP01"]}
    shop = shops(needs)
    for wp in needs:
        shop.agent(wp, f'save src/{wp.lower()}.txt "by {wp}"')
    kill(shop, monkeypatch, _RUN, point)
    assert shop.run().stuck == ()
    as_undisturbed(shop, *needs)
