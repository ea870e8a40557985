"""Scratch repositories and plain processes for the measurements; standard library only."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

FEATURE = "001-bench"

_AGENT = """\
#!/bin/sh
if [ -z "$BENCH_COMMIT" ]; then : > .stamp; exit 0; fi
echo work > "work-$AGENTPKG_WP.txt"
git add -A && git commit -q -m "feat($AGENTPKG_WP): work"
"""

_CONFIG = """\
agent: {{harness: bench, retries: 0, environment: {{BENCH_COMMIT: "{commit}"}}}}
agents: {{bench: {{harness: command, command: ["{agent}"]}}}}
"""


class Scene:
    """One repository of its own with a feature of many packages, and a home that holds nothing but an identity.

    Args:
        root: an empty folder.
        files: how many tracked files of a kilobyte the repository has.
        packages: how many work packages; ``layers`` of them depend on the layer before.
        commit: the agent commits a file; otherwise its first instruction is its last.
    """

    def __init__(self, root: Path, files: int, packages: int, commit: bool = False, layers: int = 1) -> None:
        self.repo = root / "repo"
        self.agent = root / "agent.sh"
        self.commit = "1" if commit else ""
        self.environ = _environment(root / "home")
        self.agent.parent.mkdir(parents=True, exist_ok=True)
        self.agent.write_text(_AGENT)
        self.agent.chmod(0o755)
        self._fill(files, packages, layers)
        self.git("init", "-q", "-b", "main", ".")
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "base")

    def _fill(self, files: int, packages: int, layers: int) -> None:
        tasks = self.repo / "features" / FEATURE / "tasks"
        tasks.mkdir(parents=True)
        (tasks.parent / "spec.md").write_text("# Bench\n\nFR-1: It is fast.\n")
        (self.repo / ".kittify").mkdir()
        config = _CONFIG.format(commit=self.commit, agent=self.agent)
        (self.repo / ".kittify/config.yaml").write_text(config)
        width = max(1, packages // layers)
        for number in range(1, packages + 1):
            needs = [n for n in (number - width, number - width + 1) if 0 < n <= (number - 1) // width * width]
            (tasks / f"{name(number)}-work.md").write_text(_package(number, needs))
        for number in range(files):
            path = self.repo / f"src/part{number % 20}/file{number}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{number}\n" * (1024 // (len(str(number)) + 1)))

    def git(self, *args: str, cwd: Path | None = None) -> None:
        """Runs plain git with the scene's environment."""
        run(["git", *args], cwd or self.repo, self.environ)

    def agentpkg(self, *args: str, ok: tuple[int, ...] = (0,)) -> None:
        """Runs the product's command line in a process of its own."""
        run([sys.executable, "-m", "agentpkg", *args], self.repo, self.environ, ok)

    def play(self, worktree: Path, package: str) -> None:
        """Runs the agent's program as a person would."""
        more = {"BENCH_COMMIT": self.commit, "AGENTPKG_WP": package}
        run([str(self.agent)], worktree, {**self.environ, **more})

    def since(self, start: int, worktree: Path) -> float:
        """Seconds from ``start`` (``time.time_ns``) to the agent's first instruction, in its worktree."""
        return ((worktree / ".stamp").stat().st_mtime_ns - start) / 1e9

    def head(self) -> str:
        """The tip of main."""
        done = subprocess.run(["git", "rev-parse", "main"], cwd=self.repo, env=self.environ, capture_output=True)
        return done.stdout.decode().strip()

    def leave(self) -> None:
        """Waits for the background processes, and removes everything."""
        status = self.repo / ".git/agentpkg/run/relay.json"
        deadline = time.monotonic() + 30
        while status.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        shutil.rmtree(self.repo.parent, ignore_errors=True)


def name(number: int) -> str:
    """``WP07``."""
    return f"WP{number:02d}"


def _package(number: int, needs: Sequence[int]) -> str:
    dependencies = ", ".join(name(n) for n in needs)
    head = f"work_package_id: {name(number)}\ntitle: Work {number}\ndependencies: [{dependencies}]\nestimate: 1h\n"
    return f"---\n{head}---\n\n# Work {number}\n\nDo it.\n"


def _environment(home: Path) -> dict[str, str]:
    home.mkdir(parents=True)
    (home / ".gitconfig").write_text("[user]\n\tname = Bench\n\temail = bench@example.org\n")
    return {"PATH": os.environ["PATH"], "HOME": str(home), "LC_ALL": "C.UTF-8", "GIT_CONFIG_NOSYSTEM": "1"}


def run(argv: Sequence[str], cwd: Path, environ: Mapping[str, str], ok: tuple[int, ...] = (0,)) -> None:
    """Runs a program to its end; what it says is shown when it fails."""
    done = subprocess.run(argv, cwd=cwd, env=environ, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode not in ok:
        said = (done.stdout + done.stderr).decode("utf-8", "replace")
        raise SystemExit(f"{' '.join(argv)} ended with {done.returncode}:\n{said}")
