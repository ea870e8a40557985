"""The end of a session: what the agent made comes in through admission, and the facts decide how it ended.

Its supervisor does this; after a supervisor's death the next command does, from what lies in the session's folder.
Each step may be repeated, so that a death in the middle is finished by whoever comes next.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from agentpkg.core.errors import AgentpkgError
from agentpkg.core.model import FailureClass, Outcome
from agentpkg.engine import control, transition
from agentpkg.engine.plan import SessionPlan
from agentpkg.files import read_bounded, remove_tree
from agentpkg.git import fingerprint, private, quarantine, worktrees
from agentpkg.git.admission import Admitted, Refused, Request, admit
from agentpkg.git.admission_policy import Guard
from agentpkg.git.discover import Repository, admin_dir_of
from agentpkg.git.identity import user_identity
from agentpkg.git.repo import Git, GitFailed
from agentpkg.ledger.ledger import Ledger
from agentpkg.sessions.judge import Facts, Judgement, judge

#: the fingerprint of the real repository from before the agent started
FINGERPRINT = "fingerprint.json"
_LIMIT = 64 << 20

FindSecret = Callable[[bytes], str | None]


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
    """What was found when all of a session was dead.

    Attributes:
        admitted: the commits that came in.
        refused: why commits did not come in, the first finding as text.
        stops: changes to the real repository that stop the package.
        reports: changes to the real repository that are only told.
        snapshot: the commit that keeps uncommitted work, in the session's quarantine repository.
        uncommitted: how many paths were not committed.
    """

    admitted: Admitted | None = None
    refused: str | None = None
    stops: tuple[str, ...] = ()
    reports: tuple[str, ...] = ()
    snapshot: str | None = None
    uncommitted: int = 0


def conclude(desk: Desk, plan: SessionPlan, folder: Path, facts: Facts, find_secret: FindSecret | None) -> Found:
    """Takes in what a session made, gives its worktree back, and records how it ended.

    Args:
        facts: what the supervisor knows of the process; the rest is found here.
        find_secret: gives the name of a secret in some bytes; None: unknown, so that nothing can be admitted.
    """
    found = _gather(desk, plan, folder, find_secret)
    carried = plan.carried if found.refused is None else 0
    facts = replace(
        facts, admitted=len(found.admitted.commits) if found.admitted else 0, refused=found.refused,
        uncommitted=found.uncommitted, carried=carried,
    )  # fmt: skip
    end = _end(plan, folder, judge(facts), facts, found)
    if found.refused is not None or found.stops:
        _set_aside(desk, plan, folder)
    quarantine.seal(desk.repository, Path(plan.private), folder)
    with desk.ledger.write() as tx:
        for commit in found.admitted.commits if found.admitted else ():
            transition.commit_seen(tx, plan.session, commit.sha, commit.subject)
        transition.finish(tx, plan.session, end)
    return found


def _gather(desk: Desk, plan: SessionPlan, folder: Path, find_secret: FindSecret | None) -> Found:
    stops, reports = _tampering(desk.repository, plan, folder)
    snapshot, uncommitted = _snapshot(desk, plan)
    found = Found(stops=stops, reports=reports, snapshot=snapshot, uncommitted=uncommitted)
    if stops:
        return _given_back(desk, plan, folder, found)
    if find_secret is None:
        reason = "its commits cannot be searched for secrets any more; they are kept in the session's folder"
        return _given_back(desk, plan, folder, replace(found, refused=reason))
    outcome = admit(desk.repository, desk.control, _request(desk, plan, find_secret))
    if isinstance(outcome, Refused):
        found = replace(found, refused=str(outcome))
    elif isinstance(outcome, Admitted):
        found = replace(found, admitted=outcome)
    return _given_back(desk, plan, folder, found)


def _request(desk: Desk, plan: SessionPlan, find_secret: FindSecret) -> Request:
    now = desk.repository.git.run("rev-parse", "--verify", "-q", f"refs/heads/{plan.target}^{{commit}}", ok=(0, 1)).text
    return Request(
        private=Path(plan.private), branch=plan.branch, old=plan.old_head,
        targets=tuple(tip for tip in (plan.base, now) if tip), find_secret=find_secret,
        guard=Guard(plan.features_dirs), foreign=tuple(_foreign(desk, plan)),
    )  # fmt: skip


def _foreign(desk: Desk, plan: SessionPlan) -> list[str]:
    """Tips that other sessions have made, admitted or not."""
    tips = [row.new_head for row in desk.ledger.sessions() if row.id != plan.session and row.wp != plan.job["wp"]]
    live = [row for row in desk.ledger.sessions(live=True) if row.id != plan.session]
    for row in live:
        package = desk.ledger.package(row.feature, row.wp)
        where = desk.repository.state / "sessions" / row.id / "git"
        if package is not None and package.branch and where.is_dir():
            tips.append(private.private_tip(where, package.branch))
    mine = {plan.old_head, plan.base}
    return [tip for tip in tips if tip is not None and tip not in mine]


def _tampering(repo: Repository, plan: SessionPlan, folder: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What changed in the real repository while the session ran: what stops it, and what is only told."""
    try:
        before = fingerprint.Fingerprint.from_json(json.loads(read_bounded(folder / FINGERPRINT, _LIMIT)))
    except FileNotFoundError:
        return (), ()
    admin = admin_dir_of(repo.common_dir, plan.worktree)
    after = fingerprint.take(repo, plan.worktree)
    found = fingerprint.compare(before, after, admin.name if admin else None)
    return found.stops, found.reports


