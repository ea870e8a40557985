"""Two of everything: runs, people, the user's own git, hands that move things, a clock and a repository that move."""

import os
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agentpkg.core.errors import Interrupted
from agentpkg.core.model import State
from agentpkg.core.records import EventRow
from agentpkg.engine import attach, cleaning
from agentpkg.engine.dispatching import dispatch
from agentpkg.engine.judging.review import review
from agentpkg.engine.landing import merging
from agentpkg.engine.project import Project
from agentpkg.engine.upkeep import auditing, mending, recovery, rewinding
from agentpkg.ledger.ledger import Ledger
from tests.cli.support import quick
from tests.support.engine_shop import FEATURE, Shop, ShopFactory
from tests.support.repos import commit, git
from tests.support.wait import until

BRANCH = f"feat/{FEATURE}-WP01"
OTHER = "004-other"

_RUN = """
from agentpkg.engine.running.run import Run
from agentpkg.engine.running.values import Options, Stop
project = shop.project
options = Options(4)
feature = project.good_feature(sys.argv[1])
done = Run(project, feature, options, lambda event: None, Stop()).to_the_end()
print(done.stuck, flush=True)
"""
_MOVE = """
from agentpkg.core.errors import AgentpkgError
from agentpkg.core.model import State
from agentpkg.core.records import EventRow
from agentpkg.engine import moving
try:
    moving.move(shop.project, shop.feature, "WP01", moving.Wish(State(sys.argv[1]), reason="mine"))
    print(0)
except AgentpkgError as error:
    print(error.exit_code)
"""


def worktree(shop: Shop) -> Path:
    return shop.repo / ".worktrees" / f"{FEATURE}-WP01"


def start(shop: Shop, project: Project | None = None) -> str:
    project = project or shop.project
    return dispatch.start(project, project.good_feature(FEATURE), "WP01", dispatch.Wish()).session.id


def begin(shop: Shop) -> str:
    """A session that has committed and waits for ``go``."""
    shop.agent("WP01", 'save src/wp01.txt "by WP01"; touch "$here/here"; wait_for go')
    session = start(shop)
    until((shop.tools / "here").exists, seconds=60)
    return session


def land(shop: Shop) -> merging.Merged:
    merged = merging.land(shop.project, FEATURE, "WP01", "human:me")
    assert isinstance(merged, merging.Merged)
    shop.check()
    return merged


# --------------------------------------------------------------------------- runs and people


