"""Seeing to it that a session which a person asked to stop does stop, though its supervisor is stopped or hangs.

A supervisor that lives is never taken for dead, and nobody takes its session over. But a person's word stands above
it: one that was stopped is told to go on, and one that gives no sign of life all the same is killed. From then on it
is dead, and its session is ended like that of any dead one. Every command that waits, and the next one that changes
state, look here, so that whoever asked may be gone.
"""

import signal
import time
from pathlib import Path

from agentpkg import proc
from agentpkg.core.errors import Busy
from agentpkg.core.records import SessionRow
from agentpkg.engine.project import Project
from agentpkg.engine.supervising import control, lease
from agentpkg.sessions.pulse import Pulse, read_members, read_pulse

#: seconds without a sign of life after which a supervisor that was asked to stop is killed; while it takes in what was
#: made it gives none, and has longer
_PATIENCE, _ENDING = 10.0, 900.0

#: seconds after which a person is told that it cannot be ended from here
_HOPELESS = 30.0


def insist(project: Project, row: SessionRow) -> None:
    """Wakes, or in the end kills, the supervisor of a session that was asked to stop and does not."""
    folder = project.state / "sessions" / row.id
    asked, pulse = control.asked(folder), read_pulse(folder)
    # without a sign so far its owner is the command that is just starting it, which is not ours to end
    if asked is None or pulse is None or not lease.alive(row) or row.pid is None or row.pid_started is None:
        return
    supervisor = proc.ProcessIdentity(row.pid, row.pid_started, row.boot_id or "")
    for stopped in _stopped(supervisor, folder):
        proc.send(stopped, signal.SIGCONT)
    if _quiet(pulse, asked) > (_ENDING if pulse.phase == "ending" else _PATIENCE):
        proc.send(supervisor, signal.SIGKILL)


def _quiet(pulse: Pulse, asked: control.Cancel) -> float:
    """Seconds for which it has given no sign since it was asked."""
    return time.monotonic() - max(pulse.at, asked.at)


def _stopped(supervisor: proc.ProcessIdentity, folder: Path) -> list[proc.Process]:
    """The supervisor and its watcher, if they were told to stop."""
    found = [proc.look(supervisor.pid)]
    above = found[0].parent if found[0] is not None else None
    members = read_members(folder)
    if above in members:
        watcher = proc.look(above)
        found += [watcher] if watcher is not None and watcher.started == members[above] else []
    return [process for process in found if process is not None and process.stopped]


class Patience:
    """Tells a person who waits for a session's end when that cannot be brought about from here.

    Args:
        hopeless: seconds without a sign of life after which that is so.
    """

    def __init__(self, project: Project, session: str, hopeless: float = _HOPELESS) -> None:
        self._project, self._session, self._hopeless = project, session, hopeless
        self._seen: Pulse | None = None
        self._since = time.monotonic()

    def look(self) -> None:
        """To be called while waiting.

        Raises:
            Busy: nothing was heard of its supervisor for half a minute.
        """
        pulse = read_pulse(self._project.state / "sessions" / self._session)
        if pulse != self._seen or (pulse is not None and pulse.phase == "ending"):
            self._seen, self._since = pulse, time.monotonic()
        if time.monotonic() - self._since > self._hopeless:
            row = self._project.ledger.session(self._session)
            process = f"process {row.pid}" if row is not None and row.pid else "its process"
            raise Busy(
                f"session {self._session} was asked to stop, but {process}, which owns it, does not answer, and cannot "
                "be ended from here",
                f"end {process} where it runs, as whoever started it; then try again",
                code="not_answering",
            )
