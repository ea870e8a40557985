"""The snapshots of a package's uncommitted work, and bringing one back into its worktree."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agentpkg.core.chain import rfc3339
from agentpkg.core.errors import BadInput, Busy, NotAllowed
from agentpkg.core.records import PackageRow
from agentpkg.engine.dispatching import room
from agentpkg.engine.project import Project
from agentpkg.engine.upkeep import recovery
from agentpkg.git import worktrees
from agentpkg.git.snapshots import END, REFUSED, Kept, kept_in, restore

#: hex digits of a snapshot's commit that name it
_SHORT, _SHORTEST = 12, 4


@dataclass(frozen=True, slots=True)
class Listed:
    """One snapshot of a package."""

    session: str
    kept: Kept

    @property
    def id(self) -> str:
        """What a person calls it."""
        return self.kept.commit[:_SHORT]

    def as_json(self) -> dict[str, Any]:
        """As ``snapshots --json`` has it; ``why`` is ``working``, ``refused``, ``end`` or ``rewind``."""
        label = self.kept.label
        why = "rewind" if label.startswith("rewind") else label if label in (END, REFUSED) else "working"
        return {
            "id": self.id, "session": self.session, "time": rfc3339(datetime.fromtimestamp(self.kept.seconds, UTC)),
            "why": why, "files": self.kept.files, "bytes": self.kept.size, "commit": self.kept.commit,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rewound:
    """A snapshot is back in the worktree.

    Attributes:
        files: how many files are other ones now.
        saved: the snapshot of what was there, None when nothing of it was uncommitted.
    """

    listed: Listed
    worktree: Path
    files: int
    saved: str | None


def listed(project: Project, feature: str, wp: str) -> list[Listed]:
    """Every snapshot of a package, of live, ended and refused sessions, oldest first."""
    ledger = project.ledger_if_any
    found = []
    for session in ledger.sessions(feature, wp) if ledger else ():
        folder = project.state / "sessions" / session.id
        found += [Listed(session.id, kept) for kept in kept_in(project.repository, folder)]
    return found


def rewind(project: Project, feature: str, wp: str, wanted: str | None) -> Rewound:
    """Brings a snapshot back into the package's worktree, which is made again if it is gone.

    What is there is kept as a snapshot first. Branches stay where they are: what comes back shows as changes.

    Args:
        wanted: the beginning of a snapshot's id; None: the newest.

    Raises:
        BadInput: there is no such snapshot, or more than one.
        Busy: a session works on the package.
        NotAllowed: something that would be lost is in the way; nothing was changed.
    """
    project.require_person(f"rewind {wp}")
    recovery.reconcile(project)
    row = project.row(feature, wp)
    every = listed(project, feature, wp)
    chosen = _chosen(every, wanted, f"{feature} {wp}")
    _require_idle(project, row)
    path = project.worktree(feature, wp)
    newest = project.state / "sessions" / project.ledger.sessions(feature, wp)[-1].id
    admin = _make_worktree(project, row, path, newest)
    with worktrees.hold(project.repository, path):
        # a dispatch that came meanwhile waits for this lock before it uses the worktree
        _require_idle(project, row)
        head = project.branch_tip(row.branch or "")
        assert head is not None
        saved, files = restore(
            project.repository, project.state / "sessions" / chosen.session, chosen.kept.commit, path, admin, head,
            newest, provided=worktrees.provided(project.repository, path), excludes=project.user.excludes_file,
        )  # fmt: skip
    return Rewound(chosen, path, files, saved.commit[:_SHORT] if saved.commit else None)


def _chosen(every: Sequence[Listed], wanted: str | None, where: str) -> Listed:
    if not every:
        raise NotAllowed(
            f"{where} has no snapshots", "one is made when an agent leaves work that it did not commit",
            code="no_snapshot",
        )  # fmt: skip
    if wanted is None:
        return every[-1]
    fitting = {one.kept.commit: one for one in every if one.kept.commit.startswith(wanted.lower())}
    if len(fitting) != 1 or len(wanted) < _SHORTEST:
        what = "no snapshot" if not fitting else f"more than one snapshot (or fewer than {_SHORTEST} digits)"
        raise BadInput(
            f"{where} has {what} {wanted}", f"see `agentpkg snapshots {where}`", code="unknown_snapshot",
            details={"known": [one.id for one in every]},
        )  # fmt: skip
    return next(iter(fitting.values()))


def _require_idle(project: Project, row: PackageRow) -> None:
    live = project.ledger.sessions(row.feature, row.wp, live=True)
    if live:
        raise Busy(
            f"{row.wp} is being worked on by {live[0].agent} in session {live[0].id}",
            f"wait for it, or stop it with `agentpkg cancel {row.feature} {row.wp} --reason TEXT`",
            details={"session": live[0].id, "agent": live[0].agent},
        )


def _make_worktree(project: Project, row: PackageRow, path: Path, session: Path) -> Path:
    """The admin dir of the package's worktree, which is made where there is none."""
    branch = row.branch or project.branch_name(row.feature, row.wp)
    room.give_back(project, path, session)
    worktrees.require_free(project.repository, path, branch)
    worktrees.ensure_excluded(project.repository, f"/{project.settings.project.worktrees_dir}/")
    start = row.head if row.head and _is_there(project, row.head) else None
    feature = project.ledger.feature(row.feature)
    assert feature is not None
    base = project.target_tip(feature.target)
    return worktrees.create(project.repository, project.control, path, branch, base, start)


def _is_there(project: Project, commit: str) -> bool:
    asked = project.repository.git.run("cat-file", "-e", f"{commit}^{{commit}}", ok=(0, 1, 128))
    return asked.returncode == 0
