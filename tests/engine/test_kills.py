"""Processes killed at every step of a session: the next command finishes or undoes it, and nothing is lost."""

import json
import os
import shutil
import signal
import sqlite3
from pathlib import Path

import pytest

from agentpkg.core.model import FailureClass, State
from agentpkg.core.records import SessionRow
from agentpkg.engine import attach
from agentpkg.engine.dispatching import dispatch
from agentpkg.engine.upkeep import recovery
from tests.support import engine_kill
from tests.support.engine_shop import FEATURE, Shop, ShopFactory
from tests.support.matrix import points
from tests.support.repos import git
from tests.support.wait import until

BRANCH = f"feat/{FEATURE}-WP01"

_DISPATCH = """
from agentpkg.engine.dispatching import dispatch
project = shop.project
print(dispatch.start(project, project.good_feature(shop.feature), "WP01", dispatch.Wish()).session.id, flush=True)
"""

#: every step of a dispatch, in order; before the first of the second part there is no lease
BEFORE_LEASE = (
    "agentpkg.engine.dispatching.preparing:prepare:return",
    "agentpkg.engine.transition.registration:register:return",
    "agentpkg.engine.dispatching.prompting:bundle:return",
    "agentpkg.engine.dispatching.launching:write_folder:return",
    "agentpkg.engine.transition.sessions:start:return",
)
AFTER_LEASE = (
    "agentpkg.engine.dispatching.dispatch:_take_lease:return",
    "agentpkg.git.worktrees:ensure_excluded:return",
    "agentpkg.git.worktrees:_begin_branch:return",
    "agentpkg.git.worktrees:_add:return",
    "agentpkg.git.worktrees:_fill:return",
    "agentpkg.git.worktrees:create:return",
    "agentpkg.git.provision:provide:return",
    "agentpkg.git.private:make_private:call",
    "agentpkg.git.private:make_private:return",
    "agentpkg.engine.supervising.plan:write:return",
    "agentpkg.engine.supervising.tampering:remember:return",
    "agentpkg.git.private:enter:return",
)
#: from here on the supervisor goes on without its dispatcher
SPAWNED = (
    "agentpkg.engine.dispatching.launching:spawn:return",
    "agentpkg.engine.supervising.lease:take:call",
    "agentpkg.engine.supervising.lease:take:return",
)

#: a supervisor's steps while the agent has not ended by itself yet
RUNNING = (
    "__main__:main:call",
    "agentpkg.sessions.watcher:start:return",
    "__main__:_claim:return",
    "__main__:_set_up:return",
    "__main__:_started:return",
)
#: and from the moment that all is known of it
CONCLUDING = (
    "agentpkg.engine.supervising.gathering:gather:call",
    "agentpkg.engine.supervising.tampering:look:return",
    "agentpkg.git.snapshots:snapshot:return",
    "agentpkg.git.admission:admit:return",
    "agentpkg.engine.supervising.gathering:gather:return",
    "agentpkg.git.private:leave:return",
    "agentpkg.git.quarantine:seal:call",
    "agentpkg.git.quarantine:seal:return",
    "agentpkg.engine.transition.sessions:finish:return",
)


def start(shop: Shop) -> SessionRow:
    project = shop.project
    return dispatch.start(project, project.good_feature(shop.feature), "WP01", dispatch.Wish()).session


