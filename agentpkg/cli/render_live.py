"""A board that redraws itself on a terminal."""

import sys
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from rich.console import Group
from rich.live import Live
from rich.text import Text

from agentpkg.cli import render, render_status
from agentpkg.cli.render import line
from agentpkg.cli.render_console import console
from agentpkg.cli.render_package import Look


class Board:
    """A feature on a terminal's last lines; what is printed through it scrolls by above.

    Args:
        stderr: draw on standard error.
    """

    def __init__(self, stderr: bool = False) -> None:
        self._console = console(stderr, render.is_plain())
        self._live = Live(
            console=self._console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False,
            vertical_overflow="crop",
        )  # fmt: skip

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def draw(self, look: Look, trouble: str | None = None, below: Iterable[Text] = ()) -> None:
        """Draws a look.

        Args:
            trouble: something that is wrong just now.
            below: further lines.
        """
        more = [*below]
        if trouble:
            more.append(line(("! ", "yellow"), trouble))
        lines = [*render_status.board(look, self._console.height - 1 - len(more)), *more]
        for text in lines:
            text.no_wrap, text.overflow = True, "ellipsis"
        self._live.update(Group(*lines), refresh=True)

    def say(self, text: Text) -> None:
        """Prints a line that stays."""
        self._live.console.print(text, soft_wrap=True)
        sys.stderr.flush()

    def clear(self) -> None:
        """Takes the board away, for what comes after it."""
        self._live.update(Text(""), refresh=True)
