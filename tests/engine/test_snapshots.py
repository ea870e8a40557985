"""Uncommitted work is kept while an agent makes it, and comes back into the worktree."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentpkg.core.errors import BadInput, Busy, NotAllowed
from agentpkg.core.model import State
from agentpkg.core.records import SessionRow
from agentpkg.engine import attach, cleaning, transition
from agentpkg.engine.dispatching import dispatch
from agentpkg.engine.judging import review
from agentpkg.engine.supervising import control
from agentpkg.engine.upkeep import rewinding
from tests.support.engine_shop import FEATURE, Shop, ShopFactory
from tests.support.repos import commit, git, write
from tests.support.wait import until

BRANCH = f"feat/{FEATURE}-WP01"


def worktree(shop: Shop) -> Path:
    return shop.repo / ".worktrees" / f"{FEATURE}-WP01"


def start(shop: Shop) -> SessionRow:
    project = shop.project
    return dispatch.start(project, project.good_feature(FEATURE), "WP01", dispatch.Wish()).session


def listed(shop: Shop) -> list[rewinding.Listed]:
    return rewinding.listed(shop.project, FEATURE, "WP01")


def rewind(shop: Shop, wanted: str | None = None) -> rewinding.Rewound:
    return rewinding.rewind(shop.project, FEATURE, "WP01", wanted)


def why(shop: Shop) -> list[str]:
    return [one.as_json()["why"] for one in listed(shop)]


def _files(folder: Path) -> Iterator[tuple[str, int, int]]:
    for at, _, names in os.walk(folder):
        for name in names:
            facts = (Path(at) / name).lstat()
            yield os.path.join(at, name), facts.st_mtime_ns, facts.st_ino


@pytest.mark.slow
def test_work_is_kept_while_an_agent_makes_it_and_nothing_of_it_shows(
    shops: ShopFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTPKG_AGENT_SNAPSHOT_SECONDS", "1")
    shop = shops()
    shop.agent(
        "WP01",
        'save src/wp01.txt one; echo draft > src/draft.txt; echo two > src/wp01.txt; touch "$here/written"; '
        'wait_for go; rm src/draft.txt; git checkout -q src/wp01.txt; touch "$here/undone"; wait_for end',
    )
    row = start(shop)
    until((shop.tools / "written").exists)
    private = shop.state / "sessions" / row.id / "git"
    quiet = sorted(_files(private)), sorted(_files(worktree(shop)))
    (first,) = until(lambda: listed(shop))
    assert (sorted(_files(private)), sorted(_files(worktree(shop)))) == quiet
    assert (first.session, first.kept.files, first.kept.size) == (row.id, 2, 10)
    # nothing has changed since, so nothing new is kept, however long one waits
    shop.go("go")
    until((shop.tools / "undone").exists)
    with pytest.raises(Busy):
        rewind(shop)
    shop.go("end")
    assert attach.wait(shop.project, row.id).outcome == "completed"
    assert why(shop) == ["working"]
    tip = shop.tip(BRANCH)
    done = rewind(shop, first.id[:6])
    assert (done.files, done.saved) == (2, None)
    assert (worktree(shop) / "src/draft.txt").read_text() == "draft\n"
    assert git(worktree(shop), "status", "--porcelain").split() == ["M", "src/wp01.txt", "??", "src/draft.txt"]
    assert shop.tip(BRANCH) == tip
    assert git(shop.repo, "status", "--porcelain") == ""


@pytest.mark.slow
def test_what_is_there_is_kept_before_something_comes_back(shops: ShopFactory) -> None:
    shop = shops()
    write(shop.repo, {".gitignore": "*.log\n"})
    shop.save("ignore")
    shop.agent("WP01", "save src/wp01.txt one; echo draft > src/draft.txt")
    shop.implement("WP01")
    (end,) = listed(shop)
    write(worktree(shop), {"src/mine.txt": "mine\n", "out.log": "log\n"})
    (worktree(shop) / "src/draft.txt").unlink()
    done = rewind(shop)
    assert (done.listed.id, done.files) == (end.id, 2)
    assert not (worktree(shop) / "src/mine.txt").exists()
    assert (worktree(shop) / "out.log").read_text() == "log\n"
    assert why(shop) == ["end", "rewind"]
    back = rewind(shop, done.saved)
    assert back.saved
    assert (worktree(shop) / "src/mine.txt").read_text() == "mine\n"
    assert not (worktree(shop) / "src/draft.txt").exists()
    with pytest.raises(BadInput, match="no snapshot 0000"):
        rewind(shop, "0000")


@pytest.mark.slow
def test_an_ignored_file_in_the_way_stops_it_and_nothing_changes(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", "save src/wp01.txt one; echo draft > src/draft.txt")
    shop.implement("WP01")
    (worktree(shop) / "src/draft.txt").unlink()
    write(worktree(shop), {"src/.gitignore": "draft.txt\n", "src/draft.txt": "ignored\n"})
    with pytest.raises(NotAllowed, match=r"src/draft\.txt"):
        rewind(shop, listed(shop)[0].id)
    assert (worktree(shop) / "src/draft.txt").read_text() == "ignored\n"


@pytest.mark.slow
def test_a_worktree_that_is_gone_is_made_again(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", "save src/wp01.txt one; echo draft > src/draft.txt")
    shop.implement("WP01")
    git(shop.repo, "worktree", "remove", "--force", worktree(shop))
    git(shop.repo, "branch", "-D", BRANCH)
    rewind(shop)
    assert (worktree(shop) / "src/draft.txt").read_text() == "draft\n"
    assert shop.tip(BRANCH) == shop.row("WP01").head


@pytest.mark.slow
def test_what_a_refused_session_left_is_listed_and_comes_back(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", "save .gitattributes x; save src/wp01.txt one; echo draft > src/draft.txt")
    row = shop.implement("WP01")
    assert "import_refused" in (row.reason or "")
    assert "agentpkg snapshots" in (row.reason or "")
    assert why(shop) == ["refused", "end"]
    rewind(shop, listed(shop)[0].id)
    assert [(worktree(shop) / f"src/{name}").exists() for name in ("wp01.txt", "draft.txt")] == [True, False]
    rewind(shop, listed(shop)[1].id)
    assert (worktree(shop) / "src/draft.txt").read_text() == "draft\n"
    assert (worktree(shop) / "src/wp01.txt").read_text() == "one\n"
    assert shop.tip(BRANCH) == shop.tip()


@pytest.mark.slow
def test_clean_takes_nothing_that_is_neither_landed_nor_kept(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", "save src/wp01.txt one; echo draft > src/draft.txt; exit 3")
    assert shop.implement("WP01").state is State.BLOCKED
    for _ in range(2):
        assert cleaning.clean(shop.project, dry_run=False).removed == ()
    with shop.project.ledger.write() as tx:
        transition.move(tx, FEATURE, "WP01", State.CANCELLED, "human:me", {})
    assert cleaning.clean(shop.project, dry_run=False).removed == ()
    assert (worktree(shop) / "src/draft.txt").exists()
    assert shop.tip(BRANCH) == shop.row("WP01").head


@pytest.mark.slow
def test_a_snapshot_that_hangs_holds_nobody_up(shops: ShopFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTPKG_AGENT_SNAPSHOT_SECONDS", "1")
    shop = shops()
    # git opens this one by itself, in the middle of a snapshot
    shop.agent(
        "WP01",
        'save src/wp01.txt one; i=0; while [ ! -e "$here/go" ]; do rm -f src/.gitignore; mkfifo src/.gitignore; '
        'echo x > src/a; rm -f src/.gitignore; done; touch "$here/wild"; wait_for never',
    )
    row = start(shop)
    until(lambda: (shop.project.ledger.session(row.id) or row).agent_pid)
    until(lambda: (shop.state / "sessions" / row.id / "quarantine.git" / "index.watch").exists())
    control.interrupt(shop.state, row.id, "human:me")
    ended = attach.wait(shop.project, row.id)
    assert ended.reason == "interrupted"
    assert not shop.processes() or until(lambda: not shop.processes())


def test_a_file_of_a_terabyte_of_holes_holds_nobody_up_and_stays(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", "save src/wp01.txt one; echo draft > src/draft.txt; truncate -s 1T src/huge; exit 3")
    shop.implement("WP01")
    kept = listed(shop)
    assert [one.kept.files for one in kept] == [1], kept
    assert (worktree(shop) / "src/huge").stat().st_size == 1 << 40
    assert cleaning.clean(shop.project, dry_run=False).removed == ()
    (worktree(shop) / "src/draft.txt").unlink()
    rewind(shop)
    assert (worktree(shop) / "src/draft.txt").read_text() == "draft\n"
    assert (worktree(shop) / "src/huge").exists()


@pytest.mark.slow
def test_a_tracked_file_grown_to_a_terabyte_of_holes_is_told_by_its_size(shops: ShopFactory) -> None:
    shop = shops()
    commit(shop.repo, {"src/large.txt": "tracked\n", "src/other.txt": "tracked\n"}, "files")
    hide = "git update-index --assume-unchanged src/other.txt src/large.txt"
    shop.agent("WP01", f"save src/wp01.txt one; {hide}; truncate -s 1T src/large.txt; echo changed > src/other.txt")
    row = shop.implement("WP01")
    assert row.state is State.FOR_REVIEW, row.reason
    assert shop.show("src/wp01.txt", f"feat/{FEATURE}-WP01") == "one"
    judged = review.review(shop.project, FEATURE, "WP01").review
    assert judged.verdict == "changes_requested"
    assert "src/large.txt, src/other.txt" in str(judged.checks), judged.checks
