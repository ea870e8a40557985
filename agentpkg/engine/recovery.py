"""What a command that was killed left half done, found and finished by the next one."""

from agentpkg import proc
from agentpkg.core.errors import AgentpkgError, BadInput
from agentpkg.core.model import SessionRow
from agentpkg.engine import conclude, dispatch, merging
from agentpkg.engine.plan import SessionPlan, read_plan
from agentpkg.engine.project import Project
from agentpkg.secrets.redact import Redactor
from agentpkg.secrets.resolve import referenced, resolve_environment
from agentpkg.sessions.judge import Facts
from agentpkg.sessions.runner import session_mark


def reconcile(project: Project) -> list[str]:
    """Ends sessions whose supervisor is dead, and finishes landings that were cut short.

    A process that cannot be judged is left alone: unknown is not dead.

    Returns:
        What was done, one sentence each.
    """
    done = []
    for row in project.ledger.sessions(live=True):
        if is_dead(row):
            _conclude_orphan(project, row)
            done.append(f"session {row.id} of {row.wp} had lost its supervisor")
    return done + merging.recover(project)


def is_dead(row: SessionRow) -> bool:
    """The process that owns the session is known to be gone."""
    if row.pid is None or row.pid_started is None:
        return False
    return proc.alive(proc.ProcessIdentity(row.pid, row.pid_started, row.boot_id or "")) is False


def _conclude_orphan(project: Project, row: SessionRow) -> None:
    """Ends what the session's processes are still running, takes in its commits, and records the failure."""
    proc.kill_marked(session_mark(row.id))
    folder = project.state / "sessions" / row.id
    trouble = "its supervisor died"
    try:
        plan = read_plan(folder)
        conclude.conclude(project, plan, folder, Facts(trouble=trouble, exit_code=None), _finder(project, plan))
    except FileNotFoundError:
        conclude.failed(project, row.id, "its dispatcher died before it began")
    except AgentpkgError as error:
        conclude.failed(project, row.id, f"{trouble}; then: {error.message}")
    project.poke()


def _finder(project: Project, plan: SessionPlan) -> conclude.FindSecret | None:
    """Finds the session's secrets in what it made; None when their values are not to be had from here."""
    if not plan.secret_names:
        return lambda data: None
    asked = {name: f"${{{{ secrets.{name} }}}}" for name in plan.secret_names}
    assert referenced(asked) == set(plan.secret_names)
    try:
        found = resolve_environment(asked, dispatch.secret_providers(project))
    except BadInput:
        return None
    return Redactor(found.secrets).find