def kill_dispatcher(shop: Shop, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    for name, value in engine_kill.environment(shop.tools / "hook", "engine_shop", point).items():
        monkeypatch.setenv(name, value)
    child = shop.python(_DISPATCH)
    child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL
    monkeypatch.delenv("TEST_KILL_WHICH")


def kill_supervisor(shop: Shop, monkeypatch: pytest.MonkeyPatch, point: str) -> SessionRow:
    for name, value in engine_kill.environment(shop.tools / "hook", "engine.supervising.supervisor", point).items():
        monkeypatch.setenv(name, value)
    row = start(shop)
    monkeypatch.delenv("TEST_KILL_WHICH")
    until(lambda: recovery.is_dead(shop.project.ledger.session(row.id) or row), what="the supervisor's death")
    return row


def as_undisturbed(shop: Shop, tries: int) -> None:
    """The package is where an undisturbed session would have brought it."""
    row = shop.row("WP01")
    assert (row.state, row.failures, row.head) == (State.FOR_REVIEW, 0, git(shop.repo, "rev-parse", BRANCH))
    assert git(shop.repo, "show", f"{BRANCH}:src/wp01.txt").startswith("by WP01")
    worktree = shop.repo / ".worktrees" / f"{FEATURE}-WP01"
    assert git(worktree, "status", "--porcelain") == ""
    assert git(worktree, "rev-parse", "HEAD") == row.head
    assert git(shop.repo, "status", "--porcelain") == ""
    assert len(git(shop.repo, "worktree", "list").splitlines()) == 2
    git(shop.repo, "fsck", "--connectivity-only")
    sessions = shop.project.ledger.sessions()
    assert len(sessions) <= tries
    assert all(s.ended_at for s in sessions)
    assert not list((shop.state / "sessions").glob("*/git"))
    assert not [name for name in os.listdir(shop.repo / ".git" / "objects") if name.startswith("incoming")]
    shop.check()


@pytest.mark.slow
@pytest.mark.parametrize("point", points(BEFORE_LEASE))
def test_a_dispatcher_killed_before_the_lease_leaves_nothing_that_counts(
    shops: ShopFactory, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    shop = shops()
    kill_dispatcher(shop, monkeypatch, point)
    assert recovery.reconcile(shop.project) == []
    assert shop.project.ledger.sessions() == []
    shop.implement("WP01")
    as_undisturbed(shop, 1)


@pytest.mark.slow
@pytest.mark.parametrize("point", points(AFTER_LEASE))
def test_a_dispatcher_killed_between_lease_and_supervisor_is_found_and_the_next_try_works(
    shops: ShopFactory, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    shop = shops()
    kill_dispatcher(shop, monkeypatch, point)
    assert shop.row("WP01").state is State.DOING
    assert len(recovery.reconcile(shop.project)) == 1
    row = shop.row("WP01")
    assert (row.state, row.reason_class, row.failures) == (State.BLOCKED, FailureClass.ENVIRONMENT, 0)
    assert recovery.reconcile(shop.project) == []
    shop.implement("WP01")
    as_undisturbed(shop, 2)


@pytest.mark.slow
@pytest.mark.parametrize("point", points(SPAWNED))
def test_a_supervisor_whose_dispatcher_is_killed_goes_on(
    shops: ShopFactory, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    shop = shops()
    shop.agent("WP01", 'wait_for go; save src/wp01.txt "by WP01"')
    kill_dispatcher(shop, monkeypatch, point)
    (row,) = shop.project.ledger.sessions(live=True)
    until(lambda: (shop.project.ledger.session(row.id) or row).agent_pid)
    assert recovery.reconcile(shop.project) == []
    shop.go("go")
    assert attach.wait(shop.project, row.id).outcome == "completed"
    as_undisturbed(shop, 1)


@pytest.mark.slow
@pytest.mark.parametrize("point", points(RUNNING))
def test_a_supervisor_killed_before_its_agent_has_ended_is_the_environments_failure(
    shops: ShopFactory, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    shop = shops()
    shop.agent("WP01", "wait_for never", attempt=1)
    row = kill_supervisor(shop, monkeypatch, point)
    assert len(recovery.reconcile(shop.project)) == 1
    package = shop.row("WP01")
    assert (package.state, package.reason_class, package.failures) == (State.BLOCKED, FailureClass.ENVIRONMENT, 0)
    assert (shop.project.ledger.session(row.id) or row).outcome == "failed"
    shop.agent("WP01", 'save src/wp01.txt "by WP01"', attempt=1)
    shop.agent("WP01", 'save src/wp01.txt "by WP01"', attempt=2)
    shop.implement("WP01")
    as_undisturbed(shop, 2)


@pytest.mark.parametrize("point", points(CONCLUDING))
def test_a_supervisor_killed_while_it_concludes_ends_as_it_would_have(
    shops: ShopFactory, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    shop = shops()
    row = kill_supervisor(shop, monkeypatch, point)
    assert len(recovery.reconcile(shop.project)) == 1
    ended = shop.project.ledger.session(row.id)
    assert ended
    assert (ended.outcome, ended.commits, ended.files_changed, ended.exit_code) == ("completed", 1, 1, 0)
    assert not [e for e in shop.project.ledger.entries(FEATURE) if "reports" in e.metadata]
    as_undisturbed(shop, 1)
    with sqlite3.connect(shop.state / "ledger.db") as db:
        told = [subject for (subject,) in db.execute("SELECT subject FROM events")]
    assert told.count(f"agent.job.{row.id}.commit") == told.count(f"agent.job.{row.id}.completed") == 1


@pytest.mark.slow
def test_commits_of_a_session_whose_supervisor_died_come_in_and_count_in_the_next_try(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", 'save src/wp01.txt "by WP01"; touch "$here/here"; wait_for never', attempt=1)
    begun = start(shop)
    until((shop.tools / "here").exists)
    row = until(lambda: (r := shop.project.ledger.session(begun.id)) and r.agent_pid and r)
    assert row.pid
    assert row.agent_pid
    os.kill(row.pid, signal.SIGKILL)
    until(lambda: not _alive(row.agent_pid or 0), what="the watcher to end the agent")
    # as an agent has it that tells what it uses
    sign = shop.state / "sessions" / row.id / "pulse.json"
    sign.write_text(json.dumps({**json.loads(sign.read_text()), "used": {"input_tokens": 7}}))
    ended = attach.wait(shop.project, begun.id)
    assert (ended.outcome, ended.reason_class, ended.commits) == ("failed", FailureClass.ENVIRONMENT, 1)
    assert ended.usage == {"input_tokens": 7}
    # the next agent finds all done, and commits nothing
    shop.agent("WP01", 'test "$(cat src/wp01.txt)" = "by WP01"', attempt=2)
    shop.implement("WP01")
    assert shop.project.ledger.sessions()[-1].commits == 0
    as_undisturbed(shop, 2)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.mark.slow
def test_a_session_goes_on_when_its_watcher_is_killed(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", 'wait_for go; save src/wp01.txt "by WP01"')
    begun = start(shop)
    row = until(lambda: (r := shop.project.ledger.session(begun.id)) and r.agent_pid and r)
    watcher = int(Path(f"/proc/{row.pid}/stat").read_text().rpartition(")")[2].split()[1])
    assert watcher != os.getpid()
    os.kill(watcher, signal.SIGKILL)
    until(lambda: not _alive(watcher))
    assert recovery.reconcile(shop.project) == []
    shop.go("go")
    assert attach.wait(shop.project, begun.id).outcome == "completed"
    as_undisturbed(shop, 1)


@pytest.mark.slow
def test_when_both_are_killed_the_next_command_ends_what_carries_the_mark(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", 'echo $$ > "$here/pid"; wait_for never', attempt=1)
    begun = start(shop)
    until((shop.tools / "pid").exists)
    row = until(lambda: (r := shop.project.ledger.session(begun.id)) and r.agent_pid and r)
    assert row.pid
    watcher = int(Path(f"/proc/{row.pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(watcher, signal.SIGKILL)
    os.kill(row.pid, signal.SIGKILL)
    ended = attach.wait(shop.project, begun.id)
    assert ended.reason_class is FailureClass.ENVIRONMENT
    assert not _alive(int((shop.tools / "pid").read_text()))


@pytest.mark.slow
def test_of_commands_that_find_a_dead_supervisor_at_once_one_ends_the_session(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", 'save src/wp01.txt "by WP01"; touch "$here/here"; wait_for never', attempt=1)
    begun = start(shop)
    until((shop.tools / "here").exists)
    row = until(lambda: (r := shop.project.ledger.session(begun.id)) and r.agent_pid and r)
    assert row.pid
    os.kill(row.pid, signal.SIGKILL)
    until(lambda: not _alive(row.pid or 0))
    code = (
        "from agentpkg.engine.upkeep import recovery\nproject = shop.project\nprint(len(recovery.reconcile(project)))"
    )
    children = [shop.python(code) for _ in range(3)]
    done = [child.communicate(timeout=60) for child in children]
    assert sorted(out.strip() for out, _ in done) == ["0", "0", "1"], done
    assert shop.transitions("WP01") == ["WP01:none->planned", "WP01:planned->doing", "WP01:doing->blocked"]
    assert git(shop.repo, "show", f"{BRANCH}:src/wp01.txt") == "by WP01"


@pytest.mark.slow
def test_a_command_killed_while_it_ends_a_dead_session_is_followed_by_the_next(
    shops: ShopFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = shops()
    kill_supervisor(shop, monkeypatch, "agentpkg.git.private:leave:return")
    for name, value in engine_kill.environment(
        shop.tools / "hook", "engine_shop", "agentpkg.git.quarantine:seal:return"
    ).items():
        monkeypatch.setenv(name, value)
    child = shop.python("from agentpkg.engine.upkeep import recovery\nrecovery.reconcile(shop.project)")
    child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL
    monkeypatch.delenv("TEST_KILL_WHICH")
    assert len(recovery.reconcile(shop.project)) == 1
    as_undisturbed(shop, 1)


@pytest.mark.slow
def test_without_its_secrets_an_orphans_commits_stay_in_quarantine(
    shops: ShopFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = shops()
    path = shop.repo / ".kittify" / "config.yaml"
    path.write_text(path.read_text().replace("retries: 0", "retries: 0, environment: {T: '${{ secrets.MY_TOKEN }}'}"))
    shop.save("configuration")
    monkeypatch.setenv("MY_TOKEN", "a-secret-of-some-length")
    row = kill_supervisor(shop, monkeypatch, "agentpkg.engine.supervising.tampering:look:return")
    monkeypatch.delenv("MY_TOKEN")
    recovery.reconcile(shop.project)
    package = shop.row("WP01")
    assert (package.state, package.reason_class, package.failures) == (State.BLOCKED, FailureClass.ENVIRONMENT, 0)
    quarantine = shop.state / "sessions" / row.id / "quarantine.git"
    assert git(quarantine, "for-each-ref", f"refs/session/heads/{BRANCH}")
    assert git(shop.repo, "rev-parse", BRANCH) == shop.tip()


@pytest.mark.slow
def test_a_git_that_is_killed_under_a_conclusion_costs_nothing(
    shops: ShopFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One process that the kernel kills for want of memory, say; the supervisor that started it lives."""
    shop, real = shops(), shutil.which("git")
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    # bash, since a plain sh may run a last command in its own place
    fake.write_text(f"""#!/bin/bash
case "$*" in *quarantine.git*--batch-check*) mkdir {tmp_path}/once 2>/dev/null && kill -9 $$;; esac
exec {real} "$@"
""")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}:{os.environ['PATH']}")
    shop.implement("WP01")
    assert (tmp_path / "once").exists()
    as_undisturbed(shop, 1)
