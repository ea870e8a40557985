"""Consoles on the two standard streams, for terminals."""

import sys

from rich.console import Console


class _Console(Console):
    """A console that leaves a reader who has gone to the command line's outermost layer."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def console(stderr: bool, plain: bool) -> Console:
    """A console for one of the two streams.

    Args:
        stderr: for standard error.
        plain: without colours.
    """
    stream = sys.stderr if stderr else sys.stdout
    return _Console(
        file=stream, force_terminal=stream.isatty(), color_system=None if plain else "auto", no_color=plain,
        markup=False, emoji=False, highlight=False, legacy_windows=False,
    )  # fmt: skip
