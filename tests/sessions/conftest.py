import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from agentpkg.harnesses.base import Launch, Reader
from agentpkg.harnesses.command import PlainReader
from agentpkg.secrets.redact import Redactor
from agentpkg.sessions.log import NAME, SessionLog, records
from agentpkg.sessions.runner import Ended, run, session_mark

Runs = Callable[..., Ended]


class Stage:
    """A folder in which agents are run, and the log of what they did."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.work = root / "work"
        self.work.mkdir()
        # unique on the machine: a run kills all that carries its mark, also of another test run
        self.mark = session_mark(f"sess_{os.urandom(8).hex()}")
        self.env: Mapping[str, str] = {
            "PATH": os.environ["PATH"],
            "AGENTPKG_SESSION": self.mark.partition("=")[2],
        }

    def shell(self, script: str, **more: Any) -> Ended:
        """Runs a shell script as the agent."""
        return self.run(Launch(("/bin/sh", "-c", script)), **more)

    def python(self, program: str, **more: Any) -> Ended:
        """Runs a Python program as the agent."""
        return self.run(Launch((sys.executable, "-c", program)), **more)

    def run(
        self, launch: Launch, reader: Reader | None = None, redactor: Redactor | None = None, limit: int = 1 << 24,
        **more: Any,
    ) -> Ended:  # fmt: skip
        redactor = redactor or Redactor({})
        log = SessionLog(self.root / NAME, redactor, limit)
        settings = {"timeout": 30.0, "grace": 0.4, **more}
        try:
            return run(
                launch, reader or PlainReader(), cwd=self.work, env=self.env, mark=self.mark, log=log,
                redactor=redactor, **settings,
            )  # fmt: skip
        finally:
            log.close()

    def texts(self, kind: str = "output") -> list[str]:
        """The texts of one kind in the log."""
        return [record["text"] for record in records(self.root / NAME) if record["kind"] == kind]

    def pids(self, name: str = "pids") -> list[int]:
        """The pids that an agent wrote to a file."""
        path = self.work / name
        return [int(line) for line in path.read_text().split()] if path.exists() else []


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)
