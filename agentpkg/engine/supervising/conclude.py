"""The end of a session: what the agent made comes in through admission, and the facts decide how it ended.

Its supervisor does this; after a supervisor's death the next command does, from what lies in the session's folder.
Each step may be repeated, so that a death in the middle is finished by whoever comes next: what is known of the
process is written down first, and what was found before anything is given back.
"""

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from agentpkg.core.errors import AgentpkgError, Lacking
from agentpkg.core.model import FailureClass, Outcome
from agentpkg.engine import transition
from agentpkg.engine.supervising import control, lease, transcripts
from agentpkg.engine.supervising.gathering import Desk, Found, enclosing, gather
from agentpkg.engine.supervising.plan import SessionPlan, config_digest
from agentpkg.files import read_bounded, remove_tree, write_atomic
from agentpkg.git import private, quarantine, snapshots, worktrees
from agentpkg.git.discover import admin_dir_of
from agentpkg.git.repo import GitFailed
from agentpkg.harnesses.base import StreamEnd
from agentpkg.secrets.redact import Redactor
from agentpkg.sessions.fulldisk import Full
from agentpkg.sessions.judge import Facts, Judgement, judge

#: what the supervisor knew of the process when all of it was dead, and what was found afterwards
_FACTS, _FOUND = "facts.json", "found.json"
_LIMIT = 64 << 20

#: how often a conclusion goes on after a git of its own was killed
_KILLED = 3


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
        found = gather(desk, plan, folder, redactor)
        write_atomic(folder / _FOUND, json.dumps(asdict(found)), sync=True)
    _give_back(desk, plan, folder, found)
    quarantine.seal(desk.repository, Path(plan.private), folder)
    if not found.taken:
        snapshots.keep_refused(desk.repository, folder, plan.branch, plan.old_head, enclosing(plan))
    if redactor is not None:
        transcripts.keep(folder, plan.launch.get("conversations", ()), redactor)
    # what else the agent's home held was never asked for, and may be large
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
