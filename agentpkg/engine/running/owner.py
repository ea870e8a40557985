"""Who runs a feature: the record that a run keeps while it holds the feature's run lock.

The lock (``locks/run-FEATURE.lock``) decides; the record (``runs/FEATURE.json``) says who holds it, for people and for
commands that want something of that run. A record whose process is gone tells how its run ended.
"""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agentpkg import files, proc
from agentpkg.core.chain import rfc3339
from agentpkg.core.errors import BadInput, Busy
from agentpkg.engine.project import Project

_LIMIT = 1 << 20

#: seconds in which everybody who only looks at the lock has let go of it
_GLANCE = 0.5


@dataclass(frozen=True, slots=True)
class Owner:
    """The process that runs a feature, or has run it last.

    Attributes:
        pid: its process.
        started: the process's start, as :class:`agentpkg.proc.ProcessIdentity` has it.
        boot_id: the machine, boot and namespace that ``pid`` belongs to.
        since: when the run began; RFC 3339, UTC.
        actor: who started it, ``human:LOGIN``.
        jobs: sessions at once.
        detached: it has no terminal; its words go to ``runs/FEATURE.log``.
        ended_at: when it let go of the feature; None while it runs, or when it was killed.
        exit_code: how its command ended; None until it has.
        document: the last line of ``run --json``, for those who watched it.
    """

    feature: str
    pid: int
    started: str
    boot_id: str
    since: str
    actor: str
    jobs: int
    detached: bool = False
    ended_at: str | None = None
    exit_code: int | None = None
    document: dict[str, Any] | None = None

    @property
    def alive(self) -> bool:
        """The process still runs, or cannot be judged from here: unknown is not dead."""
        return proc.alive(proc.ProcessIdentity(self.pid, self.started, self.boot_id)) is not False

    @property
    def stopped(self) -> bool:
        """The process was told to stop (Ctrl-Z, SIGSTOP), and waits to be told to go on."""
        found = self._process
        return found is not None and found.stopped

    @property
    def _process(self) -> proc.Process | None:
        here = self.boot_id.split(".")[1:] == proc.here().split(".")[1:]
        found = proc.look(self.pid) if here else None
        return found if found is not None and found.started == self.started else None

    def wake(self) -> None:
        """Tells the process to go on, if it is stopped."""
        found = self._process
        if found is not None and found.stopped:
            proc.send(found, signal.SIGCONT)

    @property
    def seconds(self) -> int:
        """How long the run took, as far as is known."""
        begun = datetime.fromisoformat(self.since)
        return int((datetime.fromisoformat(self.ended_at or self.since) - begun).total_seconds())

    def as_json(self) -> dict[str, Any]:
        """As ``status --json`` shows it."""
        return {
            "pid": self.pid, "since": self.since, "by": self.actor, "jobs": self.jobs, "detached": self.detached,
            "stopped": self.stopped,
        }  # fmt: skip


def lock_path(state: Path, feature: str) -> Path:
    """The lock that a run of a feature holds."""
    return state / "locks" / f"run-{feature}.lock"


def log_path(state: Path, feature: str) -> Path:
    """Where a detached run's words go."""
    return state / "runs" / f"{feature}.log"


def last(state: Path, feature: str) -> Owner | None:
    """The newest record of a feature's runs, of a live or an ended one; None when there is none that can be read."""
    try:
        return Owner(**json.loads(files.read_bounded(_record(state, feature), _LIMIT)))
    except (FileNotFoundError, ValueError, TypeError, BadInput):
        return None


def current(state: Path, feature: str) -> Owner | None:
    """Who runs a feature now, None when nobody does."""
    found = last(state, feature)
    if found is None or found.ended_at is not None or not found.alive:
        return None
    # of a process in another container it cannot be known whether it lives, of the lock it can
    return found if files.is_locked(lock_path(state, feature)) else None


@contextmanager
def _held(state: Path, feature: str) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            # those who only look hold it for a moment
            stack.enter_context(files.lock(lock_path(state, feature), timeout=_GLANCE, what=f"a run of {feature}"))
        except Busy as error:
            raise _busy(state, feature) from error
        yield


@contextmanager
def running(project: Project, feature: str, jobs: int, detached: bool = False) -> Iterator[Owner]:
    """Makes this process the feature's runner for the block.

    Raises:
        Busy: another run works on this feature; the error's details say who.
    """
    with _held(project.repository.make_state(), feature):
        who = proc.identity(os.getpid())
        assert who is not None
        me = Owner(feature, who.pid, who.started, who.boot_id, _now(), project.actor, jobs, detached)
        _write(project.state, me)
        try:
            yield me
        finally:
            # on a full disk the record stays as it was, of a process that has ended
            with suppress(OSError):
                _write(project.state, replace(me, ended_at=_now()))


def require_free(state: Path, feature: str) -> None:
    """Nobody runs the feature: its lock is free.

    Raises:
        Busy: who does, and what can be done about it.
    """
    if files.is_locked(lock_path(state, feature)):
        raise _busy(state, feature)


def _busy(state: Path, feature: str) -> Busy:
    """The lock decides, the record says it better, where it is there."""
    other = current(state, feature)
    if other is None:
        return Busy(
            f"somebody runs {feature} already", "wait for its end; `agentpkg status` shows what it does",
            code="runs_already",
        )  # fmt: skip
    how = f"let it go on with `kill -CONT {other.pid}`, " if other.stopped else ""
    return Busy(
        f"{other.actor} runs {feature} already, in process {other.pid}{', which is stopped' if other.stopped else ''}",
        f"{how}watch it with `agentpkg attach {feature}`, or end it with `agentpkg stop {feature}`",
        code="runs_already", details=other.as_json(),
    )  # fmt: skip


def note_exit(state: Path, feature: str, exit_code: int, document: dict[str, Any]) -> None:
    """Notes how this process's run ended, for those who watched it; no other run's record is touched."""
    with suppress(Busy, OSError), files.lock(lock_path(state, feature), timeout=0):
        found, me = last(state, feature), proc.identity(os.getpid())
        if found is not None and me is not None and (found.pid, found.started) == (me.pid, me.started):
            _write(state, replace(found, exit_code=exit_code, document=document))


def _now() -> str:
    return rfc3339(datetime.now(UTC))


def _record(state: Path, feature: str) -> Path:
    return state / "runs" / f"{feature}.json"


def _write(state: Path, owner: Owner) -> None:
    (state / "runs").mkdir(mode=0o700, exist_ok=True)
    files.write_atomic(_record(state, owner.feature), json.dumps(asdict(owner)))
