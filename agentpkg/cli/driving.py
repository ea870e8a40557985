"""Showing a run, this process's own or another's: as JSON lines, as plain lines, or as a board; and hearing Ctrl-C."""

import select
import sys
from collections.abc import Callable
from typing import Any, Protocol

from agentpkg import views
from agentpkg.cli import looks, render, render_run
from agentpkg.cli.common import Speaker
from agentpkg.cli.interrupts import Interrupts
from agentpkg.core.errors import BadInput
from agentpkg.core.model import State
from agentpkg.core.records import EventRow
from agentpkg.engine.project import Project

#: seconds between two looks while the run goes on
_LOOK = 0.25


class Driven(Protocol):
    """A run that is shown."""

    @property
    def feature(self) -> str:
        """The feature's id."""

    @property
    def jobs(self) -> int:
        """Sessions at once."""

    @property
    def running(self) -> bool:
        """The run has not ended."""

    def wait(self, seconds: float) -> None:
        """Waits for the end, at most so long."""

    def new_events(self) -> list[EventRow]:
        """What was told since the last call."""

    def press(self) -> None:
        """Passes one Ctrl-C on."""


Face = Callable[[Interrupts], None]


class Asked(Protocol):
    """What Ctrl-C means."""

    def look(self, presses: int) -> None:
        """Does what Ctrl-C, or an answer, asks for."""

    def lines(self) -> list[Any]:
        """What stands below the board meanwhile."""


Asks = Callable[[Callable[[str], None]], Asked]


def face(project: Project, driven: Driven, speak: Speaker, asks: Asks | None = None) -> Face:
    """How the run is shown: as JSON lines, as plain lines, or as a board.

    Args:
        asks: makes what Ctrl-C means; :class:`Questions` by default.
    """
    make: Asks = asks or (lambda note: Questions(project, driven, note))
    if speak.json:
        prefix = project.settings.nats.prefix
        return lambda interrupts: _follow(
            driven,
            interrupts,
            lambda row: speak.line(views.event(row, prefix)),
            make(speak.note),
        )
    if not render.can_redraw():
        return lambda interrupts: _in_lines(project, driven, interrupts, make(speak.note))
    return lambda interrupts: _on_board(project, driven, interrupts, make)


def _follow(
    driven: Driven, interrupts: Interrupts, say: Callable[[EventRow], None], questions: Asked,
    draw: Callable[[], None] = lambda: None,
) -> None:  # fmt: skip
    while driven.running:
        driven.wait(_LOOK)
        for row in driven.new_events():
            say(row)
        questions.look(interrupts.presses)
        draw()
    for row in driven.new_events():
        say(row)


def _teller(project: Project) -> render_run.Teller:
    def package(session: str) -> str | None:
        row = project.ledger.session(session)
        return row.wp if row is not None else None

    return render_run.Teller(package)


def _in_lines(project: Project, driven: Driven, interrupts: Interrupts, questions: Asked) -> None:
    teller = _teller(project)

    def say(row: EventRow) -> None:
        said = teller.sentence(row)
        if said is not None:
            render.show([said], stderr=True)

    _follow(driven, interrupts, say, questions)


def _on_board(project: Project, driven: Driven, interrupts: Interrupts, asks: Asks) -> None:
    from agentpkg.cli.render_live import Board

    eye = looks.Eye(project, driven.feature)
    teller = _teller(project)
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

        questions = asks(note)
        _follow(driven, interrupts, say, questions, draw)
        draw(below=False)


class Questions:
    """What Ctrl-C means: the first stops starting and asks about the sessions that run, the second stops them."""

    def __init__(self, project: Project, driven: Driven, note: Callable[[str], None]) -> None:
        self._project = project
        self._driven = driven
        self._note = note
        self._heard = 0

    def look(self, presses: int) -> None:
        """Does what Ctrl-C, or an answer, asks for."""
        if presses > self._heard == 0:
            self._heard = 1
            self._driven.press()
            for said in render_run.stopping(self._running(), self._may_ask()):
                self._note(said)
        elif self._heard == 1 and (presses > 1 or self._answered_stop()):
            self._heard = 2
            self._driven.press()
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
