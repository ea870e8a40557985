"""Who owns a live session: the process whose identity its row names.

Ownership passes from the dispatcher to the supervisor, and from a dead one to the command that ends the session. Each
passes it on in one transaction that looks at the owner it expects, so that no two ever act for one session.
"""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from agentpkg import proc
from agentpkg.core.model import SessionRow
from agentpkg.files import write_atomic
from agentpkg.git.discover import read_small
from agentpkg.ledger.ledger import Ledger

_OWNER = "owner.json"


def owned_by(pid: int) -> Callable[[SessionRow], bool]:
    """Whether a session's row names this very process, as it runs now."""
    who = proc.identity(pid)
    return lambda row: who is not None and (row.pid, row.pid_started) == (who.pid, who.started)


def holds(ledger: Ledger, session: str, pid: int) -> bool:
    """Whether a process still owns a session that is still live; one that does not may change nothing any more."""
    row = ledger.session(session)
    return row is not None and row.ended_at is None and owned_by(pid)(row)


def is_dead(row: SessionRow) -> bool:
    """The process that owns the session is known to be gone; one that cannot be judged is not."""
    if row.pid is None or row.pid_started is None:
        return False
    return proc.alive(proc.ProcessIdentity(row.pid, row.pid_started, row.boot_id or "")) is False


def dead() -> proc.ProcessIdentity:
    """An owner that has ended for certain, for a session of whose owner nothing is known but that."""
    me = proc.identity(os.getpid())
    assert me is not None
    return replace(me, started="0")


def sign(folder: Path, pid: int) -> None:
    """Writes into a session's folder which process supervises it, for when the ledger is lost."""
    who = proc.identity(pid)
    if who is not None:
        write_atomic(folder / _OWNER, json.dumps(asdict(who)))


def signed(folder: Path) -> proc.ProcessIdentity | None:
    """The process that has signed a session's folder."""
    try:
        return proc.ProcessIdentity(**json.loads(read_small(folder / _OWNER) or b""))
    except (ValueError, TypeError):
        return None


def take(ledger: Ledger, session: str, pid: int, may: Callable[[SessionRow], bool]) -> bool:
    """Makes a process the owner of a live session.

    Args:
        pid: of the new owner, which must be alive.
        may: looks at the row within the transaction: whether its owner gives way.

    Returns:
        False, with nothing changed, when the session has ended or belongs to somebody else.
    """
    who = proc.identity(pid)
    if who is None:
        return False
    with ledger.write() as tx:
        row = tx.session(session)
        if row is None or row.ended_at is not None or not may(row):
            return False
        tx.put_session(replace(row, pid=who.pid, pid_started=who.started, boot_id=who.boot_id))
    return True
