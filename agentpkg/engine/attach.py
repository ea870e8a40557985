"""Watching a session from a command: it may come and go, the session stays with its supervisor."""

import threading
from collections.abc import Callable

from agentpkg.core.records import SessionRow
from agentpkg.engine.project import Project
from agentpkg.engine.upkeep import recovery

#: seconds between two looks at the ledger
_LOOK = 0.05

#: seconds between two looks for a supervisor that has died
_PULSE = 1.0


def wait(project: Project, session: str, tick: Callable[[], None] | None = None) -> SessionRow:
    """Waits until a session has ended, and gives its row.

    Args:
        tick: called at every look, to show what the session does; what it raises ends the wait, not the session.
    """
    quiet = threading.Event()
    looks = 0
    seen = -1
    while True:
        version = project.ledger.data_version()
        if version != seen:
            seen = version
            row = project.ledger.session(session)
            if row is not None and row.ended_at is not None:
                return row
        if tick is not None:
            tick()
        looks += 1
        if looks % round(_PULSE / _LOOK) == 0:
            recovery.reconcile(project)
            seen = -1
        quiet.wait(_LOOK)
