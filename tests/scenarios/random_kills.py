"""Features run to their end while random processes of agentpkg are killed, and what must hold afterwards.

    python -m tests.scenarios.random_kills [SECONDS] [SEED]

Each round makes a repository with a feature of several packages, runs it with as many ``agentpkg run`` as it takes, and
kills supervisors, runs, relays and the git processes under them at random moments meanwhile. The seed is printed, and
gives the same plan of kills again, though not the same timing.
"""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from agentpkg.core.model import State
from agentpkg.engine import auditing, recovery
from tests.support.engine_shop import FEATURE, Shop, ShopFactory, shape
from tests.support.repos import git
from tests.support.wait import until

_AGENT = """\
sleep 0.{n}; save src/{wp}.txt "by {WP}"
echo draft >> src/{wp}.draft; sleep 0.{n}; git add -A; git commit -qm "feat({WP}): draft"
"""
#: what is killed, by a piece of its command line, and how often one is chosen before another
_KINDS = {"agentpkg.engine.supervisor": 5, "git ": 5, "agentpkg.relay": 2, "-m agentpkg run": 1}


@dataclass
class Tally:
    """What happened in all rounds."""

    rounds: int = 0
    runs: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    sessions: int = 0

    def __str__(self) -> str:
        killed = ", ".join(f"{number} {kind.strip()}" for kind, number in sorted(self.kills.items()))
        return f"{self.rounds} rounds, {self.runs} runs, {self.sessions} sessions, killed: {killed or 'nothing'}"


def one_round(root: Path, seed: int, tally: Tally, kills: int = 25) -> None:
    """One feature from its first dispatch to its end. Raises AssertionError when something does not hold."""
    chance = random.Random(seed)
    factory = ShopFactory(root)
    needs = shape(chance.choice(["layers", "diamond", "wide", "chain"]), 5)
    owned = {wp: {"owned_files": [f"src/{wp.lower()}*"]} for wp in needs}
    shop = factory(needs, packages=owned, strategy=chance.choice(["merge", "squash", "rebase"]), retries=3)
    for wp in needs:
        shop.agent(wp, _AGENT.format(n=chance.randrange(1, 4), wp=wp.lower(), WP=wp))
    over = threading.Event()
    killer = threading.Thread(target=_kill, args=(shop, random.Random(seed + 1), over, tally, kills), daemon=True)
    killer.start()
    try:
        _run_to_the_end(shop, over, killer, tally)
        over.set()
        killer.join()
        _check(shop, list(needs), tally)
    finally:
        over.set()
        killer.join()
        factory.close()
    tally.rounds += 1


