"""The end of a session: what the agent made comes in through admission, and the facts decide how it ended.

Its supervisor does this; after a supervisor's death the next command does, from what lies in the session's folder.
Each step may be repeated, so that a death in the middle is finished by whoever comes next: what is known of the
process is written down first, and what was found before anything is given back.
"""

import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from agentpkg.core.errors import AgentpkgError, Lacking
from agentpkg.core.model import FailureClass, Outcome
from agentpkg.engine import transition
from agentpkg.engine.supervising import control, fulldisk, lease, tampering
from agentpkg.engine.supervising.plan import SessionPlan, config_digest
from agentpkg.files import read_bounded, remove_tree, write_atomic
from agentpkg.git import private, quarantine, refs, snapshots, worktrees
from agentpkg.git.admission import Admitted, NothingNew, Refused, Request, admit
from agentpkg.git.admission_policy import Guard
from agentpkg.git.discover import Repository, admin_dir_of
from agentpkg.git.identity import user_identity
from agentpkg.git.lent import lent
from agentpkg.git.repo import Enclose, Git, GitFailed, git_program
from agentpkg.git.walk import blocking_files
from agentpkg.harnesses.base import StreamEnd
from agentpkg.ledger.ledger import Ledger
from agentpkg.secrets.redact import Redactor
from agentpkg.sessions.fulldisk import Full
from agentpkg.sessions.judge import Facts, Judgement, judge

#: what the supervisor knew of the process when all of it was dead, and what was found afterwards
_FACTS, _FOUND = "facts.json", "found.json"
_LIMIT = 64 << 20

#: how often a machine that fails may be asked to look at commits
_ADMISSIONS = 5
#: how often a conclusion goes on after a git of its own was killed
_KILLED = 3


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


def facts_of(folder: Path) -> Facts | None:
    """What a supervisor that died while it concluded had written down; None when it did not come that far."""
    values = _read(folder / _FACTS)
    if values is None:
        return None
    end = {**values["end"], "denials": tuple(values["end"]["denials"])}
    full = values.get("full")
    return Facts(**{**values, "end": StreamEnd(**end), "full": Full(**full) if full else None})


def conclude(desk: Desk, plan: SessionPlan, folder: Path, facts: Facts, redactor: Redactor | None) -> Found:
    """Takes in what a session made, gives its worktree back, and records how it ended.

    Args:
        facts: what is known of the process; the rest is found here.
        redactor: knows the session's secrets; None: they are unknown, so that nothing can be admitted.

    Returns:
        What was found; nothing, with nothing done, when this process does not own the session (any more).
    """
    for left in reversed(range(_KILLED + 1)):
        try:
            with lease.acting(desk.ledger, plan.session):
                return _conclude(desk, plan, folder, facts, redactor)
        except lease.Fenced:
            break
        except GitFailed as error:
            # somebody, or the kernel for want of memory, killed one process; what it began may be repeated
            if error.returncode >= 0 or not left:
                raise
    return Found()


def _conclude(desk: Desk, plan: SessionPlan, folder: Path, facts: Facts, redactor: Redactor | None) -> Found:
    safe = redactor or Redactor({})
    facts = replace(facts, trouble=safe.redact(facts.trouble) if facts.trouble else None)
    if facts_of(folder) is None:
        write_atomic(folder / _FACTS, json.dumps(asdict(facts)), sync=True)
    found = _remembered(folder)
    if found is None:
        found = _gather(desk, plan, folder, redactor)
        write_atomic(folder / _FOUND, json.dumps(asdict(found)), sync=True)
    _give_back(desk, plan, folder, found)
    quarantine.seal(desk.repository, Path(plan.private), folder)
    if not found.taken:
        snapshots.keep_refused(desk.repository, folder, plan.branch, plan.old_head, enclosing(plan))
    # what the agent's home held was never asked for, and may be large
    remove_tree(folder / "home")
    end = _judged(plan, folder, facts, found)
    with desk.ledger.write() as tx:
        lease.require(tx, plan.session)
        for sha, subject in found.commits:
            transition.commit_seen(tx, plan.session, sha, subject)
        transition.finish(tx, plan.session, end)
    return found


def remembered_end(plan: SessionPlan, folder: Path) -> transition.End | None:
    """How a session ended, by what its folder remembers of its conclusion; None when it was not concluded."""
    facts, found = facts_of(folder), _remembered(folder)
    if facts is None or found is None or Path(plan.private).exists():
        return None
    return _judged(plan, folder, facts, found)


def _judged(plan: SessionPlan, folder: Path, facts: Facts, found: Found) -> transition.End:
    facts = replace(
        facts, admitted=len(found.commits), refused=found.refused, unread=found.unread, uncommitted=found.uncommitted,
        astray=found.astray,
        carried=plan.carried if found.refused is None else 0,
    )  # fmt: skip
    return _end(plan, folder, judge(facts), facts, found)


