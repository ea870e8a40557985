"""Who owns a live session: the process whose identity its row names.

Ownership passes from the dispatcher to the supervisor, and from a dead one to the command that ends the session. Each
passes it on in one transaction that looks at the owner it expects, so that no two ever act for one session.

Whoever has lost a session may change nothing any more, however late it wakes up. What it writes to the ledger checks
the owner in the same transaction (:func:`require`). What it does beside the ledger, to branch, worktree and git dir,
and starting a process there, it does within :func:`acting`: that holds the session's lock, without which nobody takes
a session over. The kernel drops the lock with its holder's death, so a dead one stands in nobody's way.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from agentpkg import proc
from agentpkg.core.errors import Busy
from agentpkg.core.records import SessionRow
from agentpkg.files import lock, write_atomic
from agentpkg.git.discover import read_small
from agentpkg.ledger.ledger import Ledger, Transaction

_OWNER = "owner.json"

#: seconds to wait for the session's lock: as long as whoever holds it may be doing something
_PATIENCE = 5.0


class Fenced(Exception):
    """This process does not own the session any more: whatever it was about to do is not its business."""


def owned_by(pid: int) -> Callable[[SessionRow], bool]:
    """Whether a session's row names this very process, as it runs now."""
    who = proc.identity(pid)
    return lambda row: who is not None and (row.pid, row.pid_started) == (who.pid, who.started)


def holds(ledger: Ledger, session: str, pid: int) -> bool:
    """Whether a process still owns a session that is still live; one that does not may change nothing any more."""
    row = ledger.session(session)
    return row is not None and row.ended_at is None and owned_by(pid)(row)


def require(tx: Transaction, session: str) -> SessionRow:
    """The row of a session that this process owns.

    Raises:
        Fenced: it does not, or the session has ended.
    """
    row = tx.session(session)
    if row is None or row.ended_at is not None or not owned_by(os.getpid())(row):
        raise Fenced(session)
    return row


@contextmanager
def acting(ledger: Ledger, session: str) -> Iterator[None]:
    """For the block, this process owns the session and nobody can take it over. Not re-entrant.

    Raises:
        Fenced: it does not own it.
    """
    with _locked(ledger, session, None):
        if not holds(ledger, session, os.getpid()):
            raise Fenced(session)
        yield


def is_dead(row: SessionRow) -> bool:
    """The process that owns the session is known to be gone; one that cannot be judged is not."""
    return alive(row) is False


def alive(row: SessionRow) -> bool | None:
    """Whether the process that owns a live session runs; None when it cannot be known from here."""
    if row.pid is None or row.pid_started is None:
        return None
    return proc.alive(proc.ProcessIdentity(row.pid, row.pid_started, row.boot_id or ""))


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


def of_this_boot(row: SessionRow) -> bool:
    """Whether the pids of a session are pids of this machine's present boot, as seen from here."""
    return (row.boot_id or "").split(".")[1:] == proc.here().split(".")[1:]


def take(
    ledger: Ledger, session: str, pid: int, may: Callable[[SessionRow], bool], patience: float = _PATIENCE
) -> bool:
    """Makes a process the owner of a live session.

    Args:
        pid: of the new owner, which must be alive.
        may: looks at the row within the transaction: whether its owner gives way.
        patience: seconds to wait while its owner is just doing something that must not be cut in two.

    Returns:
        False, with nothing changed, when the session has ended or belongs to somebody else.
    """
    who = proc.identity(pid)
    if who is None:
        return False
    try:
        with _locked(ledger, session, patience), ledger.write() as tx:
            row = tx.session(session)
            if row is None or row.ended_at is not None or not may(row):
                return False
            tx.put_session(replace(row, pid=who.pid, pid_started=who.started, boot_id=who.boot_id))
    except (Busy, Fenced):
        return False
    return True


@contextmanager
def _locked(ledger: Ledger, session: str, timeout: float | None) -> Iterator[None]:
    state = ledger.path.parent
    with ExitStack() as stack:
        try:
            if state.is_dir():
                # sessions outlive their folders, which a person may have removed
                (state / "sessions").mkdir(mode=0o700, exist_ok=True)
            stack.enter_context(lock(state / "sessions" / session / "lock", timeout, what=f"session {session}"))
        except FileNotFoundError:
            # the repository was moved away: whoever finds the session in its new place ends it
            raise Fenced(session) from None
        yield
