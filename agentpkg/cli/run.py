"""``run``: dispatch, review and merge until the feature is done."""

import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from agentpkg import views
from agentpkg.cli import driving, render, render_run
from agentpkg.cli.common import Speaker, project_at, sessions_outlive_the_ledger, settle, verb
from agentpkg.cli.interrupts import Interrupts
from agentpkg.core.errors import BadInput
from agentpkg.core.model import Feature
from agentpkg.core.records import EventRow
from agentpkg.engine import looking
from agentpkg.engine.project import Project
from agentpkg.engine.running import background, owner
from agentpkg.engine.running.run import Run
from agentpkg.engine.running.values import Finished, Options, Stop


@verb(
    """agentpkg run 003
agentpkg run 003 --jobs 8 --until WP05
agentpkg run 003 --until-done --max-cycles 5 --detach
agentpkg run 003 --json | jq .subject"""
)
@click.argument("feature")
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Sessions at once; run.jobs by default.")
@click.option("--agent", help="The agent, instead of the configured ones.")
@click.option("--until", metavar="WP", help="Only this work package and what it needs.")
@click.option("--until-done", is_flag=True, help="Try again what failed, and mend failed done checks.")
@click.option(
    "--max-cycles",
    type=click.IntRange(min=0),
    metavar="N",
    help="How often with --until-done; run.max_cycles by default.",
)
@click.option("--detach", is_flag=True, help="Run without a terminal; `attach` watches it, `stop` ends it.")
@click.option("--in-background", is_flag=True, hidden=True)
def command(
    feature: str, jobs: int | None, agent: str | None, until: str | None, until_done: bool, max_cycles: int | None,
    detach: bool, in_background: bool, repo: Path | None, speak: Speaker,
) -> int:  # fmt: skip
    """Dispatch, review and merge until the feature is done.

    Ctrl-C once stops starting and lets sessions finish; twice stops them now. Nothing is lost either way: the next
    run goes on where this one ended.
    """
    project = project_at(repo, {"run.jobs": jobs})
    project.require_person("run a feature")
    found = project.good_feature(feature)
    if not found.packages and not project.registered().get(found.id):
        raise BadInput(
            f"{found.id} has no work packages", f"write one: {found.path}/tasks/WP01-NAME.md", code="no_work_packages"
        )
    if until is not None:
        _, until = project.find_package(until, found.id)
    speak.warn_all([str(warning) for warning in (*project.loaded.warnings, *found.warnings)])
    options = Options(project.settings.run.jobs, agent, until, until_done, max_cycles, in_background)
    if detach:
        return _detached(project, found.id, options, speak)
    with sessions_outlive_the_ledger(f"agentpkg run {feature}"):
        finished, document = drive(project, found, options, speak)
    if speak.json:
        speak.line(document)
    code = _exit_code(finished)
    owner.note_exit(project.state, found.id, code, document)
    return code


def _detached(project: Project, feature: str, options: Options, speak: Speaker) -> int:
    pid = background.start(project, feature, options)
    log = owner.log_path(project.state, feature)
    if speak.json:
        speak.document({"feature": feature, "pid": pid, "log": str(log)})
    else:
        render.show(render_run.detached(feature, pid))
    return 0


def drive(project: Project, feature: Feature, options: Options, speak: Speaker) -> tuple[Finished, dict[str, Any]]:
    """Runs a feature to its end and shows it; gives how it ended and the last line of ``run --json``."""
    driven = _Driven(project, options, feature, speak.warn)
    begun = time.monotonic()
    with Interrupts() as interrupts:
        driving.face(project, driven, speak)(interrupts)
        finished = driven.result()
        settle(project, speak)
    document = _document(project, finished)
    if not speak.json:
        seconds = int(time.monotonic() - begun)
        render.show(render_run.finished(document, finished.interrupted, seconds, options.until))
    return finished, document


def _exit_code(finished: Finished) -> int:
    if not finished.stuck:
        return 0
    return 130 if finished.interrupted else 1


def _document(project: Project, finished: Finished) -> dict[str, Any]:
    seen = looking.see(project, project.read(finished.feature))
    line = views.feature_line(seen)
    return {
        "feature": finished.feature,
        "state": line["state"],
        "progress": line["progress"],
        "stuck": [one.as_json() for one in finished.stuck],
    }


class _Driven:
    """A run in a thread of its own, so that this one can show it and hear Ctrl-C."""

    def __init__(
        self, project: Project, options: Options, feature: Feature, warn: Callable[[str], None]
    ) -> None:  # fmt: skip
        self.events: queue.SimpleQueue[EventRow] = queue.SimpleQueue()
        self.stop = Stop()
        self.feature = feature.id
        self.jobs = options.jobs
        self._run = Run(project, feature, options, self.events.put, self.stop, warn)
        self._result: list[Finished | BaseException] = []
        # a command that dies does not wait for its run: sessions go on, and the next run takes up from the ledger
        self._thread = threading.Thread(target=self._drive, daemon=True, name="run")
        self._thread.start()

    def _drive(self) -> None:
        try:
            self._result.append(self._run.to_the_end())
        except BaseException as error:
            # carried over to the thread that asked
            self._result.append(error)

    @property
    def running(self) -> bool:
        """The run has not ended."""
        return self._thread.is_alive()

    def press(self) -> None:
        """Passes one Ctrl-C on."""
        self.stop.press()

    def wait(self, seconds: float) -> None:
        """Waits for the end, at most so long."""
        self._thread.join(seconds)

    def new_events(self) -> list[EventRow]:
        """What was told since the last call."""
        found = []
        while not self.events.empty():
            found.append(self.events.get())
        return found

    def result(self) -> Finished:
        """How it ended; raises what the run raised."""
        (found,) = self._result
        if isinstance(found, BaseException):
            raise found
        return found
