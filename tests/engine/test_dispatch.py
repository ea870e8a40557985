"""Starting a session: what is refused before anything is made, and where a session begins."""

import json
import os
import stat
from collections.abc import Callable

import pytest

from agentpkg.core.errors import AgentpkgError, BadInput, Busy, Lacking, NotAllowed
from agentpkg.core.model import FailureClass, State
from agentpkg.engine import attach
from agentpkg.engine.dispatching import dispatch
from agentpkg.engine.upkeep import recovery
from agentpkg.git.worktrees import list_worktrees
from tests.support.engine_shop import FEATURE, Shop, ShopFactory
from tests.support.repos import commit, git
from tests.support.wait import until

BRANCH = f"feat/{FEATURE}-WP01"


def start(shop: Shop, wp: str = "WP01", **wish: object) -> dispatch.Started:
    project = shop.project
    return dispatch.start(project, project.good_feature(shop.feature), wp, dispatch.Wish(**wish))  # type: ignore[arg-type]


def refused(shop: Shop, kind: type[AgentpkgError], wp: str = "WP01", **wish: object) -> AgentpkgError:
    """The error of a dispatch that is refused; nothing may have been made by it."""
    before = everything(shop)
    with pytest.raises(kind) as raised:
        start(shop, wp, **wish)
    assert everything(shop) == before
    assert raised.value.hint
    return raised.value


def everything(shop: Shop) -> object:
    """What a dispatch could make, apart from the registration of the files."""
    folder = shop.state / "sessions"
    ledger = shop.project.ledger_if_any
    # neither what the relay anchors nor what a running session's supervisor notes is a dispatch's doing
    rows = [row.id for row in ledger.sessions()] if ledger else []
    return (
        git(shop.repo, "for-each-ref", "refs/heads", "refs/tags", "refs/agentpkg/abandoned"),
        [str(w.path) for w in list_worktrees(shop.project.repository)], rows,
        sorted(os.listdir(folder)) if folder.exists() else [], git(shop.repo, "status", "--porcelain"),
        sorted(os.listdir(shop.repo / ".worktrees")) if (shop.repo / ".worktrees").exists() else [],
    )  # fmt: skip


def config(shop: Shop, change: Callable[[str], str]) -> None:
    path = shop.repo / ".kittify" / "config.yaml"
    path.write_text(change(path.read_text()))
    shop.save("configuration")


# --------------------------------------------------------------------------- what is refused


def test_an_unknown_package_is_bad_input_that_names_the_known_ones(shops: ShopFactory) -> None:
    error = refused(shops({"WP01": [], "WP02": []}), BadInput, "WP09")
    assert "WP01, WP02" in error.hint


def test_an_unknown_agent_is_bad_input(shops: ShopFactory) -> None:
    error = refused(shops(), BadInput, agent="nobody")
    assert "nobody" in error.message


def test_a_missing_program_is_what_the_machine_lacks(shops: ShopFactory) -> None:
    shop = shops(more="")
    config(shop, lambda text: text.replace(str(shop.tools / "agent.sh"), "no-such-agent-program"))
    error = refused(shop, Lacking)
    assert "no-such-agent-program" in error.message
    assert error.code == "agent_not_ready"


@pytest.mark.parametrize(("value", "said"), [(None, "MY_TOKEN"), ("hunter2", "MY_TOKEN")])
def test_an_unresolved_or_short_secret_stops_before_even_the_ledger_is_made(
    shops: ShopFactory, monkeypatch: pytest.MonkeyPatch, value: str | None, said: str
) -> None:
    shop = shops()
    config(shop, lambda text: text.replace("retries: 0", "retries: 0, environment: {TOKEN: '${{ secrets.MY_TOKEN }}'}"))
    if value:
        monkeypatch.setenv("MY_TOKEN", value)
    error = refused(shop, BadInput)
    assert said in error.message + str(error.details)
    assert value is None or value not in error.message + str(error.details)
    assert not shop.state.exists()