@pytest.mark.slow
def test_a_second_run_of_a_feature_says_who_runs_it(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", 'touch "$here/here"; wait_for go; save src/wp01.txt x')
    first = shop.python(_RUN, FEATURE)
    until((shop.tools / "here").exists, seconds=60)
    said = quick(shop.repo, "run", "003")
    assert said.code == 4
    assert str(first.pid) in said.err
    shop.go("go")
    assert first.communicate(timeout=60)[0].strip() == "()"
    assert shop.row("WP01").state is State.DONE


@pytest.mark.slow
def test_runs_of_two_features_work_side_by_side(shops: ShopFactory) -> None:
    shop = shops({"WP01": [], "WP02": ["WP01"]})
    for wp in ("WP03", "WP04"):
        shop.package(wp, feature=OTHER)
    shop.save("another feature")
    runs = [shop.python(_RUN, feature) for feature in (FEATURE, OTHER)]
    for child in runs:
        out, err = child.communicate(timeout=120)
        assert out.strip() == "()", err
    for feature in (FEATURE, OTHER):
        assert set(shop.states(feature).values()) == {State.DONE}
        shop.check(feature=feature)


@pytest.mark.slow
def test_of_two_people_who_move_a_package_at_once_each_is_told_the_truth(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", "exit 3")
    shop.implement("WP01")
    people = [shop.python(_MOVE, to) for to in ("cancelled", "planned", "cancelled", "planned")]
    codes = [int(child.communicate(timeout=60)[0]) for child in people]
    moves = shop.transitions("WP01")[3:]
    assert codes.count(0) == len(moves)
    assert set(codes) <= {0, 3, 4}
    at = "blocked"
    for line in moves:
        frm, _, to = line.partition(":")[2].partition("->")
        assert frm == at
        at = to
    assert shop.row("WP01").state == at
    shop.check()


@pytest.mark.slow
def test_the_user_commits_to_the_target_all_the_while(shops: ShopFactory) -> None:
    shop = shops({"WP01": [], "WP02": [], "WP03": ["WP01", "WP02"]})
    count = 0

    def work(event: EventRow) -> None:
        nonlocal count
        # a landing holds the index for a moment, as any git command does
        until(lambda: not _commit(shop, f"mine {count}"), what="the user's commit")
        count += 1

    for _ in range(5):
        if not shop.run(tell=work).stuck:
            break
    assert set(shop.states().values()) == {State.DONE}
    mine = git(shop.repo, "log", "--format=%s", "main").splitlines()
    assert sum(line.startswith("mine ") for line in mine) == count > 0
    shop.check()
    assert git(shop.repo, "status", "--porcelain") == ""


@pytest.mark.slow
def test_a_person_is_told_of_a_target_that_moves_during_every_review(shops: ShopFactory) -> None:
    shop = shops(checks="{name: ok, run: sh TOOLS/busy.sh}")
    config = shop.repo / ".kittify" / "config.yaml"
    config.write_text(config.read_text().replace("TOOLS", str(shop.tools)))
    shop.save("the check")
    # whenever the checks run, somebody commits
    (shop.tools / "busy.sh").write_text(f"cd {shop.repo} && echo x >> notes && git add notes && git commit -qm busy\n")
    shop.implement("WP01")
    told: list[str] = []
    with pytest.raises(Interrupted):
        merging.land(shop.project, FEATURE, "WP01", "human:me", lambda: bool(told), warn=told.append)
    assert told[0].startswith("main has moved 3 times while WP01 was judged; it lands as soon as that rests")
    (shop.tools / "busy.sh").write_text("true\n")
    land(shop)


def _commit(shop: Shop, message: str) -> int:
    return subprocess.call(
        ["git", "-C", shop.repo, "commit", "-q", "--allow-empty", "-m", message], stderr=subprocess.DEVNULL
    )


# --------------------------------------------------------------------------- the user's git


@pytest.mark.slow
def test_git_gc_in_the_middle_of_everything_takes_nothing(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent(
        "WP01", 'save src/wp01.txt "by WP01"; echo draft > src/wp01.draft; touch "$here/here"; wait_for go', attempt=1
    )
    session = start(shop)
    until((shop.tools / "here").exists, seconds=60)
    collect = ("gc", "-q", "--prune=now")
    git(shop.repo, "reflog", "expire", "--expire=now", "--all")
    git(shop.repo, *collect)
    shop.go("go")
    assert attach.wait(shop.project, session).outcome == "completed"
    git(shop.repo, *collect)
    assert review(shop.project, FEATURE, "WP01").review.verdict == "approved"
    git(shop.repo, *collect)
    until(lambda: not shop.processes(), seconds=30)
    land(shop)
    git(shop.repo, "reflog", "expire", "--expire=now", "--all")
    git(shop.repo, *collect)
    assert auditing.verify(shop.project, FEATURE).ok
    git(shop.repo, "fsck")
    rewinding.rewind(shop.project, FEATURE, "WP01", None)
    assert (worktree(shop) / "src/wp01.draft").read_text() == "draft\n"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["while it works", "with its admin dir", "the admin dir alone", "afterwards"])
def test_a_worktree_that_is_deleted_by_hand(shops: ShopFactory, how: str) -> None:
    shop = shops()
    session = begin(shop)
    if how in ("while it works", "with its admin dir"):
        shutil.rmtree(worktree(shop))
    if how == "with its admin dir":
        git(shop.repo, "worktree", "prune")
    if how == "the admin dir alone":
        shutil.rmtree(shop.repo / ".git" / "worktrees" / worktree(shop).name)
    shop.go("go")
    ended = attach.wait(shop.project, session)
    if how == "afterwards":
        shutil.rmtree(worktree(shop))
    # the commits were made, and are what counts
    assert ended.commits == 1
    if shop.row("WP01").state is State.BLOCKED:
        shop.agent("WP01", "true")
        shop.implement("WP01")
    land(shop)
    assert shop.show("src/wp01.txt") == "by WP01"
    assert len(git(shop.repo, "worktree", "list").splitlines()) == 1


def test_a_branch_that_is_moved_by_hand_while_an_agent_works_is_not_overwritten(shops: ShopFactory) -> None:
    shop = shops()
    session = begin(shop)
    mine = git(shop.repo, "commit-tree", "-p", "main", "-m", "mine", "main^{tree}")
    git(shop.repo, "update-ref", f"refs/heads/{BRANCH}", mine)
    shop.go("go")
    attach.wait(shop.project, session)
    assert shop.row("WP01").state is State.BLOCKED
    assert shop.tip(BRANCH) == mine
    kept = shop.state / "sessions" / session / "quarantine.git"
    assert git(kept, "show", f"refs/session/heads/{BRANCH}:src/wp01.txt") == "by WP01"


@pytest.mark.slow
@pytest.mark.parametrize("when", ["while it works", "before its review"])
def test_a_branch_that_is_deleted_by_hand_loses_no_commit(shops: ShopFactory, when: str) -> None:
    shop = shops()
    session = begin(shop)
    if when == "while it works":
        git(shop.repo, "update-ref", "-d", f"refs/heads/{BRANCH}")
    shop.go("go")
    attach.wait(shop.project, session)
    head = shop.row("WP01").head
    kept = shop.state / "sessions" / session / "quarantine.git"
    if when == "while it works":
        assert git(kept, "show", f"refs/session/heads/{BRANCH}:src/wp01.txt") == "by WP01"
        return
    git(shop.repo, "update-ref", "-d", f"refs/heads/{BRANCH}")
    said = quick(shop.repo, "review", "003", "WP01")
    assert (said.code, str(head) in said.err) == (3, True)
    git(shop.repo, "branch", BRANCH, str(head))
    land(shop)


# --------------------------------------------------------------------------- the clock


class _Ahead:
    """The machine's clock, a year ahead."""

    def __call__(self) -> datetime:
        return datetime.now(UTC) + timedelta(days=365)


@pytest.mark.slow
def test_a_clock_that_is_set_back_changes_no_order_and_holds_nothing_up(shops: ShopFactory) -> None:
    shop = shops({"WP01": [], "WP02": ["WP01"]}, retries=1)
    shop.agent("WP01", "exit 3", attempt=1)
    project = shop.project
    project.__dict__["ledger"] = Ledger.open(shop.state / "ledger.db", _Ahead())
    session = start(shop, project)
    row = project.ledger.session(session)
    assert row is not None
    # the supervisor tells its own time, so the end is told again by the clock that is ahead
    attach.wait(project, session)
    with project.ledger.write() as tx:
        ended = tx.session(session)
        assert ended is not None
        tx.put_session(replace(ended, ended_at=ended.started_at))
    for file in (shop.state / "sessions" / session).rglob("*"):
        os.utime(file, (2e9, 2e9))
    assert shop.run().stuck == ()
    assert set(shop.states().values()) == {State.DONE}
    shop.check()
    assert auditing.verify(shop.project, FEATURE).ok
    first, *later = shop.project.ledger.sessions(FEATURE, "WP01")
    assert first.id == session
    assert first.started_at > later[0].started_at
    document = quick(shop.repo, "status", "003", "--json").json
    assert {package["state"] for package in document["work_packages"]} == {"done"}


# --------------------------------------------------------------------------- the repository


def moved(shop: Shop) -> Shop:
    """The repository in another folder."""
    until(lambda: not shop.processes(), seconds=30, what="the relay's end")
    there = shop.repo.with_name("elsewhere with space")
    shop.repo.rename(there)
    return Shop(there, shop.tools)


@pytest.mark.slow
def test_a_repository_that_is_moved_goes_on_where_it_was(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", 'save src/wp01.txt "by WP01"; echo draft > src/wp01.draft')
    shop.implement("WP01")
    old = shop.repo
    shop = moved(shop)
    assert recovery.reconcile(shop.project) != []
    assert recovery.reconcile(shop.project) == []
    assert git(worktree(shop), "status", "--porcelain") == "?? src/wp01.draft"
    assert review(shop.project, FEATURE, "WP01").review.verdict == "approved"
    (worktree(shop) / "src/wp01.draft").unlink()
    assert land(shop).kept == ()
    assert cleaning.clean(shop.project, dry_run=False).kept == ()
    rewinding.rewind(shop.project, FEATURE, "WP01", None)
    assert (worktree(shop) / "src/wp01.draft").exists()
    assert not old.exists()


@pytest.mark.slow
def test_what_works_while_its_repository_is_moved_leaves_nothing_in_the_old_place(shops: ShopFactory) -> None:
    shop = shops()
    session = begin(shop)
    until(lambda: (row := shop.project.ledger.session(session)) and row.commits, what="the commit")
    old = shop.repo
    shop.project.ledger.close()
    there = old.with_name("elsewhere")
    old.rename(there)
    until(lambda: not shop.processes(), seconds=60, what="the end of all that worked in the old place")
    assert not old.exists(), sorted(old.rglob("*"))
    shop = Shop(there, shop.tools)
    recovery.reconcile(shop.project)
    row = shop.row("WP01")
    assert (row.state, row.commits) == (State.BLOCKED, 1), row.reason
    assert shop.show("src/wp01.txt", BRANCH) == "by WP01"


@pytest.mark.slow
def test_a_session_that_was_killed_before_the_move_is_concluded_after_it(shops: ShopFactory) -> None:
    shop = shops()
    session = begin(shop)
    until(lambda: (row := shop.project.ledger.session(session)) and row.commits, what="the commit")
    shop.close()
    shop = moved(shop)
    recovery.reconcile(shop.project)
    row = shop.row("WP01")
    assert (row.state, row.commits) == (State.BLOCKED, 1), row.reason
    assert shop.show("src/wp01.txt", BRANCH) == "by WP01"
    shop.agent("WP01", "true")
    assert shop.implement("WP01").state is State.FOR_REVIEW
    land(shop)


# --------------------------------------------------------------------------- mending


def leftovers(shop: Shop) -> list[dict[str, str]]:
    """What ``doctor`` says is left to mend."""
    done = quick(shop.repo, "doctor", "--json")
    assert done.code == 0
    return [one for one in done.json["checks"] if one["name"] == "leftovers"]


@pytest.mark.slow
def test_doctor_mends_what_killed_commands_and_hands_left_and_says_each_thing(shops: ShopFactory) -> None:
    shop = shops()
    session = begin(shop)
    shop.close()
    (told,) = leftovers(shop)
    assert (told["status"], told["fix"]) == ("warn", "`agentpkg doctor --fix` mends it")
    assert session in told["detail"]
    assert session in "".join(mending.mend(shop.project))
    assert [(one["status"], one["detail"]) for one in leftovers(shop)] == [("pass", "nothing to mend")]
    never = shop.state / "sessions" / "sess_00000000000000000000000000"
    never.mkdir()
    (never / "prompt.md").write_text("x")
    held = shop.state / "sessions" / "sess_00000000000000000000000001"
    (held / "quarantine.git").mkdir(parents=True)
    draft = shop.state / "control.view.0123"
    draft.mkdir()
    lock = shop.repo / ".git" / "refs" / "heads" / "main.lock"
    lock.write_text("")
    for path in (never, held, draft, lock):
        os.utime(path, (1e9, 1e9))
    (shop.repo / ".git" / "info" / "exclude").write_text("mine\n")
    # while a git of the relay's is at work, a lock may be that one's
    until(lambda: "main.lock" in str(leftovers(shop)), what="the end of all git processes")
    told = [one["detail"] for one in leftovers(shop)]
    # a look changes nothing: asked again it says the same
    assert told == [one["detail"] for one in leftovers(shop)]
    assert [path.exists() for path in (never, held, draft, lock)] == [True] * 4
    said = mending.mend(shop.project)
    for word in ("refs/heads/main.lock", "/.worktrees/", str(never), str(held), str(draft)):
        assert [word in line for line in told].count(True) == [word in line for line in said].count(True) == 1, told
    assert len(told) == len(said)
    text = "\n".join(said)
    for word in ("removed refs/heads/main.lock", "info/exclude", f"removed {never}", f"kept {held}",
                 f"removed {draft}"):  # fmt: skip
        assert word in text, said
    assert (shop.repo / ".git" / "info" / "exclude").read_text() == "mine\n/.worktrees/\n"
    assert shop.row("WP01").state is State.BLOCKED
    assert (held / "quarantine.git").exists()
    again = mending.mend(shop.project)
    assert [line for line in again if not line.startswith("kept")] == []
    (left,) = leftovers(shop)
    assert str(held) in left["detail"]
    assert "remove it yourself" in left["fix"]
    shutil.rmtree(worktree(shop))
    assert "no longer lists" in quick(shop.repo, "doctor", "--fix").out
    assert len(git(shop.repo, "worktree", "list").splitlines()) == 1


def test_a_lock_that_somebody_may_hold_is_left(shops: ShopFactory) -> None:
    shop = shops()
    lock = shop.repo / ".git" / "refs" / "heads" / "main.lock"
    lock.write_text("")
    os.utime(lock, (1e9, 1e9))
    busy = subprocess.Popen(["git", "-C", shop.repo, "cat-file", "--batch"], stdin=subprocess.PIPE)
    try:
        mending.mend(shop.project)
        assert lock.exists()
    finally:
        busy.communicate(b"")
    mending.mend(shop.project)
    assert not lock.exists()
    commit(shop.repo, {"x": "x"}, "x")
