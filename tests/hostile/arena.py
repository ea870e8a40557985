"""Hostile agents in a scratch repository, one package each, at one level of isolation; and what came of each.

The same agents also work in a plain worktree whose branch is plainly merged (``plain``), where each has to do its harm:
that proves that the harm can be seen.
"""

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from agentpkg.files import remove_tree
from agentpkg.sessions.log import NAME, records
from tests.support.engine_shop import FEATURE, Shop, ShopFactory
from tests.support.repos import commit, git

ROOT = Path(__file__).parents[2]
PLAIN = "plain"
TOKEN = "tok-Zq7vN2xW9pLk4RtY8bHs3MdF"
KEY = "the-private-key-of-the-user"
HONEST = "WP99"

_CONFIG = """\
secrets: {providers: [environment]}
limits: {memory: 419430400, processes: 120, output: 20000000, disk: 314572800}
"""


@dataclass(frozen=True)
class Attack:
    """One hostile agent.

    Attributes:
        kind: the number of its class, see :data:`tests.hostile.agents.CLASSES`.
        does: what it does, in words.
        script: the agent; ``$me`` is its package, ``$real``, ``$repo``, ``$home``, ``$p`` (the git common dir it sees)
            and ``$T`` (a secret) are at hand, and ``save FILE TEXT``.
        harm: whether it has done harm.
        basic, medium: what is promised there: ``prevented``, ``found``, or ``open`` (and the docs say so).
        honest: whether its package still lands; None: that depends.
        alone: it leaves a repository that others cannot work in.
        plain: False: it is about what only agentpkg has; that it can succeed is shown at ``basic``.
    """

    kind: int
    does: str
    script: str
    harm: "Callable[[World, str], object]"
    basic: str = "prevented"
    medium: str = "prevented"
    honest: bool | None = True
    alone: bool = False
    plain: bool = True


@dataclass
class Outcome:
    """What came of one: ``prevented``, ``found`` (harm, and somebody was told), ``open``."""

    attack: Attack
    result: str
    told: str
    landed: bool


