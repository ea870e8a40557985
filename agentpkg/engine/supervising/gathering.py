"""What is found when all of a session is dead: its commits come in through admission, the rest is kept and told."""

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from agentpkg.core.errors import Lacking
from agentpkg.engine.supervising import fulldisk, tampering
from agentpkg.engine.supervising.plan import SessionPlan
from agentpkg.git import private, refs, snapshots, worktrees
from agentpkg.git.admission import Admitted, NothingNew, Refused, Request, admit
from agentpkg.git.admission_policy import Guard
from agentpkg.git.discover import Repository
from agentpkg.git.identity import user_identity
from agentpkg.git.lent import lent
from agentpkg.git.repo import Enclose, Git, GitFailed, git_program
from agentpkg.git.walk import blocking_files
from agentpkg.ledger.ledger import Ledger
from agentpkg.secrets.redact import Redactor

#: how often a machine that fails may be asked to look at commits
_ADMISSIONS = 5


class Desk(Protocol):
    """What ending a session needs of a repository."""

    @property
    def repository(self) -> Repository:
        """Where everything is."""

    @property
    def control(self) -> Git:
        """The control dir."""

    @property
    def ledger(self) -> Ledger:
        """The ledger."""


@dataclass(frozen=True, slots=True)
class Found:
    """What was found when all of a session was dead; all texts are redacted.

    Attributes:
        head: the branch's tip after admission, None when nothing came in.
        commits: the commits that came in, ``(id, subject)``, oldest first.
        files_changed: how many files they change.
        refused: why commits did not come in, the first finding as text.
        unread: that was the machine's fault.
        stops: changes to the real repository that stop the package.
        reports: changes to the real repository that are only told.
        adrift: somebody removed the worktree by hand: git knows no worktree in its place.
        snapshot: the commit that keeps uncommitted work, in the session's quarantine repository.
        uncommitted: how many paths were not committed.
        astray: where commits are that are not on the branch, in words.
    """

    head: str | None = None
    commits: tuple[tuple[str, str], ...] = ()
    files_changed: int = 0
    refused: str | None = None
    unread: bool = False
    stops: tuple[str, ...] = ()
    reports: tuple[str, ...] = ()
    adrift: bool = False
    snapshot: str | None = None
    uncommitted: int = 0
    astray: str | None = None

    @property
    def taken(self) -> bool:
        """Nothing kept the repository from taking in what was committed."""
        return self.refused is None and not self.stops


def gather(desk: Desk, plan: SessionPlan, folder: Path, redactor: Redactor | None) -> Found:
    """Takes in what a session committed, unless something speaks against it, and keeps what it did not.

    Args:
        redactor: knows the session's secrets; None: they are unknown, so that nothing can be admitted.
    """
    safe = redactor or Redactor({})
    own = (plan.branch, private.private_tip(Path(plan.private), plan.branch))
    seen = tampering.look(desk.repository, desk.ledger, plan.worktree, folder, own)
    snapshot, uncommitted = _snapshot(desk, plan, folder)
    reports = (*seen.reports, *_planted(plan.worktree))
    found = Found(
        stops=tuple(map(safe.redact, seen.stops)), reports=tuple(map(safe.redact, reports)),
        adrift=seen.adrift, snapshot=snapshot, uncommitted=uncommitted,
        astray=_astray(desk, plan, (own[1], plan.old_head, plan.base)),
    )  # fmt: skip
    if found.stops:
        return found
    if redactor is None:
        reason = "its commits cannot be searched for secrets any more; they are kept in the session's folder"
        return replace(found, refused=reason)
    named = _named_secret(desk, plan, redactor) if plan.secret_names else None
    if named is not None:
        return replace(found, refused=f"the name of a file that is not committed holds the secret {named}")
    outcome = _admit(desk, _request(desk, plan, redactor))
    if isinstance(outcome, Refused):
        return replace(found, refused=safe.redact(str(outcome)), unread=outcome.by_machine)
    if isinstance(outcome, Admitted):
        commits = tuple((c.sha, safe.redact(c.subject)) for c in outcome.commits)
        return replace(found, head=outcome.head, commits=commits, files_changed=outcome.files_changed)
    return found


def _admit(desk: Desk, request: Request) -> Admitted | Refused | NothingNew:
    """Asks more than once where the machine failed: too many files or processes at once are soon over."""
    for _ in range(_ADMISSIONS - 1):
        outcome = admit(desk.repository, desk.control, request)
        if not isinstance(outcome, Refused) or not outcome.by_machine:
            return outcome
        time.sleep(fulldisk.PAUSE)
    return admit(desk.repository, desk.control, request)


