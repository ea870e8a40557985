"""Whether a session lives is never told wrongly, and who has lost one changes nothing any more."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from agentpkg import proc
from agentpkg.core.errors import Busy
from agentpkg.core.life import Facts, Life, LifeState, derive
from agentpkg.core.model import State
from agentpkg.core.records import SessionRow
from agentpkg.engine import attach, looking, moving
from agentpkg.engine.dispatching import dispatch
from agentpkg.engine.supervising import control, insisting, lease
from agentpkg.engine.upkeep import recovery
from agentpkg.sessions.pulse import read_members, read_pulse
from tests.support import engine_kill
from tests.support.engine_shop import FEATURE, Shop, ShopFactory
from tests.support.repos import git
from tests.support.wait import until

BRANCH = f"feat/{FEATURE}-WP01"
LINUX = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


def start(shop: Shop, wp: str = "WP01") -> SessionRow:
    project = shop.project
    return dispatch.start(project, project.good_feature(shop.feature), wp, dispatch.Wish()).session


def supervised(shop: Shop, row: SessionRow) -> SessionRow:
    """The session's row, once its agent runs and its supervisor has given a sign of it."""

    def running() -> bool:
        pulse = read_pulse(shop.state / "sessions" / row.id)
        return pulse is not None and pulse.phase == "running"

    until(running, what="a sign of life")
    found = shop.project.ledger.session(row.id)
    assert found is not None
    assert found.pid is not None
    return found


def life(shop: Shop) -> Life:
    ((_, found),) = looking.lives(shop.project)
    return found


def stop(pid: int | None) -> None:
    """Stops a process, and waits until it is."""
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    until(lambda: (found := proc.look(pid)) is not None and found.stopped, what="the stop")


def gone(pid: int) -> bool:
    found = proc.look(pid)
    return found is None or found.zombie


# --------------------------------------------------------------------------- what is shown


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        (Facts(alive=None, phase="running", silence=999), LifeState.UNKNOWN),
        (Facts(alive=False, phase="running"), LifeState.LOST),
        (Facts(alive=True), LifeState.STARTING),
        (Facts(alive=True, phase="setup", unanswered=1), LifeState.STARTING),
        (Facts(alive=True, phase="running", unanswered=1), LifeState.RUNNING),
        (Facts(alive=True, phase="running", unanswered=1, silence=61), LifeState.SILENT),
        (Facts(alive=True, phase="running", unanswered=1, silence=61, asking=True), LifeState.WAITING),
        (Facts(alive=True, phase="running", unanswered=1, stopping="memory"), LifeState.STOPPING),
        (Facts(alive=True, phase="running", unanswered=60), LifeState.NOT_ANSWERING),
        (Facts(alive=True, phase="running", unanswered=1, stopped=True), LifeState.NOT_ANSWERING),
        # it takes as long as it takes, and says nothing meanwhile
        (Facts(alive=True, phase="ending", unanswered=60), LifeState.ENDING),
    ],
)
def test_what_is_shown_follows_from_facts(facts: Facts, state: LifeState) -> None:
    assert derive(facts).state is state


def test_since_when_it_is_silent_is_when_it_was_last_heard(shops: ShopFactory) -> None:
    at = "2026-03-02T12:00:00.000000Z"
    assert derive(Facts(alive=True, phase="running", heard_at=at, silence=100)).since == at
    assert derive(Facts(alive=True, phase="running", heard_at=at, silence=1)).since is None


@LINUX
def test_a_process_that_cannot_be_judged_is_not_dead() -> None:
    me = proc.identity(os.getpid())
    assert me is not None
    machine, boot, namespace = me.boot_id.split(".")
    assert proc.alive(me) is True
    # the name of a machine may change while it runs
    assert proc.alive(replace(me, boot_id=f"{machine.partition('-')[0]}-renamed.{boot}.{namespace}")) is True
    assert proc.alive(replace(me, boot_id=f"{machine}.{boot}.1")) is None
    assert proc.alive(replace(me, boot_id=f"another.other.{namespace}")) is None
    assert proc.alive(replace(me, boot_id="")) is None
    # certain: the machine was started anew, the pid is somebody else's, there is no such process
    assert proc.alive(replace(me, boot_id=f"{machine}.earlier.{namespace}")) is False
    assert proc.alive(replace(me, started="1")) is False
    assert proc.alive(replace(me, pid=(1 << 22) - 1)) is False


