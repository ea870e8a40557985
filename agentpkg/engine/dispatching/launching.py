"""What a supervisor is handed: the files of its session's folder, the plan, and its secrets; and how it is started."""

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agentpkg import proc
from agentpkg.config import AgentSettings
from agentpkg.config.policy import package_scope
from agentpkg.core.model import FailureClass
from agentpkg.core.records import SessionRow
from agentpkg.engine import actors
from agentpkg.engine.asking import budgets
from agentpkg.engine.dispatching.preparing import Ready
from agentpkg.engine.enclosing import walls
from agentpkg.engine.project import Project
from agentpkg.engine.supervising import conversation
from agentpkg.engine.supervising.plan import SessionPlan
from agentpkg.files import write_atomic
from agentpkg.git import private
from agentpkg.git.diff import commit_ids
from agentpkg.git.discover import BACK_POINTER
from agentpkg.harnesses import harness_named
from agentpkg.harnesses.base import Fault, Job, Launch
from agentpkg.prompts import Bundle
from agentpkg.secrets.resolve import SHORTEST, Resolved, referenced

#: where in a session's folder the files of its harness lie
_HARNESS_FOLDER = "harness"

#: the folders that hold features by convention
FEATURE_DIRS = ("features", "kitty-specs")


def write_folder(project: Project, folder: Path, ready: Ready, session: SessionRow, bundle: Bundle) -> Launch:
    """Makes the session's folder: prompt, task, back-pointer, the files of its harness; gives how its agent starts."""
    folder.mkdir(mode=0o700, parents=True)
    write_atomic(folder / "prompt.md", bundle.prompt)
    write_atomic(folder / "task.md", bundle.task)
    write_atomic(folder / BACK_POINTER, os.fsencode(project.repository.common_dir) + b"\n")
    launch = harness_named(ready.agent.harness).launch(
        ready.agent, _job(project, folder, ready, session, bundle.prompt)
    )
    for name, text in launch.files.items():
        path = folder / _HARNESS_FOLDER / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomic(path, text)
    return launch


def _job(project: Project, folder: Path, ready: Ready, session: SessionRow, prompt: str) -> Job:
    resume, kept, used = (None, "", {}) if ready.fresh else conversation.last(project, session)
    return Job(
        session=session.id, feature=session.feature, wp=session.wp, attempt=session.epoch,
        repository=str(project.work_tree), worktree=str(project.worktree(session.feature, session.wp)), prompt=prompt,
        prompt_path=str(folder / "prompt.md"), task_path=str(folder / "task.md"), model=session.model,
        folder=str(folder / _HARNESS_FOLDER), private=str(private.place(folder)), isolation=session.isolation,
        scope=package_scope(project.settings, project.policy, ready.package),
        resume=resume, kept=kept, used=used, patience=project.settings.questions.deadline_seconds,
        allowance=budgets.allowance(project, ready.feature, session.wp),
    )  # fmt: skip


def plan(
    project: Project, ready: Ready, session: SessionRow, branch: str, folder: Path, launch: Launch, made: Path
) -> SessionPlan:
    """The plan of a session whose worktree and private git dir are made."""
    settings = project.settings
    job = {k: v for k, v in asdict(_job(project, folder, ready, session, "")).items() if k != "prompt"}
    return SessionPlan(
        job=job, launch=launch.as_json(), repository=asdict(project.repository), agent_name=session.agent,
        harness=session.harness, private=str(made), branch=branch, old_head=session.old_head, base=session.base,
        target=ready.effective.target_branch, timeout_seconds=ready.effective.timeout_seconds,
        kill_grace_seconds=settings.agent.kill_grace_seconds, isolation=session.isolation,
        walls=ready.walls.facts, mounts=walls.mounts(project),
        network=(*settings.isolation.network.allow, *ready.agent.network, *launch.hosts),
        undecided=project.policy.actions.network,
        environment=ready.secrets.plain,
        secret_names=tuple(ready.secrets.secrets), setup=settings.worktree.setup,
        limits=asdict(settings.limits), run_limits=asdict(settings.run.limits),
        features_dirs=tuple({settings.project.features_dir, *FEATURE_DIRS}), filters=settings.worktree.filters,
        carried=_carried(project, session), snapshot_seconds=settings.agent.snapshot_seconds,
        faults=_faults(ready.agent), asking=_asking(project), budget=budgets.plan(project, ready.feature, session.wp),
    )  # fmt: skip


def _asking(project: Project) -> dict[str, Any]:
    """How what the agent asks is put to people."""
    approvers = [f"human:{login}" for login in project.policy.approval.approvers]
    return {**asdict(project.settings.questions), "approvers": approvers}


def _faults(agent: AgentSettings) -> dict[str, Fault]:
    """Whose a failure is, by the exit codes that the configuration gives a meaning."""
    return {
        **{str(code): "environment" for code in agent.environment_exit_codes},
        **{str(code): "provider" for code in agent.provider_exit_codes},
    }


def _carried(project: Project, session: SessionRow) -> int:
    """Commits on the branch beyond the target that a failure of machine or provider left to be reviewed."""
    before = project.ledger.sessions(session.feature, session.wp)
    earlier = [row for row in before if row.id != session.id]
    cause = earlier[-1].reason_class if earlier else None
    if cause is None or not (cause.shared or cause is FailureClass.BUDGET):
        return 0
    return len(commit_ids(project.repository.git, session.old_head, session.base))


def spawn(project: Project, folder: Path, secrets: Resolved, copied: frozenset[str]) -> int:
    """Starts the supervisor and gives its pid; secret values go through its standard input and nowhere else."""
    me = proc.identity(os.getpid())
    assert me is not None
    hidden = {
        "held_by": [me.pid, me.started],
        "environment": {name: value.reveal() for name, value in secrets.hidden.items()},
        "secrets": {name: value.reveal() for name, value in secrets.secrets.items()},
        "copied": sorted(copied | _not_given(project, secrets)),
    }
    return proc.spawn_detached(
        [sys.executable, "-P", "-m", actors.SUPERVISOR, str(folder)],
        env=_without_secrets(project), cwd=folder, stdin=json.dumps(hidden).encode(), log=folder / "supervisor.log",
    )  # fmt: skip


def _without_secrets(project: Project) -> dict[str, str]:
    """The environment without what the configuration calls secrets: agents may read that of their supervisor."""
    known = _secret_names(project)
    return {name: value for name, value in project.environ.items() if name not in known}


def _not_given(project: Project, secrets: Resolved) -> set[str]:
    """Values of other packages' secrets in the environment: at `basic` an agent finds them in those of processes."""
    others = {name: project.environ.get(name, "") for name in _secret_names(project) - secrets.secrets.keys()}
    return {value for value in others.values() if len(value) >= SHORTEST}


def _secret_names(project: Project) -> set[str]:
    settings = project.settings
    return referenced(settings.agent.environment).union(
        *(referenced(agent.environment) for agent in settings.agents.values())
    )
