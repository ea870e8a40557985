"""A filled ledger, and child processes that use one."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agentpkg.core.model import FailureClass, FeatureState, Outcome, State, Verdict
from agentpkg.core.records import Batch, CheckResult, FeatureRow, PackageRow, ReviewRow, SessionRow
from agentpkg.ledger.ledger import Ledger, Transaction

FEATURE = "003-auth-system"
#: where ``tests`` can be imported from
TOP = Path(__file__).parents[2]

FEATURE_ROW = FeatureRow(FEATURE, "User Authentication", FeatureState.IMPLEMENTING, "main")
PACKAGE_ROW = PackageRow(
    FEATURE,
    "WP02",
    "Login Endpoint",
    State.FOR_REVIEW,
    dependencies=("WP01", "002-billing/WP04"),
    session="sess_1",
    agent="claude-code",
    branch="feat/003-auth-system-WP02",
    base="a" * 40,
    head="b" * 40,
    cycle=2,
    verdict=Verdict.CHANGES_REQUESTED,
    forced=True,
    reason="tests failed",
    reason_class=FailureClass.REVIEW,
    commits=3,
    tests_passed=18,
)
SESSION_ROW = SessionRow(
    "sess_1",
    FEATURE,
    "WP02",
    "claude-code",
    "command",
    1,
    "2026-03-02T12:00:00.000000Z",
    outcome=Outcome.FAILED,
    reason_class=FailureClass.AGENT,
    ended_at="2026-03-02T12:30:00.000000Z",
    usage={"tokens": 1200},
)
REVIEW_ROW = ReviewRow(
    FEATURE,
    "WP02",
    "b" * 40,
    "a" * 40,
    "d" * 64,
    Verdict.CHANGES_REQUESTED,
    1,
    "c" * 40,
    checks=(CheckResult("test-quality", "tests", "fail", "2 failed", "sha256:ee"), CheckResult("merge", "m", "skip")),
    created_at="2026-03-02T12:31:00.000000Z",
    batch=Batch("f" * 40, ("WP02", "WP03")),
)


class SteppedClock:
    """A second later at each look."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 2, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


def register(tx: Transaction, feature: str = FEATURE, *wps: str) -> None:
    """Registers a feature and its packages, as planned."""
    tx.put_feature(FeatureRow(feature, feature.title(), FeatureState.PLANNED, "main"))
    tx.append(feature, None, "created", "planned", "human:ada", {})
    for wp in wps:
        tx.put_package(PackageRow(feature, wp, f"Title of {wp}", State.PLANNED))
        tx.append(feature, wp, "none", "planned", "human:ada", {})


def fill(ledger: Ledger) -> None:
    """One row of everything, three entries, two events."""
    with ledger.write() as tx:
        register(tx, FEATURE, "WP02")
        entry = tx.append(
            FEATURE, "WP02", "planned", "doing", "agent:claude-code", {"session": "sess_1"}, [{"fr_id": "FR-1"}]
        )
        tx.put_feature(FEATURE_ROW)
        tx.put_package(PACKAGE_ROW)
        tx.put_session(SESSION_ROW)
        tx.put_review(REVIEW_ROW)
        tx.emit(f"feature.{FEATURE}.wp.WP02.state.changed", {"from": "planned", "to": "doing"}, entry=entry)
        tx.emit("agent.job.sess_1.started", {"pid": 7}, key="sess_1 started")


class Child:
    """A process that runs a function of :mod:`tests.ledger.children` once it is told to go."""

    def __init__(self, act: str, *args: object) -> None:
        command = [sys.executable, "-m", "tests.ledger.children", act, *map(str, args)]
        self.process = subprocess.Popen(command, cwd=TOP, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.line() == "ready"

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def rest(self) -> list[str]:
        """What it says until it ends; fails the test when it fails."""
        out, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0
        return out.splitlines()

    def kill(self) -> list[str]:
        """Kills it at once; gives the whole lines it had said."""
        self.process.kill()
        assert self.process.stdout is not None
        assert self.process.stdin is not None
        # not `communicate`, which would miss what an earlier `line` has read ahead
        out = self.process.stdout.read()
        self.process.wait()
        self.process.stdout.close()
        self.process.stdin.close()
        return out.split("\n")[:-1]
