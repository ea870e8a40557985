"""Jobs and agents for the tests of harnesses and sessions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from agentpkg.harnesses.base import Job


@dataclass(frozen=True)
class SomeAgent:
    """Settings of an agent, as a harness sees them."""

    name: str = "tester"
    command: tuple[str, ...] = ()
    prompt: Literal["stdin", "file", "argument"] = "stdin"
    transcripts: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


def job(root: Path, **changes: Any) -> Job:
    """A job in ``root``, which is repository and worktree in one."""
    values = {
        "session": "sess_01", "feature": "003-auth", "wp": "WP02", "attempt": 1, "repository": str(root),
        "worktree": str(root), "prompt": "# Mission\nDo it.\n", "prompt_path": str(root / "prompt.md"),
        "task_path": str(root / "task.md"),
        "folder": str(root / "harness"), "private": str(root / "git"),
    }  # fmt: skip
    return Job(**{**values, **changes})