def enclosing(plan: SessionPlan) -> Enclose:
    """The walls of a session, around a git that reads what it made: all of it read-only, without a network."""
    from agentpkg.isolation import Walls

    walls = Walls(plan.isolation, plan.walls)
    borrowed = lent(plan.as_repository().objects)

    def enclose(reads: Sequence[Path], writes: Sequence[Path]) -> tuple[str, ...]:
        return walls.reader(git_program(), tuple(map(str, (*reads, *borrowed))), tuple(map(str, writes)))

    return enclose


def _planted(worktree: Path) -> list[str]:
    """What stands in place of the worktree's ``.git`` file; giving the worktree back moves it aside."""
    here = worktree / ".git"
    if not worktree.is_symlink() and (here.is_symlink() or here.is_dir()):
        return ["something else stood in place of the worktree's .git file; it is kept in the session's folder"]
    return []


def _request(desk: Desk, plan: SessionPlan, redactor: Redactor) -> Request:
    now = refs.branch_tip(desk.repository.git, plan.target)
    return Request(
        private=Path(plan.private), branch=plan.branch, old=plan.old_head,
        targets=tuple(tip for tip in (plan.base, now) if tip), secrets=redactor.finder,
        guard=Guard(plan.features_dirs), foreign=tuple(_foreign(desk, plan)), enclose=enclosing(plan),
    )  # fmt: skip


def _foreign(desk: Desk, plan: SessionPlan) -> list[str]:
    """Tips of the other packages' branches, and what their running sessions have made so far."""
    own = (plan.job["feature"], plan.job["wp"])
    tips = [row.head for row in desk.ledger.packages() if (row.feature, row.wp) != own]
    live = [row for row in desk.ledger.sessions(live=True) if row.id != plan.session]
    for row in live:
        package = desk.ledger.package(row.feature, row.wp)
        where = desk.repository.state / "sessions" / row.id / "git"
        if package is not None and package.branch and where.is_dir():
            tips.append(private.private_tip(where, package.branch))
    mine = {plan.old_head, plan.base}
    return [tip for tip in tips if tip is not None and tip not in mine]


def _astray(desk: Desk, plan: SessionPlan, known: tuple[str | None, ...]) -> str | None:
    with suppress(Lacking):
        return private.astray(private.git_dir(desk.repository, plan.worktree, Path(plan.private)), plan.branch, known)
    return None


def _snapshot(desk: Desk, plan: SessionPlan, folder: Path) -> tuple[str | None, int]:
    """Keeps uncommitted work in the session's quarantine; gives its commit and how many paths it is about."""
    if plan.worktree.is_symlink() or not plan.worktree.is_dir():
        return None, 0
    made = Path(plan.private)
    tip = private.private_tip(made, plan.branch)
    _unblock(plan.worktree, folder)
    for head in (tip, plan.old_head) if tip else (plan.old_head,):
        try:
            kept = snapshots.snapshot(
                desk.control, made, plan.worktree, head,
                provided=worktrees.provided(desk.repository, plan.worktree),
                excludes=user_identity(desk.repository.work_tree).excludes_file, enclose=enclosing(plan),
            )  # fmt: skip
        except GitFailed as error:
            if fulldisk.is_full(error, folder):
                raise
            # the tip is nonsense, which admission will say; measured against where the session began instead
            continue
        return kept.commit, kept.paths
    return None, 0


def _named_secret(desk: Desk, plan: SessionPlan, redactor: Redactor) -> str | None:
    """The secret that the name of an uncommitted file holds: a review, which knows no values, would tell that name.

    Measured against where the session began, since what it committed is nowhere yet but in its private git dir.
    """
    if plan.worktree.is_symlink() or not plan.worktree.is_dir():
        return None
    try:
        found = worktrees.changes(
            desk.control, plan.worktree, plan.old_head, provided=worktrees.provided(desk.repository, plan.worktree),
            excludes=user_identity(desk.repository.work_tree).excludes_file,
        )  # fmt: skip
    except GitFailed:
        # a tree that cannot be looked at shows no names to a review either
        return None
    return redactor.finder.find("\0".join(found.untracked).encode("utf-8", "surrogateescape"))


def _unblock(worktree: Path, folder: Path) -> None:
    """Moves pipes and the like, on which git would wait for ever, into the session's folder; nothing is in them."""
    for name in blocking_files(worktree):
        (worktree / name).rename(folder / f"found-in-worktree.{os.urandom(4).hex()}")
