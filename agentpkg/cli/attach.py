"""``attach``: watch a run that another process does; leaving it does not stop it."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from agentpkg.cli import driving, render, render_run
from agentpkg.cli.common import Speaker, project_at, verb
from agentpkg.cli.interrupts import Interrupts
from agentpkg.core.errors import BadInput, NotAllowed
from agentpkg.core.records import EventRow
from agentpkg.engine.project import Project
from agentpkg.engine.running import owner, steering
from agentpkg.engine.running.owner import Owner


@verb(
    """agentpkg attach 003
agentpkg attach --json"""
)
@click.argument("feature", required=False)
def command(feature: str | None, repo: Path | None, speak: Speaker) -> int:
    """Watch a run; its exit code is this command's when it ends. Ctrl-C leaves it, and does not stop it."""
    project = project_at(repo)
    name = the_run(project, feature)
    runner = owner.current(project.state, name)
    if runner is None:
        raise NotAllowed(f"nobody runs {name}", f"start a run with `agentpkg run {name}`", code="no_run")
    return watch(project, runner, speak)


def the_run(project: Project, feature: str | None) -> str:
    """The feature a person named, or the only one that is run now.

    Raises:
        BadInput: none is named, and more than one is run.
        NotAllowed: none is named, and none is run.
    """
    if feature is not None:
        return project.feature_id(feature)
    running = steering.the_running(project)
    if not running:
        raise NotAllowed("no run is at work here", "start one with `agentpkg run`", code="no_run")
    if len(running) > 1:
        raise BadInput(f"runs of {', '.join(running)} are at work", "name one of them", code="ambiguous_run")
    return running[0]


def watch(project: Project, runner: Owner, speak: Speaker) -> int:
    """Shows another process's run until it ends; gives its exit code, or 130 when the watcher leaves."""
    watched = _Watched(project, runner)
    with Interrupts() as interrupts:
        driving.face(project, watched, speak, lambda note: _Leaving(note, runner))(interrupts)
    ended = owner.last(project.state, runner.feature)
    if ended is None or ended.pid != runner.pid or ended.exit_code is None:
        speak.warn(f"process {runner.pid} ended without a word; `agentpkg status {runner.feature}` shows what is there")
        return 1
    _show_end(ended, speak)
    return ended.exit_code


def _show_end(ended: Owner, speak: Speaker) -> None:
    document: dict[str, Any] | None = ended.document
    if document is None:
        return
    if speak.json:
        speak.line(document)
    else:
        render.show(render_run.finished(document, ended.exit_code == 130, ended.seconds))


class _Leaving:
    """What Ctrl-C means to somebody who only watches."""

    def __init__(self, note: Callable[[str], None], runner: Owner) -> None:
        self._note = note
        self._runner = runner

    def look(self, presses: int) -> None:
        """Leaves at the first one."""
        if presses:
            self._note(f"The run goes on as process {self._runner.pid}.")
            raise KeyboardInterrupt

    def lines(self) -> list[Any]:
        """Nothing stands below the board."""
        return []


class _Watched:
    """Another process's run, seen through the ledger."""

    def __init__(self, project: Project, runner: Owner) -> None:
        self.feature, self.jobs = runner.feature, runner.jobs
        self._project = project
        self._runner = runner
        self._seen = project.ledger.last_rowid()
        self._quiet = threading.Event()

    @property
    def running(self) -> bool:
        """Its command has not ended: it has not said how, and its process lives."""
        found = owner.last(self._project.state, self.feature)
        mine = found is not None and (found.pid, found.started) == (self._runner.pid, self._runner.started)
        return mine and found is not None and found.exit_code is None and found.alive

    def wait(self, seconds: float) -> None:
        """Waits a while."""
        self._quiet.wait(seconds)

    def press(self) -> None:
        """Nothing: a watcher's Ctrl-C is its own."""

    def new_events(self) -> list[EventRow]:
        """The feature's events since the last call."""
        found = self._project.ledger.events(self._seen)
        self._seen = found[-1].rowid if found else self._seen
        return [event for event in found if self._mine(event)]

    def _mine(self, event: EventRow) -> bool:
        parts = event.subject.split(".")
        if parts[0] == "feature":
            return parts[1] == self.feature
        session = self._project.ledger.session(parts[2])
        return session is not None and session.feature == self.feature
