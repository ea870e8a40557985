"""``run``: dispatch, review and merge until the feature is done."""

import queue
import select
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from agentpkg import views
from agentpkg.cli import looks, render, render_run
from agentpkg.cli.common import Speaker, project_at, settle, verb
from agentpkg.cli.interrupts import Interrupts
from agentpkg.core.errors import BadInput
from agentpkg.core.model import EventRow, Feature, State
from agentpkg.engine import looking
from agentpkg.engine.project import Project
from agentpkg.engine.running import Finished, Options, Run, Stop

#: seconds between two looks while the run goes on
_LOOK = 0.25


@verb(
    """agentpkg run 003
agentpkg run 003 --jobs 8 --until WP05
agentpkg run 003 --json | jq .subject"""
)
@click.argument("feature")
@click.option("--jobs", type=click.IntRange(min=1), metavar="N", help="Sessions at once; run.jobs by default.")
@click.option("--agent", help="The agent, instead of the configured ones.")
@click.option("--until", metavar="WP", help="Only this work package and what it needs.")
def command(
    feature: str, jobs: int | None, agent: str | None, until: str | None, repo: Path | None, speak: Speaker
) -> int:
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
    finished, document = drive(project, found, Options(project.settings.run.jobs, agent, until), speak)
    if speak.json:
        speak.line(document)
    return _exit_code(finished)


def drive(project: Project, feature: Feature, options: Options, speak: Speaker) -> tuple[Finished, dict[str, Any]]:
    """Runs a feature to its end and shows it; gives how it ended and the last line of ``run --json``."""
    driven = _Driven(project, options, feature)
    begun = time.monotonic()
    with Interrupts() as interrupts:
        finished = _face(project, driven, speak)(interrupts)
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
        "stuck": [{"wp": one.wp, "state": one.state, "reason": one.reason} for one in finished.stuck],
    }


class _Driven:
    """A run in a thread of its own, so that this one can show it and hear Ctrl-C."""

    def __init__(self, project: Project, options: Options, feature: Feature) -> None:
        self.events: queue.SimpleQueue[EventRow] = queue.SimpleQueue()
        self.stop = Stop()
        self.feature = feature.id
        self.jobs = options.jobs
        self._run = Run(project, feature, options, self.events.put, self.stop)
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


_Face = Callable[[Interrupts], Finished]


def _face(project: Project, driven: _Driven, speak: Speaker) -> _Face:
    """How the run is shown: as JSON lines, as plain lines, or as a board."""
    if speak.json:
        prefix = project.settings.nats.prefix
        return lambda interrupts: _follow(
            driven,
            interrupts,
            lambda row: speak.line(views.event(row, prefix)),
            _Questions(project, driven, speak.note),
        )
    if not render.can_redraw():
        return lambda interrupts: _in_lines(project, driven, interrupts, speak)
    return lambda interrupts: _on_board(project, driven, interrupts)


def _follow(
    driven: _Driven, interrupts: Interrupts, say: Callable[[EventRow], None], questions: "_Questions",
    draw: Callable[[], None] = lambda: None,
) -> Finished:  # fmt: skip
    while driven.running:
        driven.wait(_LOOK)
        for row in driven.new_events():
            say(row)
        questions.look(interrupts.presses)
        draw()
    for row in driven.new_events():
        say(row)
    return driven.result()


def _in_lines(project: Project, driven: _Driven, interrupts: Interrupts, speak: Speaker) -> Finished:
    teller = render_run.Teller()

    def say(row: EventRow) -> None:
        said = teller.sentence(row)
        if said is not None:
            render.show([said], stderr=True)

    return _follow(driven, interrupts, say, _Questions(project, driven, speak.note))


def _on_board(project: Project, driven: _Driven, interrupts: Interrupts) -> Finished:
    from agentpkg.cli.render_live import Board

    eye = looks.Eye(project, driven.feature)
    teller = render_run.Teller()
    with Board(stderr=True) as board:

        def say(row: EventRow) -> None:
            said = teller.sentence(row)
            if said is not None:
                board.say(said)

        def note(text: str) -> None:
            board.say(render.as_text((text, "yellow")))

        def draw(below: bool = True) -> None:
            trouble = None
            try:
                document = eye.document()
            except BadInput as error:
                document, trouble = eye.last, error.message
            board.draw(looks.look_at(document, driven.jobs), trouble, questions.lines() if below else ())

        questions = _Questions(project, driven, note)
        finished = _follow(driven, interrupts, say, questions, draw)
        draw(below=False)
    return finished


class _Questions:
    """What Ctrl-C means: the first stops starting and asks about the sessions that run, the second stops them."""

    def __init__(self, project: Project, driven: _Driven, note: Callable[[str], None]) -> None:
        self._project = project
        self._driven = driven
        self._note = note
        self._heard = 0

    def look(self, presses: int) -> None:
        """Does what Ctrl-C, or an answer, asks for."""
        if presses > self._heard == 0:
            self._heard = 1
            self._driven.stop.press()
            for said in render_run.stopping(self._running(), self._may_ask()):
                self._note(said)
        elif self._heard == 1 and (presses > 1 or self._answered_stop()):
            self._heard = 2
            self._driven.stop.press()
            self._note("Stopping the sessions; their commits are kept.")
        elif presses > 2:
            # a third one is for those who cannot wait: sessions are asked to stop already, and need nobody for it
            raise KeyboardInterrupt

    def lines(self) -> list[Any]:
        """What stands below the board meanwhile."""
        if not self._heard:
            return []
        words = "nothing new is started" if self._heard == 1 else "sessions are being stopped"
        return [render.as_text((f"Stopping: {words}", "yellow"))]

    def _running(self) -> list[str]:
        rows = self._project.ledger.packages(self._driven.feature)
        return [row.wp for row in rows if row.state is State.DOING]

    def _may_ask(self) -> bool:
        return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()

    def _answered_stop(self) -> bool:
        if not self._may_ask() or not select.select([sys.stdin], [], [], 0)[0]:
            return False
        return sys.stdin.readline().strip().lower() in ("n", "no", "s", "stop")
