"""What a command that was killed left half done, found and finished by the next one."""

import os
from pathlib import Path

from agentpkg import proc
from agentpkg.core import questions
from agentpkg.core.errors import AgentpkgError, BadInput
from agentpkg.core.records import SessionRow
from agentpkg.engine.asking import approvals
from agentpkg.engine.dispatching import room
from agentpkg.engine.enclosing import vault
from agentpkg.engine.landing import intent
from agentpkg.engine.project import Project
from agentpkg.engine.supervising import conclude, fulldisk, lease
from agentpkg.engine.supervising.insisting import insist
from agentpkg.engine.supervising.lease import is_dead
from agentpkg.engine.supervising.plan import FILE as plan_file
from agentpkg.engine.supervising.plan import SessionPlan, read_plan
from agentpkg.files import remove_tree
from agentpkg.git import private, provision, quarantine, snapshots, torn
from agentpkg.git.relocation import follow
from agentpkg.git.stale import remove_stale_locks
from agentpkg.harnesses.base import StreamEnd
from agentpkg.secrets.redact import Redactor
from agentpkg.secrets.resolve import referenced, resolve_environment
from agentpkg.sessions.judge import Facts
from agentpkg.sessions.log import NAME as LOG
from agentpkg.sessions.pulse import read_members, read_pulse
from agentpkg.sessions.runner import session_mark

#: seconds between two looks for locks that killed git processes have left
_LOCKS_SECONDS = 5.0

_TROUBLE = "its supervisor died"

#: sessions that this process has taken over and could not end yet, since the disk was full
_unended: set[str] = set()


def reconcile(project: Project) -> list[str]:
    """Ends sessions whose supervisor is dead, and finishes landings that were cut short; follows a moved repository.

    A process that cannot be judged is left alone: unknown is not dead. One that lives and does not answer keeps its
    session too, unless a person asked for its end (:mod:`agentpkg.engine.supervising.insisting`). Of several commands
    that look at once, one takes a session over and ends it; should that one die too, the next does.

    Returns:
        What was done, one sentence each.
    """
    done = follow(project.repository)
    if project.look_is_due(_LOCKS_SECONDS):
        done += remove_stale_locks(project.repository, refs_only=True)
        done += mend_torn(project)
    for row in project.ledger.sessions(live=True):
        insist(project, row)
        if row.id in _unended or (is_dead(row) and lease.take(project.ledger, row.id, os.getpid(), is_dead)):
            conclude_orphan(project, row)
            done.append(f"session {row.id} of {row.wp} had lost its supervisor")
    for question in approvals.settle(project):
        done.append(f"{questions.name(question.number)} of {question.wp}: nobody answered in time: {question.answer}")
    return done + _landings(project)


def mend_torn(project: Project) -> list[str]:
    """Makes again what a power cut has emptied of packages' worktrees and branches; gives what was done."""
    if not torn.torn(project.repository):
        return []
    places = {}
    for row in project.ledger.packages():
        last = project.ledger.session(row.session) if row.session else None
        tip = row.head or (last.old_head if last else None)
        if row.branch and tip:
            path = project.worktree(row.feature, row.wp)
            places[path.name] = torn.Place(path, row.branch, tip, last is not None and last.ended_at is None)
    return torn.mend(project.repository, project.control, places)


def pending(project: Project) -> list[str]:
    """What :func:`reconcile` would find to do about sessions and landings, one sentence each; changes nothing."""
    ledger = project.ledger
    dead = [row for row in ledger.sessions(live=True) if is_dead(row)]
    late = [one for one in ledger.questions(open_only=True) if questions.overdue(one, ledger.now())]
    return [
        *(f"session {row.id} of {row.feature} {row.wp} has lost its supervisor" for row in dead),
        *(f"{questions.name(one.number)} of {one.wp}: nobody answered in time" for one in late),
        *(["a landing was cut short"] if _is_cut_short(project) else []),
    ]


def _landings(project: Project) -> list[str]:
    if not intent.left_behind(project):
        return []
    # landing knows all of the review, which commands that only look need not pay for
    from agentpkg.engine.landing import recording

    return recording.recover(project)


def _is_cut_short(project: Project) -> bool:
    if not intent.left_behind(project):
        return False
    from agentpkg.engine.landing import recording

    return recording.cut_short(project)


def conclude_orphan(project: Project, row: SessionRow) -> None:
    """Ends what is still running of a session that this process has taken over, and the session.

    Its commits come in, its work is kept, and the end is recorded.
    """
    folder = project.state / "sessions" / row.id
    _end_strays(row, folder)
    _unended.discard(row.id)
    try:
        _end(project, row, folder)
    except (AgentpkgError, OSError) as error:
        if fulldisk.is_full(error, project.state):
            # what it made must come in: at this process's next look, or when it has ended at the next command's
            _unended.add(row.id)
            raise
        conclude.failed(project, row.id, f"{_TROUBLE}; then: {conclude.said_of(error)}")
    project.poke()


def _end(project: Project, row: SessionRow, folder: Path) -> None:
    try:
        plan = read_plan(folder)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        _end_without_plan(project, row, folder)
        return
    redactor = _redactor(project, plan)
    facts = conclude.facts_of(folder) if redactor is not None else None
    conclude.conclude(project, plan, folder, facts or _cut_short(folder), redactor)


def _cut_short(folder: Path) -> Facts:
    """What is known of a session that nobody saw end; what it had used by its last sign of life was spent."""
    pulse = read_pulse(folder)
    return Facts(trouble=_TROUBLE, exit_code=None, end=StreamEnd(usage=pulse.used if pulse is not None else {}))


def _end_without_plan(project: Project, row: SessionRow, folder: Path) -> None:
    """Ends a session of which nobody knows (any more) how it was to run; what it made is kept, and not taken in."""
    if not (folder / "prompt.md").exists() and not private.place(folder).exists():
        room.give_back(project, project.worktree(row.feature, row.wp), folder)
        conclude.failed(project, row.id, f"its folder {folder} is gone, and with it what had not come to its branch")
        return
    if row.agent_pid is None and not (folder / LOG).exists():
        conclude.failed(project, row.id, "its dispatcher died before it began")
        # no agent ever saw it
        remove_tree(folder / "git")
        return
    branch = project.row(row.feature, row.wp).branch or ""
    room.give_back(project, project.worktree(row.feature, row.wp), folder)
    quarantine.seal(project.repository, private.place(folder), folder)
    snapshots.keep_refused(project.repository, folder, branch, row.old_head)
    where = f"what it had committed is in `agentpkg snapshots {row.feature} {row.wp}`"
    conclude.failed(project, row.id, f"{_TROUBLE}, and {folder / plan_file} cannot be read; {where}")


def _end_strays(row: SessionRow, folder: Path) -> None:
    """Ends whatever of a session is alive: what carries its mark, what is in its pen, and what its supervisor knew."""
    known = read_members(folder) if lease.of_this_boot(row) else {}
    proc.kill_marked(session_mark(row.id), known=known, also=lambda: proc.penned(row.id))
    proc.penned(row.id)


def _redactor(project: Project, plan: SessionPlan) -> Redactor | None:
    """Knows the session's secrets; None when their values are not to be had from here."""
    asked = {name: f"${{{{ secrets.{name} }}}}" for name in plan.secret_names}
    assert referenced(asked) == set(plan.secret_names)
    try:
        found = resolve_environment(asked, vault.providers(project)) if asked else None
        copied = provision.values(project.repository, project.settings.worktree.copy)
    except BadInput:
        return None
    return Redactor(found.secrets if found else {}, copied)