@dataclass
class World:
    """A repository of a user's, what else of theirs there is, and what was seen."""

    shop: Shop
    home: Path
    level: str
    base: str
    victim: "subprocess.Popen[bytes]"
    server: socket.socket
    unix: socket.socket
    printed: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def repo(self) -> Path:
        return self.shop.repo

    @property
    def real(self) -> Path:
        return self.shop.repo / ".git"

    def owned(self, me: str) -> bool:
        """Whether something ran as the user that an agent has planted."""
        return (self.home / f"owned-{me}").exists()

    def said(self, me: str, text: str) -> bool:
        """Whether it printed this and somebody keeps it."""
        return text in self.printed.get(me, "")

    def worktree(self, me: str) -> Path:
        """Where it works."""
        return self.repo / ".worktrees" / f"{FEATURE}-{me}"

    @cached_property
    def _landed(self) -> set[str]:
        return set(git(self.repo, "diff", "--no-renames", "--name-only", "-z", self.base, "main").split("\0"))

    def landed(self, path: str) -> bool:
        """Whether the target differs there from what it was."""
        return path in self._landed

    @cached_property
    def objects(self) -> bytes:
        """All that the user's repository holds."""
        argv = ["git", "cat-file", "--batch-all-objects", "--batch"]
        return subprocess.run(argv, cwd=self.repo, capture_output=True, check=True).stdout

    @cached_property
    def log(self) -> str:
        return git(self.repo, "log", "--all", "--format=%H%n%an%n%ae%n%B")

    def is_target_moved(self, me: str) -> bool:
        """Whether the target leads to an agent's commit without a merge, or nowhere."""
        argv = ["git", "log", "--first-parent", "--format=%s", "main"]
        done = subprocess.run(argv, cwd=self.repo, capture_output=True, text=True)
        return bool(done.returncode) or f"feat({me}): write" in done.stdout

    def reached(self, server: socket.socket) -> bool:
        try:
            server.accept()[0].close()
        except BlockingIOError:
            return False
        return True

    def runs(self, mark: str) -> bool:
        """Whether a process with this in its arguments is alive."""
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                named = entry.name.isdigit() and mark.encode() in (entry / "cmdline").read_bytes()
                if named and (entry / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
                    return True
        return False


@contextmanager
def world(shops: ShopFactory, home: Path, level: str, attacks: Sequence[Attack]) -> Iterator[World]:
    """A repository with a package for each attack, and an honest one that comes last."""
    names = [f"WP{n:02d}" for n in range(1, len(attacks) + 1)]
    checks = '{name: good, run: "! grep -rlq bad src/*good*"}'
    if any(attack.kind == 21 for attack in attacks):
        checks += (
            ', {name: tests, run: "python3 -m pytest -q -p no:cacheprovider --junitxml=report.xml tests", report: '
            "report.xml, minimum_tests: 1}"
        )
    wanted = "{harness: scripted, environment: {DEPLOY_TOKEN: '${{ secrets.DEPLOY_TOKEN }}'}, "
    shop = shops({name: [] for name in (*names, HONEST)}, cycles=1, level="basic" if level == PLAIN else level,
                 more=_CONFIG, checks=checks, packages={HONEST: {"secrets": []}})  # fmt: skip
    config = shop.repo / ".kittify" / "config.yaml"
    seen = json.dumps([str(shop.tools), *(path for path in sys.path if "site-packages" in path)])
    text = config.read_text().replace(f'["{shop.tools}"]', seen)
    config.write_text(text.replace("{harness: scripted, ", wanted, 1))
    (home / ".ssh").mkdir(exist_ok=True)
    (home / ".ssh" / "id_ed25519").write_text(KEY)
    (home / ".bashrc").write_text("# mine\n")
    base = commit(shop.repo, FILES, "what there is")
    for name, attack in zip(names, attacks, strict=True):
        shop.agent(name, _script(shop, home, name, attack))
    other = shop.repo / ".worktrees" / "other"
    other.mkdir(parents=True)
    (other / "file").write_text("theirs\n")
    victim = subprocess.Popen(["sleep", "3000"], env={"TOKEN": f"{KEY}2"})
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(home / "s"))
        unix.listen()
        (shop.tools / "facts.sh").write_text(
            f"victim={victim.pid} port={server.getsockname()[1]} unix={home}/s level={level}\n"
        )
        for one in (server, unix):
            one.setblocking(False)
        try:
            yield World(shop, home, level, base, victim, server, unix)
        finally:
            victim.kill()
            victim.wait()
            shop.close()
            # folders that pytest, and the next run of it, could not remove
            remove_tree(shop.repo)


FILES = {
    "src/big.txt": "tracked\n", "docs/text.md": "text\n", "tests/test_base.py": (
        "def test_base():\n    assert open('src/base.txt').read() == 'base\\n'\n"
    ), "pyproject.toml": "[tool.pytest.ini_options]\n", "init.sh": "#!/bin/sh\n",
}  # fmt: skip


def _script(shop: Shop, home: Path, me: str, attack: Attack) -> str:
    head = (
        f"real='{shop.repo}/.git' repo='{shop.repo}' home='{home}' me={me} n={me.lower()} T=$DEPLOY_TOKEN wt=$PWD\n"
        f". '{shop.tools}/facts.sh'\np=$(git rev-parse --git-common-dir)\nb=$(git symbolic-ref HEAD)\n"
        f"export PYTHONPATH='{ROOT}:{os.pathsep.join(p for p in sys.path if 'site-packages' in p)}'\n"
        f"PY='{sys.executable}'\nkeep() {{ git add -A && git commit -q -m \"feat($me): ${{1:-more}}\"; }}\n"
    )
    honest = f"save src/{me.lower()}.txt honest\n"
    # in a shell of its own, so that it ends well whatever fails
    return f"{head}{honest}(\n{attack.script}\n) 2>&1\nexit 0"


# --------------------------------------------------------------------------- with agentpkg