def test_a_missing_target_stops_before_even_the_ledger_is_made(shops: ShopFactory) -> None:
    shop = shops()
    config(shop, lambda text: text.replace("{name: scratch}", "{name: scratch, target_branch: trunk}"))
    error = refused(shop, BadInput)
    assert "trunk" in error.message
    assert not (shop.state / "ledger.db").exists()


def test_bad_input_is_told_before_open_dependencies_and_those_before_a_busy_branch(shops: ShopFactory) -> None:
    shop = shops({"WP01": [], "WP02": ["WP01"]})
    git(shop.repo, "branch", f"feat/{FEATURE}-WP02")
    git(shop.repo, "worktree", "add", "-q", str(shop.tools / "mine"), f"feat/{FEATURE}-WP02")
    assert refused(shop, BadInput, "WP02", agent="nobody").exit_code == 2
    error = refused(shop, NotAllowed, "WP02")
    assert (error.code, error.details) == ("dependencies_open", {"open": ["WP01"]})


def test_a_finished_package_is_not_started_again(shops: ShopFactory) -> None:
    shop = shops(packages={"WP01": {"lane": "done"}})
    assert refused(shop, NotAllowed).code == "illegal_transition"


def test_a_package_at_work_is_busy_and_says_with_whom(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", "wait_for go; save src/wp01.txt x")
    first = start(shop)
    error = refused(shop, Busy)
    assert first.session.id in error.message
    assert "scripted" in error.message
    shop.go("go")
    assert attach.wait(shop.project, first.session.id).outcome == "completed"


def test_of_two_commands_that_race_one_wins_and_the_other_says_who_has_it(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", "wait_for go; save src/wp01.txt x")
    code = """
from agentpkg.core.errors import AgentpkgError
from agentpkg.engine.dispatching import dispatch
project = shop.project
feature = project.good_feature(shop.feature)
(shop.tools / f"ready.{sys.argv[1]}").touch()
while not (shop.tools / "released").exists():
    pass
try:
    print("started", dispatch.start(project, feature, "WP01", dispatch.Wish()).session.id)
except AgentpkgError as error:
    print("refused", error.exit_code, error.message)
"""
    both = [shop.python(code, name) for name in ("a", "b")]
    until(lambda: all((shop.tools / f"ready.{name}").exists() for name in ("a", "b")), what="both to be ready")
    (shop.tools / "released").touch()
    said = sorted(one.communicate(timeout=60)[0].strip() for one in both)
    assert said[0].startswith("refused 4")
    assert said[1].startswith("started sess_")
    assert said[1].split()[1] in said[0]
    assert len(shop.project.ledger.sessions()) == 1
    shop.go("go")
    attach.wait(shop.project, said[1].split()[1])


def test_a_branch_that_the_user_has_checked_out_is_left_alone(shops: ShopFactory) -> None:
    shop = shops()
    git(shop.repo, "worktree", "add", "-q", "-b", BRANCH, str(shop.tools / "mine"))
    error = refused(shop, NotAllowed)
    assert error.code == "branch_checked_out"
    assert str(shop.tools / "mine") in error.message


def test_a_folder_of_the_users_in_the_worktrees_place_is_left_alone(shops: ShopFactory) -> None:
    shop = shops()
    mine = shop.repo / ".worktrees" / f"{FEATURE}-WP01"
    mine.mkdir(parents=True)
    (mine / "notes").write_text("mine")
    assert refused(shop, NotAllowed).code == "path_in_the_way"
    assert (mine / "notes").read_text() == "mine"


@pytest.mark.slow
def test_a_refusal_that_only_shows_while_making_ends_the_session_as_a_failure_of_the_environment(
    shops: ShopFactory,
) -> None:
    shop = shops()
    # feat/… cannot be made beside a branch called feat
    git(shop.repo, "branch", "feat")
    with pytest.raises(NotAllowed, match="cannot be made"):
        start(shop)
    row = shop.row("WP01")
    assert (row.state, row.reason_class, row.failures) == (State.BLOCKED, FailureClass.ENVIRONMENT, 0)
    git(shop.repo, "branch", "-D", "feat")
    assert shop.implement("WP01").state is State.FOR_REVIEW


# --------------------------------------------------------------------------- what is made


def test_a_started_session_is_all_there(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", "wait_for go; save src/wp01.txt x")
    begun = start(shop)
    worktree = shop.repo / ".worktrees" / f"{FEATURE}-WP01"
    assert begun.worktree == worktree
    assert begun.branch == BRANCH
    folder = shop.state / "sessions" / begun.session.id
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (folder / "repository").read_text() == f"{shop.repo}/.git\n"
    assert str(folder / "git") in (worktree / ".git").read_text()
    assert git(shop.repo, "status", "--porcelain") == ""
    assert git(shop.repo, "rev-parse", BRANCH) == git(shop.repo, "rev-parse", "main") == begun.session.base
    assert "[branch" not in (shop.repo / ".git" / "config").read_text()
    row = until(lambda: (r := shop.project.ledger.session(begun.session.id)) and r.agent_pid and r)
    assert row.pid != os.getpid()
    assert begun.bundle.sha256 == row.prompt_sha256
    assert (folder / "prompt.md").read_text() == begun.bundle.prompt
    shop.go("go")
    attach.wait(shop.project, begun.session.id)
    shop.check()


def test_the_chain_says_what_the_session_was_started_with(shops: ShopFactory) -> None:
    shop = shops()
    shop.implement("WP01")
    entry = next(e for e in shop.project.ledger.entries(FEATURE, wp="WP01") if e.transition == "WP01:planned->doing")
    assert entry.actor == "agent:scripted"
    said = entry.metadata
    assert said["base"] == said["head"] == shop.tip()
    assert {"session", "epoch", "prompt_sha256", "wp_sha256", "spec_sha256", "config_sha256", "branch"} <= said.keys()


def test_a_branch_of_the_users_that_has_the_packages_name_is_left_alone(shops: ShopFactory) -> None:
    shop = shops()
    git(shop.repo, "switch", "-q", "-c", BRANCH)
    mine = commit(shop.repo, {"src/wp01.txt": "by hand\n"}, "feat(WP01): begun by hand")
    git(shop.repo, "switch", "-q", "main")
    for wish in ({}, {"fresh": True}):
        assert refused(shop, NotAllowed, **wish).code == "branch_in_the_way"
    assert git(shop.repo, "rev-parse", BRANCH) == mine


@pytest.mark.slow
def test_a_branch_behind_the_target_is_brought_forward(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", "exit 3", attempt=1)
    assert shop.implement("WP01").state is State.BLOCKED
    newer = commit(shop.repo, {"src/other.txt": "other\n"}, "the target moves")
    row = shop.implement("WP01")
    assert row.state is State.FOR_REVIEW
    assert row.base == newer
    assert git(shop.repo, "rev-parse", f"{BRANCH}~1") == newer


@pytest.mark.slow
def test_a_further_dispatch_continues_on_the_branch(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", "save src/wp01.txt one; exit 3", attempt=1)
    first = shop.implement("WP01")
    assert (first.state, first.commits) == (State.BLOCKED, 1)
    commit(shop.repo, {"src/other.txt": "other\n"}, "the target moves")
    shop.agent("WP01", "cat src/wp01.txt > seen; rm seen; save src/wp01-b.txt two", attempt=2)
    second = shop.implement("WP01")
    assert second.state is State.FOR_REVIEW
    assert git(shop.repo, "rev-parse", f"{BRANCH}~1") == first.head
    assert [s.epoch for s in shop.project.ledger.sessions()] == [1, 2]


@pytest.mark.slow
def test_fresh_starts_at_the_target_and_keeps_the_old_tip(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", "save src/wp01.txt one; exit 3", attempt=1)
    first = shop.implement("WP01")
    started = start(shop, fresh=True)
    attach.wait(shop.project, started.session.id)
    assert started.session.old_head == shop.tip()
    kept = git(shop.repo, "for-each-ref", "--format=%(objectname)", "refs/agentpkg/abandoned/")
    assert kept == first.head
    assert git(shop.repo, "rev-parse", f"{BRANCH}~1") == shop.tip()


@pytest.mark.slow
def test_fresh_does_not_throw_away_what_lies_uncommitted_in_the_worktree(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", "save src/wp01.txt one; echo draft > src/draft.txt; exit 3", attempt=1)
    shop.implement("WP01")
    error = refused(shop, NotAllowed, fresh=True)
    assert error.code == "worktree_kept"
    assert "src/draft.txt" in error.message


@pytest.mark.slow
def test_what_a_failed_try_left_uncommitted_is_there_for_the_next_one_even_when_the_target_moved(
    shops: ShopFactory,
) -> None:
    shop = shops()
    shop.agent("WP01", "mkdir -p src; echo draft > src/wp01.txt; exit 3", attempt=1)
    assert shop.implement("WP01").state is State.BLOCKED
    commit(shop.repo, {"src/other.txt": "other\n"}, "the target moves")
    shop.agent("WP01", "git add -A; git commit -q -m 'feat(WP01): finish the draft'", attempt=2)
    assert shop.implement("WP01").state is State.FOR_REVIEW
    assert shop.show("src/wp01.txt", BRANCH) == "draft"


@pytest.mark.slow
def test_a_worktree_deleted_by_hand_is_made_anew_and_its_commits_are_there(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", "save src/wp01.txt one; exit 3", attempt=1)
    shop.implement("WP01")
    git(shop.repo, "worktree", "remove", "--force", f".worktrees/{FEATURE}-WP01")
    shop.agent("WP01", "test -e src/wp01.txt && save src/wp01-b.txt two", attempt=2)
    assert shop.implement("WP01").state is State.FOR_REVIEW


def test_a_person_can_give_the_time_on_the_command_line(shops: ShopFactory) -> None:
    shop = shops()
    begun = start(shop, timeout=7)
    plan = json.loads((shop.state / "sessions" / begun.session.id / "launch.json").read_text())
    assert plan["timeout_seconds"] == 7
    attach.wait(shop.project, begun.session.id)


@pytest.mark.slow
def test_the_dispatcher_may_end_as_soon_as_it_has_started_a_session(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", "wait_for go; save src/wp01.txt x")
    code = """
from agentpkg.engine.dispatching import dispatch
project = shop.project
print(dispatch.start(project, project.good_feature(shop.feature), "WP01", dispatch.Wish()).session.id)
"""
    session = shop.python(code).communicate(timeout=30)[0].strip()
    assert recovery.reconcile(shop.project) == []
    assert shop.row("WP01").state is State.DOING
    shop.go("go")
    assert attach.wait(shop.project, session).outcome == "completed"


@pytest.mark.slow
def test_same_inputs_give_the_same_prompt_bytes_in_another_place_at_another_time(shops: ShopFactory) -> None:
    one, other = shops(), shops()
    first, second = start(one), start(other)
    assert first.bundle.prompt.encode() == second.bundle.prompt.encode()
    assert first.bundle.sha256 == second.bundle.sha256
    for shop, begun in ((one, first), (other, second)):
        assert begun.session.id not in begun.bundle.prompt
        assert str(shop.repo) not in begun.bundle.prompt
        attach.wait(shop.project, begun.session.id)


@pytest.mark.slow
def test_many_packages_start_at_once(shops: ShopFactory) -> None:
    shop = shops({f"WP{i:02d}": [] for i in range(1, 5)})
    code = """
from agentpkg.engine import attach
from agentpkg.engine.dispatching import dispatch
project = shop.project
started = dispatch.start(project, project.good_feature(shop.feature), sys.argv[1], dispatch.Wish())
print(attach.wait(project, started.session.id).outcome)
"""
    names = [f"WP{i:02d}" for i in range(1, 5)]
    processes = [shop.python(code, name) for name in names]
    assert [p.communicate(timeout=60)[0].strip() for p in processes] == ["completed"] * 4
    assert set(shop.states().values()) == {State.FOR_REVIEW}
    # none of them is told of the others' doings
    for entry in shop.project.ledger.entries(FEATURE):
        assert "reports" not in entry.metadata, entry.metadata["reports"]
    shop.check()
