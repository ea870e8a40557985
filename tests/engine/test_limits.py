"""Limits of a session and of all sessions together, from the configuration to the ledger."""

import json
import sys

import pytest

from agentpkg.core.model import FailureClass, State
from agentpkg.core.records import SessionRow
from agentpkg.engine import attach
from agentpkg.engine.dispatching import dispatch
from tests.support.engine_shop import FEATURE, Shop, ShopFactory
from tests.support.repos import git
from tests.support.wait import until

MB = 1 << 20


def start(shop: Shop, wp: str = "WP01") -> SessionRow:
    project = shop.project
    return dispatch.start(project, project.good_feature(shop.feature), wp, dispatch.Wish()).session


def session(shop: Shop, wp: str = "WP01") -> SessionRow:
    return attach.wait(shop.project, start(shop, wp).id)


def eat(megabytes: int) -> str:
    """A command that takes so much memory and keeps it."""
    return f"{sys.executable} -c \"import time; x = bytearray(b'x') * ({megabytes} << 20); time.sleep(60)\""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limits", "script", "reason"),
    [
        ("memory: 100000000", eat(150), "memory"),
        ("processes: 20", "for i in $(seq 40); do sleep 60 & done; wait", "processes"),
        ("disk: 10000000", "head -c 9000000 /dev/zero > a; head -c 9000000 /dev/zero > b; sleep 60", "disk"),
    ],
)
def test_a_session_that_exceeds_a_limit_has_failed_and_its_work_is_kept(
    shops: ShopFactory, limits: str, script: str, reason: str
) -> None:
    shop = shops(more=f"limits: {{{limits}}}\n")
    shop.agent("WP01", f"save src/wp01.txt x; echo more > src/wp01-more.txt; {script}")
    row = session(shop)
    assert (row.outcome, row.reason_class, row.commits) == ("failed", FailureClass.LIMIT, 1)
    bound = limits.split()[-1]
    assert (row.reason or "").startswith(f"{reason}: ")
    assert f"the limit is {bound}" in (row.reason or "")
    package = shop.row("WP01")
    assert (package.state, package.failures) == (State.BLOCKED, 1)
    assert git(shop.repo, "rev-parse", package.branch or "") == row.new_head
    said = list(shop.project.ledger.entries(FEATURE, wp="WP01"))[-1].metadata
    assert said["cause"] == reason
    assert said["snapshot"]
    worktree = shop.repo / ".worktrees" / f"{FEATURE}-WP01"
    assert (worktree / "src" / "wp01-more.txt").read_text() == "more\n"


@pytest.mark.slow
def test_limits_hold_while_the_worktree_is_set_up_and_are_not_the_agents_fault(shops: ShopFactory) -> None:
    setup = "for i in $(seq 40); do sleep 60 & done; wait"
    shop = shops(more=f"limits: {{processes: 20}}\nworktree: {{setup: ['{setup}']}}\n")
    row = session(shop)
    assert (row.outcome, row.reason_class) == ("failed", FailureClass.ENVIRONMENT)
    assert "was stopped: processes: it had " in (row.reason or "")
    assert shop.order() == []


@pytest.mark.slow
def test_processor_time_of_processes_that_lost_their_parents_counts(shops: ShopFactory) -> None:
    shop = shops(more="limits: {cpu: 2}\n")
    shop.agent("WP01", "while :; do (sh -c 'i=0; while [ $i -lt 90000 ]; do i=$((i + 1)); done' &); sleep 0.2; done")
    row = session(shop)
    assert (row.outcome, (row.reason or "").split(":")[0]) == ("failed", "cpu")


@pytest.mark.slow
def test_a_fork_storm_ends_by_itself_and_without_a_trace(shops: ShopFactory) -> None:
    shop = shops(more="limits: {processes: 300}\n")
    # bounded by itself too, for the sake of the machine: 2000 processes
    shop.agent("WP01", "storm() { [ $1 = 11 ] || { storm $(($1 + 1)) & storm $(($1 + 1)) & }; sleep 60; }; storm 1")
    row = session(shop)
    assert (row.outcome, (row.reason or "").split(":")[0]) == ("failed", "processes")
    until(lambda: not [pid for pid in shop.processes() if b"agent.sh" in _argv(pid)], what="the end of the storm")
    assert session_again(shop) == "completed"


def _argv(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except OSError:
        return b""


def session_again(shop: Shop) -> object:
    shop.agent("WP01", "save src/wp01.txt y")
    return session(shop).outcome


@pytest.mark.slow
def test_of_all_sessions_together_the_largest_ends_and_the_others_go_on(
    shops: ShopFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTPKG_RUN_LIMITS_MEMORY", "300000000")
    shop = shops({"WP01": [], "WP02": []})
    shop.agent("WP01", f"{eat(120)} & touch $here/one; wait_for go; save src/wp01.txt x")
    shop.agent("WP02", f"wait_for one; {eat(250)}")
    small = start(shop, "WP01")
    large = session(shop, "WP02")
    assert (large.outcome, large.reason_class) == ("failed", FailureClass.LIMIT)
    assert (large.reason or "").startswith("run_memory: all sessions together took ")
    assert "the limit is 300000000" in (large.reason or "")
    shop.go("go")
    assert attach.wait(shop.project, small.id).outcome == "completed"


@pytest.mark.slow
def test_floods_on_both_streams_a_line_of_100_megabytes_and_binary_are_bounded_and_their_end_kept(
    shops: ShopFactory,
) -> None:
    shop = shops(more="limits: {output: 1000000, memory: 400000000}\n")
    program = (
        "import os, sys\n"
        "for _ in range(20): os.write(1, b'out line\\n' * 4000); os.write(2, b'err line\\n' * 4000)\n"
        "for _ in range(100): os.write(1, b'x' * 1000000)\n"
        "os.write(1, b'\\n')\n"
        "for _ in range(10): os.write(2, os.urandom(100000))\n"
        "os.write(1, b'\\nthe very end\\n')\n"
    )
    (shop.tools / "flood.py").write_text(program)
    shop.agent("WP01", f'{sys.executable} "$here/flood.py"; save src/wp01.txt x')
    begun = start(shop)
    folder = shop.state / "sessions" / begun.id
    most = 0

    def peak() -> None:
        nonlocal most
        row = shop.project.ledger.session(begun.id)
        if row is not None and row.pid:
            most = max(most, _resident(row.pid))

    row = attach.wait(shop.project, begun.id, peak)
    assert row.outcome == "completed", row.reason
    assert (folder / "events.jsonl").stat().st_size <= 1_000_000
    records = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert any("the very end" in record["text"] for record in records[-20:])
    assert [record["records"] > 0 for record in records if record["kind"] == "dropped"] == [True]
    assert 0 < most < 300 * MB


def _resident(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * 4096
    except OSError:
        return 0
