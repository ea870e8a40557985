"""A scratch repository with one feature and shell agents that obey files beside it, for the tests of the engine.

Each package ``WPnn`` owns and delivers ``src/wpnn.txt``. What the agent of a package does is a shell script in
``tools/``: ``WP02.sh`` for every try of WP02, ``WP02.1.sh`` for its first; without one it commits its file.
"""

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agentpkg.core import chain
from agentpkg.core.model import State
from agentpkg.core.records import EventRow, PackageRow
from agentpkg.engine import attach
from agentpkg.engine.dispatching import dispatch
from agentpkg.engine.project import Project, open_project
from agentpkg.engine.running.run import Run
from agentpkg.engine.running.values import Finished, Options, Stop
from tests.support.repos import commit, git
from tests.support.wait import until

FEATURE = "003-auth-system"

_AGENT = """\
#!/bin/sh
here=$(dirname "$0")
n=$(printf %s "$AGENTPKG_WP" | tr 'WP' 'wp')
try=$(( $(cat "$here/$AGENTPKG_WP.tries" 2>/dev/null || echo 0) + 1 ))
if ( : >> "$here/diary" ) 2>/dev/null; then
  echo $try > "$here/$AGENTPKG_WP.tries"
  echo "$AGENTPKG_WP start" >> "$here/diary"
  trap 'echo "$AGENTPKG_WP end" >> "$here/diary"' EXIT
fi
wait_for() { while [ ! -e "$here/$1" ]; do sleep 0.02; done; }
save() {
  mkdir -p src; printf '%s\\n' "$2" > "$1"; git add "$1"; git commit -q -m "feat($AGENTPKG_WP): ${3:-write $1}"
}
script="$here/$AGENTPKG_WP.$try.sh"
[ -e "$script" ] || script="$here/$AGENTPKG_WP.sh"
if [ -e "$script" ]; then . "$script"; else save "src/$n.txt" "by $AGENTPKG_WP, try $try"; fi
"""

_CONFIG = """\
project: {{name: scratch}}
agent:
  {{harness: scripted, timeout_seconds: 60, kill_grace_seconds: 1, retries: {retries}, max_review_cycles: {cycles}}}
agents:
  scripted: {{harness: command, command: ["{agent}"]}}
review:
  checks: [{checks}]
merge: {{strategy: {strategy}, auto: {auto}}}
run: {{environment_retries: 1, backoff: {{agent: 0, environment: 0, provider: 0}}}}
nats: {{server: {server}}}
isolation: {{level: {level}, mounts: ["{tools}"]}}
"""