def _snapshot(desk: Desk, plan: SessionPlan) -> tuple[str | None, int]:
    """Keeps uncommitted work in the session's quarantine; gives its commit and how many paths it is about."""
    if not plan.worktree.is_dir():
        return None, 0
    made = Path(plan.private)
    tip = private.private_tip(made, plan.branch)
    for head in (tip, plan.old_head) if tip else (plan.old_head,):
        try:
            kept = quarantine.snapshot(
                desk.control, made, plan.worktree, head,
                provided=worktrees.provided(desk.repository, plan.worktree),
                excludes=user_identity(desk.repository.work_tree).excludes_file,
            )  # fmt: skip
        except GitFailed:
            # the tip is nonsense, which admission will say; measured against where the session began instead
            continue
        return kept.commit, kept.paths
    return None, 0


def _given_back(desk: Desk, plan: SessionPlan, folder: Path, found: Found) -> Found:
    if plan.worktree.is_dir():
        private.leave(desk.repository, desk.control, plan.worktree, folder)
    return found


def _set_aside(desk: Desk, plan: SessionPlan, folder: Path) -> None:
    """Moves a refused worktree into the session's folder: a plain git in it could still run what was planted."""
    aside = folder / "worktree"
    if not plan.worktree.is_dir():
        return
    if aside.exists():
        remove_tree(aside)
    plan.worktree.rename(aside)
    (aside / ".git").unlink(missing_ok=True)
    with worktrees.refs_lock(desk.repository):
        worktrees.drop_admin(desk.repository, plan.worktree)


def _end(plan: SessionPlan, folder: Path, said: Judgement, facts: Facts, found: Found) -> transition.End:
    if found.stops:
        detail = f"the repository was changed while it ran: {'; '.join(found.stops[:5])}"
        said = Judgement(Outcome.FAILED, "repository_changed", FailureClass.AGENT, detail)
    asked = control.asked(folder)
    cancelled_by = asked.by if asked is not None and asked.final else None
    reason = asked.reason if asked is not None and said.outcome is Outcome.CANCELLED else _words(said)
    return transition.End(
        outcome=said.outcome, reason=reason, cause=said.failure, exit_code=facts.exit_code,
        head=found.admitted.head if found.admitted else None, commits=facts.admitted,
        files_changed=found.admitted.files_changed if found.admitted else 0, usage=facts.end.usage,
        metadata=_metadata(plan, said, found), cancelled_by=cancelled_by,
    )  # fmt: skip


def _words(said: Judgement) -> str | None:
    if said.reason is None:
        return None
    return f"{said.reason}: {said.detail}" if said.detail else said.reason


def _metadata(plan: SessionPlan, said: Judgement, found: Found) -> Mapping[str, Any]:
    more: dict[str, Any] = {"cause": said.reason, "snapshot": found.snapshot, "isolation": plan.isolation}
    if said.outcome is Outcome.TIMEOUT:
        more["timeout_seconds"] = plan.timeout_seconds
    if found.reports:
        more["reports"] = list(found.reports[:50])
    return {key: value for key, value in more.items() if value is not None}


def failed(desk: Desk, session: str, why: str) -> None:
    """Ends a session that agentpkg itself could not run to its end."""
    end = transition.End(Outcome.FAILED, f"environment: {why}", FailureClass.ENVIRONMENT)
    with desk.ledger.write() as tx:
        transition.finish(tx, session, end)


def said_of(error: BaseException) -> str:
    """An error in one line."""
    return error.message if isinstance(error, AgentpkgError) else f"{type(error).__name__}: {error}"
