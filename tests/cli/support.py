"""The program as a process, and documents as the views give them."""

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentpkg.cli import run

CONFIG = """\
agent: {harness: good, retries: 1, kill_grace_seconds: 1, timeout_seconds: 60}
agents:
  good: {harness: command, command: ["/bin/sh", "-c", "echo working; echo x > $AGENTPKG_WP.txt; git add -A; git commit -qm \\"feat($AGENTPKG_WP): add a file\\""]}
  bad: {harness: command, command: ["/bin/sh", "-c", "printf '\\\\033[31moops [bold]x[/bold]\\\\n' >&2; exit 3"]}
  slow: {harness: command, command: ["/bin/sh", "-c", "echo started; touch $AGENTPKG_WP.txt; git add -A; git commit -qm \\"feat($AGENTPKG_WP): begin\\"; sleep 60"]}
"""  # noqa: E501

SPEC = "# Greeting\n\nFR-1: It greets\n- in a file\n"


def package(wp: str, needs: str = "", more: str = "") -> str:
    """A work package file."""
    return (
        f"---\nwork_package_id: {wp}\ntitle: Part {wp[2:]}\ndependencies: [{needs}]\ndeliverables: [{wp}.txt]\n"
        f"estimate: 2h\n{more}---\nWrite `{wp}.txt`.\n"
    )


def files(**more: str) -> dict[str, str]:
    """A repository with a feature of two packages, WP02 after WP01."""
    return {
        ".kittify/config.yaml": CONFIG,
        "features/001-greeting/spec.md": SPEC,
        "features/001-greeting/tasks/WP01-one.md": package("WP01"),
        "features/001-greeting/tasks/WP02-two.md": package("WP02", "WP01"),
        **more,
    }


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its one document."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """Its JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


def start(repo: Path, *args: str, environ: Mapping[str, str] | None = None) -> "subprocess.Popen[str]":
    """Starts the program in ``repo``."""
    return subprocess.Popen(
        [sys.executable, "-m", "agentpkg", *args], cwd=repo, env={**os.environ, **(environ or {})}, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def cli(repo: Path, *args: str, environ: Mapping[str, str] | None = None) -> Said:
    """Runs the program in ``repo`` to its end."""
    process = start(repo, *args, environ=environ)
    out, err = process.communicate(timeout=60)
    return Said(process.returncode, out, err)


def quick(repo: Path, *args: str, environ: Mapping[str, str] | None = None) -> Said:
    """As :func:`cli`, but in this process: for what has its own test as a process, and is only looked at here."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
    before = dict(os.environ)
    os.environ.update(environ or {})
    try:
        with contextlib.chdir(repo), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(args)
    finally:
        os.environ.clear()
        os.environ.update(before)
    texts = []
    for stream in (out, err):
        stream.flush()
        texts.append(stream.detach().getvalue().decode())  # type: ignore[attr-defined]
    return Said(code, *texts)


def work_package(wp: str = "WP01", state: str = "planned", **more: Any) -> dict[str, Any]:
    """One package of a status document."""
    return {
        "id": wp, "title": f"Title {wp}", "state": state, "ready": False, "dependencies": [], "blocked_by": [],
        "dependents": [], "deliverables": [], "estimate_seconds": None, "branch": f"feat/003-auth-{wp}",
        "worktree": f".worktrees/003-auth-{wp}", "session": None, "agent": None, "isolation": None,
        "review_cycle": 1, "verdict": None, "commits": 0, "files_changed": 0, "tests": None, "merge_commit": None,
        "forced": False, "started_at": None, "finished_at": None, "reason": None, "activity": None, **more,
    }  # fmt: skip


def status_document(*packages: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A status document."""
    done = sum(p["state"] == "done" for p in packages)
    return {
        "feature": {"id": "003-auth", "title": "Authentication", "state": "implementing", "target": "main"},
        "progress": {"done": done, "total": len(packages)}, "work_packages": list(packages), "critical_path": [],
        "estimate_seconds": 0, "warnings": [], **more,
    }  # fmt: skip
