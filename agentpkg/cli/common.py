"""What every verb shares: its options, how it finds the repository, and how it speaks."""

import functools
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from agentpkg.engine.project import Project, open_project

F = TypeVar("F", bound=Callable[..., Any])


class Speaker:
    """Where a verb's words go: results to stdout, progress and warnings to stderr; with ``--json`` documents alone.

    Attributes:
        json: the user asked for JSON.
    """

    def __init__(self, json_wanted: bool) -> None:
        self.json = json_wanted

    def document(self, data: Mapping[str, Any]) -> None:
        """Prints the verb's one JSON document."""
        print(json.dumps(data, ensure_ascii=False, indent=2, default=str))

    def line(self, data: Mapping[str, Any]) -> None:
        """Prints one JSON line of a stream."""
        print(json.dumps(data, ensure_ascii=False, default=str), flush=True)

    def say(self, text: str = "") -> None:
        """Prints a line of the result; nothing with ``--json``."""
        if not self.json:
            print(text, flush=True)

    def note(self, text: str) -> None:
        """Prints a line of progress."""
        print(text, file=sys.stderr, flush=True)

    def warn(self, text: str) -> None:
        """Prints a warning."""
        print(f"warning: {text}", file=sys.stderr, flush=True)


def verb(example: str, **settings: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """Makes a function a command with ``-h``, an example, ``--repo``, ``--json`` and ``--debug``.

    Args:
        example: lines of commands, shown under *Example*.
        settings: more for click's command (``name``).

    The function gets ``repo`` (a path) and ``speak`` (a :class:`Speaker`) beside its own options.
    """

    def decorate(function: Callable[..., Any]) -> click.Command:
        @functools.wraps(function)
        def wrapped(*args: Any, json_wanted: bool, debug: bool, **more: Any) -> Any:
            return function(*args, speak=Speaker(json_wanted), **more)

        lines = "\n".join(f"  {line}" for line in example.strip().splitlines())
        command: click.Command = click.command(
            epilog=f"\b\nExample:\n{lines}", context_settings={"help_option_names": ["-h", "--help"]}, **settings
        )(_with_options(wrapped))
        return command

    return decorate


def _with_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--debug", is_flag=True, help="Show the traceback of an error."),
        click.option("--json", "json_wanted", is_flag=True, help="Print JSON and nothing else on standard output."),
        click.option(
            "--repo", type=click.Path(path_type=Path, file_okay=False), default=None, metavar="DIR",
            help="The repository; found from the current folder by default.",
        ),
    ):  # fmt: skip
        function = option(function)
    return function


def project_at(repo: Path | None, flags: Mapping[str, Any] | None = None) -> Project:
    """The project that ``--repo`` or the current folder is in.

    Raises:
        Lacking: there is no usable repository.
        BadInput: the configuration is not good.
    """
    start = Path(os.getcwd()) if repo is None else repo.absolute()
    return open_project(start, os.environ, flags)


def package_words(words: tuple[str, ...]) -> tuple[str | None, str]:
    """``003 WP02`` or ``WP02`` as a feature (or None) and a package."""
    if len(words) == 2:
        return words[0], words[1]
    if len(words) == 1:
        return None, words[0]
    raise click.UsageError("name a work package: [FEATURE] WP")
