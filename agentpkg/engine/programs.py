"""What the programs of agents say of themselves: their version, and whether their user is signed in.

All are asked side by side and within a deadline. A program that takes long (on a busy machine some need ten seconds to
say their version) does not hold the others up: what it said last time stands in, as long as its file is the same.
"""

import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agentpkg import proc
from agentpkg.config import AgentSettings
from agentpkg.core.errors import AgentpkgError
from agentpkg.engine.project import Project
from agentpkg.files import read_bounded, write_atomic
from agentpkg.harnesses.base import AsksSignIn, Harness, SignIn

#: what programs said of their versions, in the state folder
FILE = "programs.json"

#: seconds that a program may take to answer
_DEADLINE = 10.0
#: the same where it is known what it said before
_SOON = 3.0

#: variables that a program which is asked something may see: where it is, and where it keeps its sign-in
_ASKED_WITH = ("PATH", "HOME", "USER", "LANG", "TMPDIR", "CLAUDE_CONFIG_DIR", "CODEX_HOME", "XDG_CONFIG_HOME")

_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class Said:
    """What one program said.

    Attributes:
        version: its first line; None when it said none.
        late: why that is not fresh, or missing; empty when it answered in time, or cannot be asked.
    """

    version: str | None
    late: str
    signed: SignIn


class Programs:
    """Asks, and keeps the versions; nowhere while the repository has no state yet.

    Args:
        deadline: seconds for a program that has not been asked before.
        soon: seconds for one that has.
    """

    def __init__(self, project: Project, deadline: float = _DEADLINE, soon: float = _SOON) -> None:
        self._env = {key: project.environ[key] for key in _ASKED_WITH if key in project.environ}
        self._file = project.state / FILE
        self._deadline, self._soon = deadline, soon
        self._known = _read(self._file)
        self._now: dict[str, dict[str, str]] = {}

    def ask(self, harness: Harness, agent: AgentSettings, problem: str | None) -> Said:
        """Asks one agent's program; not about a sign-in where a ``problem`` keeps it from being started."""
        with ThreadPoolExecutor(max_workers=2) as pool:
            signed = pool.submit(self._signed_in, harness, agent) if problem is None else None
            version, late = self._version(harness.version_command(agent))
            return Said(version, late, signed.result() if signed else SignIn(None, ""))

    def keep(self) -> None:
        """Remembers what was said."""
        new = any(self._known.get(path) != said for path, said in self._now.items())
        if new and self._file.parent.is_dir():
            # a folder that cannot be written costs the waiting, nothing else
            with suppress(OSError):
                write_atomic(self._file, json.dumps({**self._known, **self._now}, indent=1, sort_keys=True))

    def _version(self, argv: Sequence[str] | None) -> tuple[str | None, str]:
        if not argv:
            return None, ""
        stamp = _stamp(argv[0])
        kept = self._known.get(argv[0], {})
        before = kept.get("version") if stamp and kept.get("stamp") == stamp else None
        deadline = self._deadline if before is None else self._soon
        found = self._run(argv, deadline)
        if found is None:
            return None, ""
        if found.timed_out:
            told = f"it did not tell its version within {deadline:g} s"
            return before, f"{told}: as it did before" if before else told
        lines = found.stdout.decode("utf-8", "replace").strip().splitlines()
        version = lines[0][:100] if found.exit_code == 0 and lines else None
        if version and stamp:
            self._now[argv[0]] = {"stamp": stamp, "version": version}
        return version, ""

    def _signed_in(self, harness: Harness, agent: AgentSettings) -> SignIn:
        """Asks the program, where it can be asked for nothing."""
        if not isinstance(harness, AsksSignIn):
            return SignIn(None, "")
        argv = harness.sign_in_command(agent)
        if argv is None:
            return harness.sign_in(agent, 0, "")
        found = self._run(argv, self._deadline)
        if found is None or found.timed_out:
            return SignIn(None, f"not known: it did not answer within {self._deadline:g} s")
        return harness.sign_in(agent, found.exit_code, found.stdout.decode("utf-8", "replace"))

    def _run(self, argv: Sequence[str], deadline: float) -> proc.Result | None:
        """How a program ended that is only asked something; None when it cannot be started."""
        try:
            return proc.run(
                argv, env=self._env, cwd=Path("/"), timeout=deadline, grace=0.5, merge=True, limit=1 << 16
            )  # fmt: skip
        except AgentpkgError:
            return None


def _stamp(path: str) -> str:
    """Changes with the file; package managers set times of writing back, but not when an inode changed."""
    try:
        real = os.path.realpath(path)
        seen = os.stat(real)
    except OSError:
        return ""
    return f"{real} {seen.st_size} {seen.st_mtime_ns} {seen.st_ctime_ns} {seen.st_ino}"


def _read(file: Path) -> Mapping[str, Mapping[str, str]]:
    try:
        known = json.loads(read_bounded(file, _LIMIT))
    except (OSError, AgentpkgError, ValueError):
        return {}
    return {path: said for path, said in known.items() if isinstance(said, dict)} if isinstance(known, dict) else {}