def _run_to_the_end(shop: Shop, over: threading.Event, killer: threading.Thread, tally: Tally) -> None:
    for _ in range(200):
        if not killer.is_alive():
            over.set()
        done = subprocess.run(
            [sys.executable, "-m", "agentpkg", "run", "003", "--json", "--jobs", "3"], cwd=shop.repo, timeout=300,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        tally.runs += 1
        assert "Traceback" not in done.stderr, done.stderr[-3000:]
        assert done.returncode in (0, 1, 4, -signal.SIGKILL), (done.returncode, done.stdout[-500:], done.stderr[-2000:])
        if done.returncode == 0:
            return
    raise AssertionError(f"200 runs were not enough: {shop.states()}")


def _kill(shop: Shop, chance: random.Random, over: threading.Event, tally: Tally, kills: int) -> None:
    """Waits for a process of a kind that chance chose, lets it work for a moment, and kills one of that kind."""
    for _ in range(kills):
        kind = chance.choices(list(_KINDS), list(_KINDS.values()))[0]
        deadline = time.monotonic() + 10
        while not _of_kind(shop, kind) and time.monotonic() < deadline:
            if over.wait(0.01):
                return
        if over.wait(chance.uniform(0, 2.0 if "agentpkg" in kind else 0.02)):
            return
        found = _of_kind(shop, kind)
        if found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(chance.choice(found), signal.SIGKILL)
                tally.kills[kind] += 1


def _of_kind(shop: Shop, kind: str) -> list[int]:
    return sorted(pid for pid, words in _processes(shop) if kind in words)


def _processes(shop: Shop) -> list[tuple[int, str]]:
    """Processes that work on this repository, by what their command lines and folders say."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                where = os.readlink(entry / "cwd")
                if str(shop.repo) in words or where.startswith(str(shop.repo)):
                    found.append((int(entry.name), Path(words.split(" ")[0]).name + words[len(words.split(" ")[0]) :]))
    return found


def _check(shop: Shop, packages: list[str], tally: Tally) -> None:
    """What holds at the end, whoever was killed."""
    project = shop.project
    recovery.reconcile(project)
    assert {row.state for row in project.ledger.packages()} == {State.DONE}, shop.states()
    sessions = project.ledger.sessions()
    tally.sessions += len(sessions)
    assert all(row.ended_at for row in sessions)
    _check_git(shop, packages)
    shop.check()
    report = auditing.verify(project, FEATURE)
    assert report.ok, report
    _check_order(shop, packages)
    project.ledger.close()
    until(lambda: not shop.processes(), seconds=60, what="the end of all processes")
    left = [path.name for path in shop.state.iterdir() if path.name.startswith(("control.view", "landing-intent"))]
    assert not left, left
    assert not list((shop.state / "sessions").glob("*/git"))


def _check_git(shop: Shop, packages: list[str]) -> None:
    for wp in packages:
        assert shop.show(f"src/{wp.lower()}.txt") == f"by {wp}"
    git(shop.repo, "fsck", "--connectivity-only")
    assert git(shop.repo, "status", "--porcelain") == ""
    assert git(shop.repo, "for-each-ref", "--format=%(refname)", "refs/heads") == "refs/heads/main"
    assert len(git(shop.repo, "worktree", "list").splitlines()) == 1
    landed = git(shop.repo, "log", "--first-parent", "--format=%(trailers:key=Work-Package,valueonly)", "main").split()
    assert sorted(landed) == packages, landed
    locks = [path for path in (shop.repo / ".git").rglob("*.lock") if shop.state not in path.parents]
    assert not locks, locks


def _check_order(shop: Shop, packages: list[str]) -> None:
    """Each change of state is told once at least and in order."""
    project = shop.project
    told: dict[str, list[str]] = {wp: [] for wp in packages}
    for event in project.ledger.events():
        parts = event.subject.split(".")
        if parts[0] == "feature" and parts[-2:] == ["state", "changed"] and parts[2] == "wp":
            told[parts[3]].append(f"{parts[3]}:{event.payload['from']}->{event.payload['to']}")
    for wp in packages:
        moves = [
            line
            for line in shop.transitions(wp)
            if "none->" not in line and len(set(line.split(":")[1].split("->"))) > 1
        ]
        assert told[wp] == moves, (wp, told[wp], moves)


def main(seconds: float, seed: int) -> int:
    """Rounds until the time is over; prints the tally, or which seed failed and where its repository is."""
    tally, deadline = Tally(), time.monotonic() + seconds
    while time.monotonic() < deadline:
        root = Path(tempfile.mkdtemp(prefix="kills."))
        try:
            one_round(root, seed, tally)
        except BaseException as error:
            sys.stderr.write(f"seed {seed} failed in {root}: {error}\n{tally}\n")
            raise
        shutil.rmtree(root)
        sys.stdout.write(f"seed {seed} is good; {tally}\n")
        sys.stdout.flush()
        seed += 1
    sys.stdout.write(json.dumps({"rounds": tally.rounds, "runs": tally.runs, "kills": dict(tally.kills)}) + "\n")
    return 0


if __name__ == "__main__":
    given = [float(word) for word in sys.argv[1:]]
    sys.exit(main(given[0] if given else 60, int(given[1]) if len(given) > 1 else random.randrange(1 << 20)))