def shape(kind: str, count: int) -> dict[str, list[str]]:
    """Dependencies by package: ``chain``, ``wide``, ``diamond`` or ``layers`` (of three)."""
    names = [f"WP{i:02d}" for i in range(1, count + 1)]
    if kind == "chain":
        return {wp: names[i - 1 : i] if i else [] for i, wp in enumerate(names)}
    if kind == "wide":
        return {wp: [] for wp in names}
    if kind == "diamond":
        return {wp: [] if i == 0 else names[:1] if i < count - 1 else names[1:-1] for i, wp in enumerate(names)}
    return {wp: names[(i // 3 - 1) * 3 : i // 3 * 3] if i >= 3 else [] for i, wp in enumerate(names)}


@dataclass
class Shop:
    """The repository and what tests do with it."""

    repo: Path
    tools: Path
    feature: str = FEATURE
    told: list[EventRow] = field(default_factory=list)

    # ----------------------------------------------------------------- making

    def package(self, wp: str, needs: Sequence[str] = (), *, feature: str | None = None, **more: Any) -> None:
        """Writes a package's file; ``more`` goes into its front matter as JSON."""
        front = {
            "work_package_id": wp, "title": f"Part {wp}", "dependencies": list(needs),
            "deliverables": [f"src/{wp.lower()}.txt"], "owned_files": [f"src/{wp.lower()}*"], **more,
        }  # fmt: skip
        lines = "".join(f"{key}: {json.dumps(value)}\n" for key, value in front.items())
        folder = self.repo / "features" / (feature or self.feature)
        (folder / "tasks").mkdir(parents=True, exist_ok=True)
        for name in ("spec.md", "plan.md"):
            if not (folder / name).exists():
                (folder / name).write_text(f"# {name}\n\n## Functional Requirements\n\nFR-1: one\n")
        (folder / "tasks" / f"{wp}-part.md").write_text(f"---\n{lines}---\n\nWrite the file.\n")

    def agent(self, wp: str, script: str, attempt: int | None = None) -> None:
        """What the agent of a package does; ``save FILE TEXT [SUBJECT]`` and ``wait_for NAME`` are at hand."""
        name = f"{wp}.{attempt}.sh" if attempt else f"{wp}.sh"
        (self.tools / name).write_text(script + "\n")

    def go(self, name: str) -> None:
        """Lets agents that ``wait_for`` this name go on."""
        (self.tools / name).touch()

    def save(self, message: str = "more") -> str:
        """Commits everything in the user's checkout."""
        return commit(self.repo, {}, message)

    # ----------------------------------------------------------------- using

    @property
    def project(self) -> Project:
        """The project as a new command opens it."""
        return open_project(self.repo)

    @property
    def state(self) -> Path:
        return self.repo / ".git" / "agentpkg"

    def row(self, wp: str, feature: str | None = None) -> PackageRow:
        return self.project.row(feature or self.feature, wp)

    def states(self, feature: str | None = None) -> dict[str, State]:
        return {row.wp: row.state for row in self.project.ledger.packages(feature or self.feature)}

    def implement(self, wp: str, feature: str | None = None) -> PackageRow:
        """Runs one session to its end."""
        project = self.project
        started = dispatch.start(project, project.good_feature(feature or self.feature), wp, dispatch.Wish())
        attach.wait(project, started.session.id)
        return project.row(feature or self.feature, wp)

    def run(self, jobs: int = 4, stop: Stop | None = None, until: str | None = None,
            tell: Callable[[EventRow], None] | None = None) -> Finished:  # fmt: skip
        """One ``run`` of the feature, in this process; its events are kept in ``told``."""
        project = self.project

        def hear(event: EventRow) -> None:
            self.told.append(event)
            if tell:
                tell(event)

        options = Options(jobs, until=until)
        return Run(project, project.good_feature(self.feature), options, hear, stop or Stop()).to_the_end()

    def python(self, code: str, *args: str) -> "subprocess.Popen[str]":
        """A process of its own that runs ``code`` with ``shop`` at hand, as another command would."""
        head = (
            "import sys; from pathlib import Path; from tests.support.engine_shop import Shop; "
            f"shop = Shop(Path({str(self.repo)!r}), Path({str(self.tools)!r}))\n"
        )
        return subprocess.Popen(
            [sys.executable, "-c", head + code, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            cwd=Path(__file__).parents[2],
        )  # fmt: skip

    # ----------------------------------------------------------------- looking

    def diary(self) -> list[str]:
        """What agents wrote: ``WP01 start``, ``WP01 end``, in order."""
        path = self.tools / "diary"
        return path.read_text().splitlines() if path.exists() else []

    def order(self) -> list[str]:
        """The packages in the order their agents started."""
        return [line.split()[0] for line in self.diary() if line.endswith(" start")]

    def tip(self, ref: str = "main") -> str:
        return git(self.repo, "rev-parse", ref)

    def show(self, path: str, ref: str = "main") -> str:
        return git(self.repo, "show", f"{ref}:{path}")

    def transitions(self, wp: str | None = None) -> list[str]:
        """The transitions on the chain, of one package or of all."""
        return [e.transition for e in self.project.ledger.entries(self.feature, wp=wp)]

    def check(self, target: str = "main", feature: str | None = None) -> int:
        """Recomputes the chain and its trailers with code of its own; gives the number of entries."""
        exported = [chain.as_dict(e) for e in self.project.ledger.entries(feature or self.feature)]
        return check_chain(self.repo, json.loads(json.dumps(exported)), target)

    def close(self) -> None:
        """Ends whatever processes of this repository are left."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until(lambda: not self.processes(), what="the end of all processes of the shop")

    def processes(self) -> list[int]:
        """Relays, supervisors and agents of this repository."""
        mine = [os.fsencode(self.repo), os.fsencode(self.tools)]
        return [pid for pid, argv in _everybody() if pid != os.getpid() and any(name in argv for name in mine)]


def _everybody() -> Iterator[tuple[int, bytes]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if (entry / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
                    yield int(entry.name), (entry / "cmdline").read_bytes()


def check_chain(repo: Path, entries: Sequence[Mapping[str, Any]], target: str = "main") -> int:
    """An independent check of an exported chain and of the trailers that anchor it; fails the test, or counts."""
    before, known = "0" * 64, set()
    for number, entry in enumerate(entries, start=1):
        body = {key: value for key, value in entry.items() if key != "hash"}
        text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        digest = hashlib.sha256(text.encode()).hexdigest()
        assert (entry["id"], entry["prev_hash"], entry["hash"]) == (number, before, digest)
        said = entry["metadata"]
        done = entry["wp_id"] and entry["transition"].endswith("->done")
        if done and not said.get("forced") and said.get("kind") != "adopted":
            landed = said["merge_commit"]
            git(repo, "merge-base", "--is-ancestor", landed, target)
            trailer = git(repo, "log", "-1", "--format=%(trailers:key=Audit-Hash,valueonly)", landed).strip()
            assert trailer in known, f"entry {number}: {landed} carries {trailer}"
        before = digest
        known.add(digest)
    return len(entries)


class ShopFactory:
    """Makes shops below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.made: list[Shop] = []

    def __call__(
        self, needs: Mapping[str, Sequence[str]] | None = None, *, checks: str = '{name: ok, run: "true"}',
        strategy: str = "merge", auto: bool = True, retries: int = 0, cycles: int = 2, nats: bool = False,
        more: str = "", packages: Mapping[str, Mapping[str, Any]] | None = None, level: str = "basic",
    ) -> Shop:  # fmt: skip
        """A repository with a feature of these packages, one ``WP01`` by default.

        Args:
            nats: with a server of its own, where there is one.
            more: further lines of the configuration.
            packages: further front matter, by package.
            level: of isolation; agents that keep a diary or count their tries need ``basic``, since they write both
                outside of their worktree.
        """
        number = len(self.made) + 1
        repo, tools = self.root / f"shop{number}", self.root / f"tools{number}"
        repo.mkdir()
        tools.mkdir()
        shop = Shop(repo, tools)
        agent = tools / "agent.sh"
        agent.write_text(_AGENT)
        agent.chmod(0o755)
        git(repo, "init", "-q", "-b", "main")
        (repo / ".kittify").mkdir()
        server = "null" if nats else str(self.root / "no-nats-server")
        (repo / ".kittify" / "config.yaml").write_text(
            _CONFIG.format(
                agent=agent, retries=retries, cycles=cycles, checks=checks, strategy=strategy,
                auto="true" if auto else "false", server=server, level=level, tools=tools,
            ) + more
        )  # fmt: skip
        for wp, dependencies in (needs or {"WP01": []}).items():
            shop.package(wp, dependencies, **(packages or {}).get(wp, {}))
        commit(repo, {"README.md": "# scratch\n", "src/base.txt": "base\n"}, "base")
        self.made.append(shop)
        return shop

    def close(self) -> None:
        for shop in self.made:
            shop.close()


__all__ = ["FEATURE", "Shop", "ShopFactory", "check_chain", "shape"]
