"""What changed in the real repository while a session ran, without what the ledger explains.

Other packages begin, are admitted and land all the while; only what none of that accounts for is worth a person's look.
"""

import json
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from agentpkg.core.model import State
from agentpkg.core.records import PackageRow, SessionRow
from agentpkg.files import read_bounded, write_atomic
from agentpkg.git import fingerprint, worktrees
from agentpkg.git.discover import Repository
from agentpkg.git.fingerprint import Findings, Fingerprint
from agentpkg.ledger.ledger import Ledger

_LIMIT = 64 << 20

#: how long git may hold a lock before somebody is told of it
_LOCK_SECONDS = 3.0


def remember(repo: Repository, worktree: Path, folder: Path) -> None:
    """Keeps the repository's fingerprint in the session's folder; the worktree's ``.git`` is still its own."""
    write_atomic(folder / fingerprint.FILE, json.dumps(_take(repo, worktree).as_json()), sync=True)


def look(repo: Repository, ledger: Ledger, worktree: Path, folder: Path, admitted: tuple[str, str | None]) -> Findings:
    """What has changed since :func:`remember`; nothing where that was never called.

    Args:
        admitted: the session's own branch and the tip it has in the private dir: where it is there already, an
            admission that was cut short has brought it there.
    """
    try:
        before = Fingerprint.from_json(json.loads(read_bounded(folder / fingerprint.FILE, _LIMIT)))
    except FileNotFoundError:
        return Findings()
    except (ValueError, KeyError, TypeError):
        return Findings(reports=("what the repository was like before the session cannot be read any more",))
    after = _take(repo, worktree)
    # read after the fingerprint was taken, so that what moved until then is known
    before, after = without_explained(before, after, ledger.packages(), ledger.sessions(), own=worktree.name)
    ref, tip = f"refs/heads/{admitted[0]}", admitted[1]
    if tip is not None and after.refs.get(ref) == tip:
        before = replace(before, refs={**before.refs, ref: tip})
    found = fingerprint.compare(before, after)
    return replace(found, reports=tuple(line for line in found.reports if not _is_passing(repo, line)))


def without_explained(
    before: Fingerprint, after: Fingerprint, packages: Iterable[PackageRow], sessions: Iterable[SessionRow], own: str
) -> tuple[Fingerprint, Fingerprint]:
    """Both fingerprints without refs and worktrees whose change the ledger accounts for (pure).

    Args:
        own: the name of the session's own worktree, whose coming and going nothing explains.
    """
    rows = list(packages)
    tips: dict[tuple[str, str], set[str | None]] = {(row.feature, row.wp): {row.head, row.base} for row in rows}
    at_work: set[str] = set()
    for session in sessions:
        tips.setdefault((session.feature, session.wp), set()).update((session.old_head, session.new_head))
        if session.ended_at is None:
            at_work.add(f"{session.feature}-{session.wp}")
    known: dict[str, set[str | None]] = {}
    for row in rows:
        gone: set[str | None] = {None} if row.state in (State.DONE, State.CANCELLED) else set()
        known[f"refs/heads/{row.branch}"] = (tips[row.feature, row.wp] - {None}) | gone
    merges = {row.merge_commit for row in rows} - {None}
    moved = {name for name in before.refs.keys() | after.refs.keys() if before.refs.get(name) != after.refs.get(name)}
    landed = {name for name in moved if after.refs.get(name) in merges}
    # the branch of a package at work is guarded by its own session, whose admission knows where it has to be
    guarded = {f"refs/heads/{row.branch}" for row in rows if f"{row.feature}-{row.wp}" in at_work - {own}}
    drop = landed | {name for name in moved & known.keys() if name in guarded or after.refs.get(name) in known[name]}
    others = {f"{row.feature}-{row.wp}" for row in rows if row.branch} - {own}
    return _less(before, after, drop, others, bool(landed)), _less(after, before, drop, others, bool(landed))


def _less(one: Fingerprint, other: Fingerprint, refs: set[str], packages: set[str], landed: bool) -> Fingerprint:
    there = _admins(other)

    def explained(path: str) -> bool:
        # a checkout of the target follows a landing, index and all
        if landed and path.rpartition("/")[2] == "index":
            return True
        admin = _admin(path)
        return admin in packages and admin not in there

    return Fingerprint(
        {path: value for path, value in one.guarded.items() if _admin(path) not in packages or _admin(path) in there},
        {path: value for path, value in one.watched.items() if not explained(path)},
        {name: value for name, value in one.refs.items() if name not in refs},
    )


def _admins(of: Fingerprint) -> set[str]:
    return {_admin(path) for path in of.guarded} - {""}


def _admin(path: str) -> str:
    parts = path.split("/")
    return parts[1] if parts[0] == "worktrees" else ""


def _is_passing(repo: Repository, line: str) -> bool:
    """A lock file that was only there, or gone, at one of the two moments: a landing holds one while it writes."""
    name, _, verb = line.partition(" ")
    return name.endswith(".lock") and (verb == "vanished" or _goes(repo.common_dir / name))


def _goes(lock: Path) -> bool:
    deadline = time.monotonic() + _LOCK_SECONDS
    while lock.exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _take(repo: Repository, worktree: Path) -> Fingerprint:
    # under the lock, or another package's worktree could be seen half made
    with worktrees.refs_lock(repo):
        return fingerprint.take(repo, worktree)