@pytest.mark.slow
@LINUX
def test_a_session_elsewhere_is_unknown_and_left_alone(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", "wait_for go; save src/wp01.txt x")
    row = supervised(shop, start(shop))
    elsewhere = replace(row, boot_id="another.boot.1")
    with shop.project.ledger.write() as tx:
        tx.put_session(elsewhere)
    assert life(shop).state is LifeState.UNKNOWN
    assert recovery.reconcile(shop.project) == []
    warnings = looking.see(shop.project, shop.project.good_feature(FEATURE))
    assert not warnings.life[row.id].well
    shop.go("go")
    assert attach.wait(shop.project, row.id).outcome == "completed"


@pytest.mark.slow
def test_a_running_session_is_running_and_was_heard_of(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", "echo hello; wait_for go; save src/wp01.txt x")
    row = supervised(shop, start(shop))
    until(lambda: life(shop).heard_at, what="a word")
    assert life(shop).state is LifeState.RUNNING
    shop.go("go")
    attach.wait(shop.project, row.id)
    assert looking.lives(shop.project) == []


# --------------------------------------------------------------------------- a supervisor that is stopped


@pytest.mark.slow
@LINUX
def test_a_stopped_supervisor_is_alive_does_not_answer_and_keeps_its_session(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", "wait_for go; save src/wp01.txt x")
    row = supervised(shop, start(shop))
    stop(row.pid)
    assert life(shop).state is LifeState.NOT_ANSWERING
    assert f"process {row.pid} is stopped" in life(shop).detail
    assert recovery.reconcile(shop.project) == []
    with pytest.raises(Busy):
        start(shop)
    found = shop.project.ledger.session(row.id)
    assert found is not None
    assert (found.ended_at, found.pid) == (None, row.pid)
    assert row.pid is not None
    os.kill(row.pid, signal.SIGCONT)
    shop.go("go")
    assert attach.wait(shop.project, row.id).outcome == "completed"


@pytest.mark.slow
@LINUX
def test_cancel_ends_a_session_whose_supervisor_and_watcher_are_stopped(shops: ShopFactory) -> None:
    shop = shops()
    shop.agent("WP01", "save src/wp01.txt x; touch $here/here; wait_for never")
    row = supervised(shop, start(shop))
    until((shop.tools / "here").exists)
    supervisor = proc.look(row.pid or 0)
    assert supervisor is not None
    stop(supervisor.parent)
    stop(supervisor.pid)
    assert moving.cancel(shop.project, FEATURE, "WP01", "enough").state is State.CANCELLED
    ended = shop.project.ledger.session(row.id)
    assert ended is not None
    assert (ended.outcome, ended.reason, ended.commits) == ("cancelled", "enough", 1)
    until(lambda: gone(supervisor.pid) and gone(supervisor.parent), what="their end")


@LINUX
@pytest.mark.slow
def test_who_stops_the_supervisor_does_not_stop_the_clock(shops: ShopFactory) -> None:
    shop = shops(packages={"WP01": {"timeout_seconds": 2}})
    shop.agent("WP01", "save src/wp01.txt x; kill -STOP $PPID; wait_for never")
    row = start(shop)
    until(lambda: life(shop).state is LifeState.NOT_ANSWERING, what="the stop")
    ended = until(lambda: (r := shop.project.ledger.session(row.id)) and r.ended_at and r, 40, "the end")
    assert (ended.outcome, ended.commits) == ("timeout", 1)


_HANG = """
import os, sys
def hook(frame, event, arg):
    if event == "call" and frame.f_code.co_name == "_look_for_commits":
        while True: pass
if any("engine.supervising.supervisor" in word for word in sys.orig_argv) and os.environ.get("TEST_HANG"):
    sys.setprofile(hook)
"""


@LINUX
@pytest.mark.slow
@pytest.mark.exhaustive
def test_cancel_ends_a_session_whose_supervisor_hangs(shops: ShopFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = shops()
    shop.agent("WP01", "save src/wp01.txt x; echo $$ > $here/pid; wait_for never")
    hook = shop.tools / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(_HANG)
    monkeypatch.setenv("PYTHONPATH", str(hook))
    monkeypatch.setenv("TEST_HANG", "1")
    row = start(shop)
    monkeypatch.delenv("TEST_HANG")
    until((shop.tools / "pid").exists)
    until(lambda: life(shop).state is LifeState.NOT_ANSWERING, what="silence of the supervisor")
    assert recovery.reconcile(shop.project) == []
    begun = time.monotonic()
    assert moving.cancel(shop.project, FEATURE, "WP01", "enough").state is State.CANCELLED
    assert time.monotonic() - begun < 45
    ended = shop.project.ledger.session(row.id)
    assert ended is not None
    assert ended.commits == 1
    assert git(shop.repo, "show", f"{BRANCH}:src/wp01.txt") == "x"
    agent = int((shop.tools / "pid").read_text())
    until(lambda: gone(agent), what="the agent's end")


def test_a_person_is_told_when_a_session_cannot_be_ended_from_here(shops: ShopFactory) -> None:
    shop = shops()
    patience = insisting.Patience(shop.project, "sess_nobody", hopeless=0.0)
    with pytest.raises(Busy, match="does not answer"):
        until(patience.look)


# --------------------------------------------------------------------------- a session that was taken over

#: where an old supervisor is stopped, while its agent has ended or will not go on by itself
POINTS = (
    "__main__:_claim:return",
    "__main__:_started:call",
    "__main__:_tell_commits:call",
    "__main__:_conclude:call",
    "agentpkg.engine.supervising.lease:acting:call",
)
#: within these it holds the session's lock: nobody can take the session over
INSIDE = (
    "agentpkg.engine.supervising.gathering:gather:call",
    "agentpkg.git.admission:admit:call",
    "agentpkg.git.admission:admit:return",
    "agentpkg.git.private:leave:call",
    "agentpkg.engine.supervising.conclude:_end:return",
)


def stopped_at(shop: Shop, monkeypatch: pytest.MonkeyPatch, point: str) -> SessionRow:
    """A session whose supervisor has stopped itself at a point."""
    hook = engine_kill.environment(shop.tools / "hook", "engine.supervising.supervisor", point, signal.SIGSTOP)
    for name, value in hook.items():
        monkeypatch.setenv(name, value)
    begun = start(shop)
    monkeypatch.delenv("TEST_KILL_WHICH")

    def supervisor() -> SessionRow | None:
        row = shop.project.ledger.session(begun.id)
        found = proc.look(row.pid) if row is not None and row.pid else None
        return row if found is not None and found.stopped else None

    found = until(supervisor, what="the supervisor's stop")
    assert found is not None
    return found


def everything(shop: Shop) -> object:
    """All that a session may change."""
    worktree = shop.repo / ".worktrees" / f"{FEATURE}-WP01"
    files = {path: path.read_bytes() for path in sorted(worktree.rglob("*")) if path.is_file()}
    with shop.project.ledger.snapshot() as look:
        rows = look.packages(), look.sessions(), [entry.hash for entry in look.entries(FEATURE)]
        events = [(event.subject, event.payload) for event in look.events(0)]
    admin = shop.repo / ".git" / "worktrees" / f"{FEATURE}-WP01"
    return git(shop.repo, "for-each-ref", "refs/heads"), files, rows, events, (admin / "HEAD").read_text()


def let_go(old: proc.Process, named: bool) -> None:
    """Lets an old supervisor go on, to its end.

    Args:
        named: its session's list of processes, which is written half a second after the set-up, names its watcher. Who
            takes a session over ends all that the list names, and what descends from it, which the supervisor does.
    """
    found = proc.look(old.pid)
    if named:
        assert gone(old.pid)
        return
    assert found is not None
    assert (found.started, found.stopped) == (old.started, True)
    proc.send(found, signal.SIGCONT)
    until(lambda: gone(found.pid), what="the end of the old supervisor")


@pytest.mark.slow
@LINUX
@pytest.mark.parametrize("point", POINTS)
def test_an_old_supervisor_that_wakes_up_changes_nothing(
    shops: ShopFactory, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    shop = shops()
    # commits are told while it runs
    shop.agent("WP01", "save src/wp01.txt old; " + ("wait_for never" if "_tell_commits" in point else ""))
    old = stopped_at(shop, monkeypatch, point)
    assert old.pid is not None
    supervisor = proc.look(old.pid)
    assert supervisor is not None
    named = supervisor.parent in read_members(shop.state / "sessions" / old.id)
    # as somebody may see it who cannot see that it lives
    assert lease.take(shop.project.ledger, old.id, os.getpid(), lambda row: True)
    recovery.conclude_orphan(shop.project, old)
    ended = shop.project.ledger.session(old.id)
    assert ended is not None
    assert ended.outcome in ("failed", "completed")
    shop.agent("WP01", "save src/wp01.txt new")
    before = everything(shop)
    let_go(supervisor, named)
    assert everything(shop) == before
    assert attach.wait(shop.project, start(shop).id).outcome == "completed"
    assert git(shop.repo, "show", f"{BRANCH}:src/wp01.txt") == "new"


@pytest.mark.slow
@LINUX
@pytest.mark.parametrize("point", INSIDE)
def test_a_session_cannot_be_taken_over_from_one_that_is_just_ending_it(
    shops: ShopFactory, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    shop = shops()
    old = stopped_at(shop, monkeypatch, point)
    assert not lease.take(shop.project.ledger, old.id, os.getpid(), lambda row: True, patience=0)
    found = shop.project.ledger.session(old.id)
    assert found is not None
    assert found.pid == old.pid
    # a person's word: it is woken, and ends what it began
    control.interrupt(shop.project.state, old.id, "human:ada")
    assert attach.wait(shop.project, old.id).outcome == "completed"


@LINUX
@pytest.mark.slow
def test_a_cancelled_session_that_stopped_while_it_ended_is_ended(
    shops: ShopFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = shops()
    stopped_at(shop, monkeypatch, "agentpkg.git.admission:admit:return")
    assert moving.cancel(shop.project, FEATURE, "WP01", "enough").state is State.CANCELLED
