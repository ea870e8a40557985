"""``agents``: list them, and try one."""

import threading
from pathlib import Path

import click

from agentpkg import views
from agentpkg.cli.common import Speaker, group, project_at, verb
from agentpkg.cli.interrupts import Interrupts
from agentpkg.core.records import SessionRow
from agentpkg.engine import agents, looking
from agentpkg.engine.enclosing import walls
from agentpkg.engine.project import Project
from agentpkg.sessions.log import NAME, follow


@group(
    "The agents that can be dispatched.",
    """agentpkg agents list
agentpkg agents test claude-code""",
)
def command() -> None:
    """Holds the verbs."""


@verb("agentpkg agents list")
def list_them(repo: Path | None, speak: Speaker) -> int:
    """List every agent, and whether it can start here."""
    project = project_at(repo)
    chosen = walls.of(project)
    document = {
        "agents": [
            {
                "name": one.name, "harness": one.harness, "path": one.path, "version": one.version,
                "ready": one.ready, "sessions": one.sessions, "detail": one.detail, "last_heard": one.last_heard,
                "signed_in": one.signed_in, "model": one.model,
            }
            for one in agents.list_agents(project)
        ],
        "isolation": {"level": chosen.level, "detail": chosen.detail},
    }  # fmt: skip
    speak.warn_all([*agents.unknown_harnesses(project), *([chosen.warning] if chosen.warning else [])])
    speak.warn_all([views.unwell(row, life) for row, life in looking.lives(project) if not life.well])
    if speak.json:
        speak.document(document)
        return 0
    from agentpkg.cli import render, render_tables

    render.show(render_tables.agents(document, project.settings.agent.harness))
    render.show([render.line((f"They run in isolation {chosen.detail}", "dim"))])
    return 0


@verb(
    """agentpkg agents test claude-code
agentpkg agents test my-agent --timeout 60 --json"""
)
@click.argument("name")
@click.option("--timeout", type=click.IntRange(min=1), default=agents.TRIAL, show_default=True, metavar="S",
              help="Seconds the agent may take.")  # fmt: skip
def test(name: str, timeout: int, repo: Path | None, speak: Speaker) -> int:
    """Have an agent do a small work package in a scratch repository, and tell what works.

    It is the real thing: an agent that costs money costs some here.
    """
    project = project_at(repo)
    project.require_person("try an agent")
    if not speak.json:
        speak.note(f"trying {name} on a small package in a scratch repository …")
    with Interrupts() as interrupts:
        watch = (lambda scratch, session: None) if speak.json else _show_log
        trial = agents.try_agent(project, name, timeout, lambda: interrupts.presses > 0, watch)
    if speak.json:
        speak.document(trial.as_json())
    else:
        from agentpkg.cli import render, render_tables

        steps = [{"name": s.name, "status": s.status, "detail": s.detail, "fix": ""} for s in trial.steps]
        render.show(render_tables.checks(steps))
    if interrupts.presses:
        return 130
    return 0 if trial.ok else 1


def _show_log(scratch: Project, session: SessionRow) -> None:
    """Shows on standard error what the agent does, until the session has ended."""
    from agentpkg.cli import render, render_work

    log = scratch.state / "sessions" / session.id / NAME

    def show() -> None:
        # the scratch repository is gone once the trial is over
        for record in follow(log, lambda: not log.parent.exists()):
            render.show(render_work.live_lines(record), stderr=True)

    threading.Thread(target=show, daemon=True, name="live log").start()


command.add_command(list_them, "list")
command.add_command(test, "test")
