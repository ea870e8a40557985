"""``implement``: start an agent on one work package, and wait for it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from agentpkg import views
from agentpkg.cli import render, render_work
from agentpkg.cli.common import Speaker, project_at, sessions_outlive_the_ledger, settle, verb
from agentpkg.cli.interrupts import Interrupts
from agentpkg.core.model import Feature, Outcome, State
from agentpkg.core.records import PackageRow, SessionRow
from agentpkg.engine import attach, retries
from agentpkg.engine.dispatching import dispatch
from agentpkg.engine.project import Project
from agentpkg.engine.supervising import control
from agentpkg.engine.upkeep import recovery
from agentpkg.git.diff import commit_ids
from agentpkg.sessions.log import NAME, follow

#: seconds between two looks for Ctrl-C while a package rests before its next try
_LOOK = 0.2


@verb(
    """agentpkg implement 003 --wp WP02
agentpkg implement 003 --wp WP02 --agent claude-code --timeout 1800
agentpkg implement 003 --wp WP02 --detach"""
)
@click.argument("feature", required=False)
@click.option("--wp", required=True, metavar="WP", help="The work package.")
@click.option("--agent", help="The agent, instead of the configured one.")
@click.option("--timeout", type=click.IntRange(min=1), metavar="S", help="Seconds a session may take.")
@click.option("--fresh", is_flag=True, help="Start at the target's tip; the old branch is kept aside.")
@click.option("--detach", is_flag=True, help="Return as soon as the agent runs.")
def command(
    feature: str | None, wp: str, agent: str | None, timeout: int | None, fresh: bool, detach: bool,
    repo: Path | None, speak: Speaker,
) -> int:  # fmt: skip
    """Start an agent on one work package and wait for it.

    It ends at for_review, or at blocked after the configured retries. Ctrl-C stops the session; what it has
    committed is kept.
    """
    project = project_at(repo)
    project.require_person("start an agent")
    feature_id, wp = project.find_package(wp, feature)
    found = project.good_feature(feature_id)
    speak.warn_all([str(warning) for warning in (*project.loaded.warnings, *found.warnings)])
    if project.ledger_if_any is not None:
        speak.warn_all(recovery.reconcile(project))
    task = _Task(project, found, wp, dispatch.Wish(agent, timeout, fresh), speak)
    return _detached(task) if detach else _attended(task)


@dataclass(frozen=True, slots=True)
class _Task:
    """What was asked for."""

    project: Project
    feature: Feature
    wp: str
    wish: dispatch.Wish
    speak: Speaker

    @property
    def worktree(self) -> str:
        """The package's worktree as people name it."""
        return f"{self.project.settings.project.worktrees_dir}/{self.feature.id}-{self.wp}"

    @property
    def target(self) -> str:
        """The branch it will land on."""
        return self.project.target(self.feature)

    def row(self) -> PackageRow:
        """The package as it stands."""
        return self.project.row(self.feature.id, self.wp)


def _detached(task: _Task) -> int:
    started = _start(task, 1)
    document = views.implement(started.session, task.row(), 1, 0, None)
    if task.speak.json:
        task.speak.document(document)
    else:
        render.show(render_work.detached(document))
    return 0


def _attended(task: _Task) -> int:
    with Interrupts() as interrupts:
        with sessions_outlive_the_ledger(f"agentpkg status {task.feature.id}"):
            document = _tries(task, interrupts)
        settle(task.project, task.speak)
    if task.speak.json:
        task.speak.document(document)
    if interrupts.presses:
        return 130
    return 0 if document["outcome"] == Outcome.COMPLETED else 1


def _tries(task: _Task, interrupts: Interrupts) -> dict[str, Any]:
    """Sessions until one succeeds or no more tries are left; the document of the last one."""
    attempts, asked = 0, task.wish.agent
    while True:
        attempts += 1
        started = _start(task, attempts)
        session = _attend(task, started.session.id, interrupts)
        row = task.row()
        document = _document(task, session, row, attempts)
        again = None if interrupts.presses else _again(task, row, asked)
        if not task.speak.json:
            lines = render_work.ended(
                document,
                target=task.target,
                worktree=task.worktree,
                retried=again is not None,
                timeout=task.wish.timeout,
            )
            render.show(lines)
        if again is None or not _rested(task, again, interrupts):
            return document
        task = replace(task, wish=replace(task.wish, fresh=False, agent=again.agent))


def _start(task: _Task, attempt: int) -> dispatch.Started:
    # said of nothing that is refused
    started = dispatch.start(task.project, task.feature, task.wp, task.wish)
    task.speak.warn_all(started.warnings)
    if not task.speak.json:
        render.show(render_work.dispatching(task.wp, started.session.agent, attempt))
        render.show(render_work.started(started, task.worktree, task.target))
    return started


def _again(task: _Task, row: PackageRow, asked: str | None) -> retries.Again | None:
    """How the package is tried again, where that is for its agents to do."""
    if row.state is not State.BLOCKED or row.reason_class is None or not row.reason_class.counted:
        return None
    return retries.again(task.project, task.feature, row, asked)


def _rested(task: _Task, again: retries.Again, interrupts: Interrupts) -> bool:
    """Waits until the next try is due; False when Ctrl-C came before."""
    until = time.monotonic() + again.rest
    if again.rest >= 1 and not task.speak.json:
        task.speak.note(f"the next try begins in {round(again.rest)} s")
    while not interrupts.presses and (left := until - time.monotonic()) > 0:
        time.sleep(min(left, _LOOK))
    return not interrupts.presses


# --------------------------------------------------------------------------- while it runs


def _attend(task: _Task, session: str, interrupts: Interrupts) -> SessionRow:
    """Waits for a session's end. The first Ctrl-C stops the session, the second leaves it to stop by itself."""
    told = False

    def tick() -> None:
        nonlocal told
        if interrupts.presses and not told:
            told = True
            control.interrupt(task.project.state, session, task.project.actor)
            task.speak.note("stopping the session; Ctrl-C once more does not wait for it")
        elif interrupts.presses > 1:
            raise KeyboardInterrupt

    with _live(task, session):
        return attach.wait(task.project, session, tick)


@contextmanager
def _live(task: _Task, session: str) -> Iterator[None]:
    """Shows the session's log on standard error while the block runs."""
    if task.speak.json:
        yield
        return
    over = threading.Event()
    log = task.project.state / "sessions" / session / NAME
    reader = threading.Thread(target=_show_log, args=(log, over), daemon=True, name="live log")
    reader.start()
    try:
        yield
    finally:
        over.set()
        reader.join(2)


def _show_log(log: Path, over: threading.Event) -> None:
    for record in follow(log, over.is_set):
        render.show(render_work.live_lines(record), stderr=True)


def _document(task: _Task, session: SessionRow, row: PackageRow, attempts: int) -> dict[str, Any]:
    seconds = render.elapsed(session.started_at, session.ended_at, render.now()) or 0
    document = views.implement(session, row, attempts, seconds, session.outcome)
    return document | {"commits": _commits(task.project, session)}


def _commits(project: Project, session: SessionRow) -> list[str]:
    """What the session committed, oldest first, without what it merged from the target."""
    if session.new_head is None or session.new_head == session.old_head:
        return []
    return commit_ids(project.repository.git, session.new_head, session.old_head, session.base)[::-1]
