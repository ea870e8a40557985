"""Features run to their end while random processes of agentpkg are killed, and what must hold afterwards.

    python -m tests.scenarios.random_kills [SECONDS] [SEED]

Each round makes a repository with a feature of several packages, runs it with as many ``agentpkg run`` as it takes, and
kills its processes at random moments meanwhile: runs, supervisors, their watchers, relays, servers, agents, checks and
the git processes under them, whichever was killed least so far. Between two runs the ledger is now and then damaged or
removed and made again, and once more at the end. The seed is printed, and gives the same plan of kills again, though
not the same timing.
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
from agentpkg.engine import events as publishing
from agentpkg.engine.upkeep import auditing, rebuilding, recovery
from tests.support.engine_shop import FEATURE, Shop, ShopFactory, shape
from tests.support.repos import git
from tests.support.wait import until

_AGENT = """\
sleep 0.{n}; save src/{wp}.txt "by {WP}"
echo draft >> src/{wp}.draft; sleep 0.{n}; git add -A; git commit -qm "feat({WP}): draft"
"""
#: what is killed
_KINDS = ("run", "supervisor", "watcher", "relay", "server", "agent", "check", "git")
#: how much more often than the others one kind may be killed
_AHEAD = 3
#: seconds between two kills at most
_REST = 1.5
#: the chance of a damaged ledger after a run that did not come to the end
_DAMAGED = 0.2


@dataclass
class Tally:
    """What happened in all rounds."""

    rounds: int = 0
    runs: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    sessions: int = 0
    rebuilt: int = 0

    def __str__(self) -> str:
        killed = ", ".join(f"{number} {kind.strip()}" for kind, number in sorted(self.kills.items()))
        made = f"{self.rounds} rounds, {self.runs} runs, {self.sessions} sessions, {self.rebuilt} ledgers made again"
        return f"{made}, killed: {killed or 'nothing'}"


def one_round(root: Path, seed: int, tally: Tally, kills: int = 25) -> None:
    """One feature from its first dispatch to its end. Raises AssertionError when something does not hold."""
    chance = random.Random(seed)
    factory = ShopFactory(root)
    needs = shape(chance.choice(["layers", "diamond", "wide", "chain"]), 5)
    owned = {wp: {"owned_files": [f"src/{wp.lower()}*"]} for wp in needs}
    check = f"{{name: ok, run: 'sleep 0.{chance.randrange(2, 9)}; test -e src/base.txt; : {root}/shop1'}}"
    shop = factory(
        needs, packages=owned, strategy=chance.choice(["merge", "squash", "rebase"]), retries=3, nats=True, checks=check
    )
    for wp in needs:
        shop.agent(wp, _AGENT.format(n=chance.randrange(1, 4), wp=wp.lower(), WP=wp))
    over = threading.Event()
    killer = threading.Thread(target=_kill, args=(shop, random.Random(seed + 1), over, tally, kills), daemon=True)
    killer.start()
    try:
        _run_to_the_end(shop, over, killer, tally, chance)
        over.set()
        killer.join()
        _check(shop, list(needs), tally)
    finally:
        over.set()
        killer.join()
        factory.close()
    tally.rounds += 1


def _run_to_the_end(
    shop: Shop, over: threading.Event, killer: threading.Thread, tally: Tally, chance: random.Random
) -> None:
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
        if chance.random() < _DAMAGED and (shop.state / "ledger.db").exists():
            _make_again(shop, chance, tally)
    raise AssertionError(f"200 runs were not enough: {shop.states()}")


def _make_again(shop: Shop, chance: random.Random, tally: Tally) -> None:
    """Damages the ledger, and has it made again, by as many commands as that takes while some are killed."""
    file = shop.state / "ledger.db"
    how = chance.choice(["gone", "half", "garbage"])
    if how == "garbage":
        file.write_bytes(chance.randbytes(file.stat().st_size))
    elif how == "half":
        os.truncate(file, file.stat().st_size // 2)
    for path in shop.state.glob("ledger.db*"):
        if how == "gone" or path != file:
            path.unlink()
    for _ in range(20):
        done = subprocess.run(
            [sys.executable, "-m", "agentpkg", "rebuild", "--json"], cwd=shop.repo, timeout=300, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr[-3000:]
        if done.returncode == 0:
            tally.rebuilt += 1
            return
    raise AssertionError(f"the ledger cannot be made again: {done.stdout} {done.stderr}")


def _kill(shop: Shop, chance: random.Random, over: threading.Event, tally: Tally, kills: int) -> None:
    """Kills one process after another, with a rest in between; no kind much more often than the others."""
    for _ in range(kills):
        if over.wait(chance.uniform(0, _REST)):
            return
        while not (due := _due(_by_kind(shop), tally)):
            if over.wait(0.02):
                return
        kind = min(due, key=lambda one: (tally.kills[one], chance.random()))
        with contextlib.suppress(ProcessLookupError):
            os.kill(chance.choice(due[kind]), signal.SIGKILL)
            tally.kills[kind] += 1


def _due(found: dict[str, list[int]], tally: Tally) -> dict[str, list[int]]:
    most = min(tally.kills[kind] for kind in _KINDS) + _AHEAD
    return {kind: pids for kind, pids in found.items() if tally.kills[kind] < most}


def _by_kind(shop: Shop) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    supervisors = {pid for pid, words in _processes(shop) if "agentpkg.engine.supervising.supervisor" in words}
    for pid, words in _processes(shop):
        kind = _kind(pid, words, supervisors)
        if kind is not None:
            found.setdefault(kind, []).append(pid)
    return found


def _kind(pid: int, words: str, supervisors: set[int]) -> str | None:
    if pid in supervisors:
        # the watcher is the parent, and of the same command line
        with contextlib.suppress(OSError):
            parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            return "supervisor" if parent in supervisors else "watcher"
        return None
    named = {
        "agentpkg.relay": "relay", "nats-server": "server", "-m agentpkg run": "run", "agent.sh": "agent",
        "test -e src/base.txt": "check",
    }  # fmt: skip
    if words.startswith("git "):
        return "git"
    return next((kind for piece, kind in named.items() if piece in words), None)


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
    _check_published(shop)
    project.ledger.close()
    until(lambda: not shop.processes(), seconds=60, what="the end of all processes")
    left = [path.name for path in shop.state.iterdir() if path.name.startswith(("control.view", "landing-intent"))]
    assert not left, left
    assert not list((shop.state / "sessions").glob("*/git"))
    _check_rebuilt(shop, packages, tally)


def _check_published(shop: Shop) -> None:
    """Every event that the ledger knows is in the stream, once, and those of a package in their order."""
    project = shop.project
    project.poke()
    until(lambda: not project.ledger.unsent(1), seconds=60, what="the last event's acknowledgement")
    wanted = [str(event.id) for event in project.ledger.events()]
    tail = publishing.tail(project, None, history=True)
    seen: list[tuple[str, str]] = []
    while not set(wanted) <= {number for _, number in seen}:
        subject, payload = next(tail)
        seen.append((subject, str(payload["id"])))
    tail.close()
    for wp in {subject.split(".wp.")[1].split(".")[0] for subject, _ in seen if ".wp." in subject}:
        there = list(dict.fromkeys(number for subject, number in seen if f".wp.{wp}." in subject))
        mine = [str(e.id) for e in project.ledger.events() if f".wp.{wp}." in f".{e.subject}."]
        assert [number for number in there if number in mine] == mine, (wp, there, mine)


def _check_rebuilt(shop: Shop, packages: list[str], tally: Tally) -> None:
    """A ledger that is lost at the end tells the same when it is made again."""
    before = shop.transitions()
    for path in shop.state.glob("ledger.db*"):
        path.unlink()
    assert rebuilding.rebuild(shop.project).unknown == ()
    tally.rebuilt += 1
    assert shop.states() == dict.fromkeys(packages, State.DONE)
    assert shop.transitions()[: len(before)] == before
    shop.check()
    shop.project.ledger.close()
    shop.close()


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