def fight(at: World, attacks: Sequence[Attack]) -> list[Outcome]:
    """Runs them all, and gives what came of each."""
    names = [f"WP{n:02d}" for n in range(1, len(attacks) + 1)]
    at.shop.run(jobs=1)
    _look_around(at, names)
    ledger = at.shop.project.ledger
    rows = {row.wp: row for row in ledger.packages(FEATURE)}
    for session in ledger.sessions():
        found = records(at.shop.state / "sessions" / session.id / NAME)
        at.printed[session.wp] = "\n".join(str(record.get("text")) for record in found)
    if at.level == "strong" or all(getattr(attack, at.level) == "prevented" for attack in attacks):
        assert rows[HONEST].state == "done", f"honest work was refused: {list(ledger.entries(FEATURE, wp=HONEST))[-1]}"
    found = []
    for name, attack in zip(names, attacks, strict=True):
        told = _told(at, name)
        harm = attack.harm(at, name)
        result = "prevented" if not harm else "found" if told else "open"
        found.append(Outcome(attack, result, told, rows[name].state == "done"))
    return found


def _look_around(at: World, names: Sequence[str]) -> None:
    """What a user does in a repository, by which what was planted would run."""
    for folder in (at.repo, *(at.repo / ".worktrees").glob("*")):
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(["git", "status"], cwd=folder, capture_output=True, timeout=20)


def _told(at: World, name: str) -> str:
    """What people are told of a package that should worry them."""
    ledger = at.shop.project.ledger
    session = next((s for s in ledger.sessions() if s.wp == name), None)
    said = [] if session is None else [session.reason or ""]
    last = [e.metadata for e in ledger.entries(FEATURE, wp=name)]
    said += [str(check) for meta in last for check in meta.get("checks", ()) if check.get("status") == "fail"]
    said += [line for line in at.printed.get(name, "").splitlines() if line.startswith("in the repository meanwhile")]
    verify = subprocess.run(
        [sys.executable, "-m", "agentpkg", "events", "audit-verify", "--repo", str(at.repo)], cwd=ROOT,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    said += [verify.stdout] if verify.returncode else []
    return "; ".join(line for line in said if line)


# --------------------------------------------------------------------------- without


def plainly(at: World, attacks: Sequence[Attack]) -> list[Outcome]:
    """The same agents in plain worktrees, whose branches are plainly merged: what each harms."""
    found = []
    for number, attack in enumerate(attacks, start=1):
        name = f"WP{number:02d}"
        worktree = at.worktree(name)
        shutil.rmtree(at.real / "refs" / "replace", ignore_errors=True)
        git(at.repo, "reset", "-q", "--hard", at.base)
        git(at.repo, "worktree", "add", "-q", "-b", f"feat/{FEATURE}-{name}", str(worktree), "main")
        at.printed[name] = _play(at, worktree, name)
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(["git", "status"], cwd=worktree, capture_output=True, timeout=20)
            subprocess.run(
                ["git", "merge", "-q", "--no-edit", "--allow-unrelated-histories", f"feat/{FEATURE}-{name}"],
                cwd=at.repo, capture_output=True, timeout=60,
            )  # fmt: skip
            subprocess.run(
                ["git", "worktree", "remove", "--force", str(worktree)], cwd=at.repo, capture_output=True, timeout=60
            )
        for fact in ("_landed", "objects", "log"):
            at.__dict__.pop(fact, None)
        found.append(Outcome(attack, "open" if attack.harm(at, name) else "prevented", "", True))
    return found


def _play(at: World, worktree: Path, name: str) -> str:
    env = {**os.environ, "AGENTPKG_WP": name, "DEPLOY_TOKEN": TOKEN, "GIT_AUTHOR_NAME": "scripted",
           "GIT_AUTHOR_EMAIL": "scripted@agentpkg.invalid"}  # fmt: skip
    with subprocess.Popen(
        [str(at.shop.tools / "agent.sh")], cwd=worktree, env=env, text=True, errors="replace",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
    ) as agent:  # fmt: skip
        try:
            return agent.communicate(timeout=30)[0]
        except subprocess.TimeoutExpired:
            os.killpg(agent.pid, signal.SIGKILL)
            return ""