def _remembered(folder: Path) -> Found | None:
    values = _read(folder / _FOUND)
    if values is None:
        return None
    for key in ("stops", "reports"):
        values[key] = tuple(values[key])
    return Found(**{**values, "commits": tuple((sha, subject) for sha, subject in values["commits"])})


def _read(path: Path) -> dict[str, Any] | None:
    """A note of this module's own; None where it was never written, or is torn: what it says is found out anew."""
    try:
        values = json.loads(read_bounded(path, _LIMIT))
    except (FileNotFoundError, ValueError):
        return None
    return values if isinstance(values, dict) else None


def _gather(desk: Desk, plan: SessionPlan, folder: Path, redactor: Redactor | None) -> Found:
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
    now = refs.tip(desk.repository.git, f"refs/heads/{plan.target}")
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


def _give_back(desk: Desk, plan: SessionPlan, folder: Path, found: Found) -> None:
    """The worktree is the repository's again; one whose content was refused, or that is none any more, goes into the
    session's folder.
    """
    if plan.worktree.is_symlink():
        # the agent's doing; nothing may ever be read or written through it
        plan.worktree.rename(folder / "link-in-place-of-worktree")
    if not plan.worktree.is_dir():
        return
    doubtful = not found.taken or found.adrift
    try:
        private.leave(desk.repository, desk.control, plan.worktree, folder)
    except (Lacking, GitFailed):
        # what it was given back to is not there any more, which is among the findings
        if not doubtful:
            raise
    if doubtful:
        _set_aside(desk, plan, folder)


def _set_aside(desk: Desk, plan: SessionPlan, folder: Path) -> None:
    """Moves a refused worktree into the session's folder: a plain git in it could still run what was planted."""
    aside = folder / "worktree"
    if aside.exists():
        remove_tree(aside)
    shutil.move(plan.worktree, aside)
    dot_git = aside / ".git"
    if dot_git.is_dir() and not dot_git.is_symlink():
        dot_git.rename(folder / f"found-in-worktree.{os.urandom(4).hex()}")
    dot_git.unlink(missing_ok=True)
    with worktrees.refs_lock(desk.repository):
        if admin_dir_of(desk.repository.common_dir, plan.worktree) is not None:
            worktrees.drop_admin(desk.repository, plan.worktree)


def _end(plan: SessionPlan, folder: Path, said: Judgement, facts: Facts, found: Found) -> transition.End:
    if found.stops:
        detail = f"the repository was changed while it ran: {'; '.join(found.stops[:5])}; a person has to look"
        said = Judgement(Outcome.FAILED, "repository_changed", FailureClass.REPOSITORY, detail)
    if not found.taken:
        where = f"what it made is in `agentpkg snapshots {plan.job['feature']} {plan.job['wp']}`"
        said = said._replace(detail=f"{said.detail}; {where}")
    asked = control.asked(folder)
    cancelled_by = asked.by if asked is not None and asked.final else None
    reason = asked.reason if asked is not None and said.outcome is Outcome.CANCELLED else _words(said)
    return transition.End(
        outcome=said.outcome, reason=reason, cause=said.failure, exit_code=facts.exit_code,
        head=found.head, commits=facts.admitted, files_changed=found.files_changed, usage=facts.end.usage,
        metadata=_metadata(plan, said, found), cancelled_by=cancelled_by,
    )  # fmt: skip


def _words(said: Judgement) -> str | None:
    if said.reason is None:
        return None
    return f"{said.reason}: {said.detail}" if said.detail else said.reason


def _metadata(plan: SessionPlan, said: Judgement, found: Found) -> Mapping[str, Any]:
    more: dict[str, Any] = {"cause": said.reason, "snapshot": found.snapshot, "isolation": plan.isolation}
    more["config_sha256"] = config_digest(plan.as_repository().work_tree)
    if said.outcome is Outcome.TIMEOUT:
        more["timeout_seconds"] = plan.timeout_seconds
    if found.reports:
        more["reports"] = list(found.reports[:50])
    return {key: value for key, value in more.items() if value is not None}


def failed(desk: Desk, session: str, why: str) -> None:
    """Ends a session that agentpkg itself could not run to its end; one that this process does not own it leaves."""
    end = transition.End(Outcome.FAILED, f"environment: {why}", FailureClass.ENVIRONMENT)
    with suppress(lease.Fenced), desk.ledger.write() as tx:
        lease.require(tx, session)
        transition.finish(tx, session, end)


def said_of(error: BaseException) -> str:
    """An error in one line."""
    return error.message if isinstance(error, AgentpkgError) else f"{type(error).__name__}: {error}"
