"""What every verb shares: its options, how it finds the repository, and how it speaks."""

import functools
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from agentpkg.cli import streams
from agentpkg.cli.jsontext import json_text
from agentpkg.core.errors import AgentpkgError
from agentpkg.engine.project import Project, open_project

#: codes of the errors that ``agentpkg rebuild`` mends
_LEDGER_AWAY = ("ledger_lost", "ledger_damaged")

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
        print(json_text(data, indent=2))

    def line(self, data: Mapping[str, Any]) -> None:
        """Prints one JSON line of a stream."""
        print(json_text(data), flush=True)

    def say(self, text: str = "") -> None:
        """Prints a line of the result; nothing with ``--json``."""
        if not self.json:
            print(harmless(text), flush=True)

    def note(self, text: str) -> None:
        """Prints a line of progress."""
        print(harmless(text), file=sys.stderr, flush=True)

    def warn(self, text: str) -> None:
        """Prints a warning."""
        print(f"warning: {one_line(text)}", file=sys.stderr, flush=True)

    def warn_all(self, texts: Sequence[str], most: int | None = None) -> None:
        """Prints warnings.

        Args:
            most: how many a person wants to read at once; a document has them all.
        """
        shown = texts if most is None or self.json else texts[:most]
        for text in shown:
            self.warn(text)
        if len(shown) < len(texts):
            self.warn(f"{len(texts) - len(shown)} more; --json has them all")


def harmless(text: str) -> str:
    """``text`` without terminal controls."""
    from agentpkg.secrets.controls import strip_controls

    return strip_controls(text)


def one_line(text: str) -> str:
    """``text`` without terminal controls, on one line: it may come from a file or an agent."""
    return " ".join(harmless(text).split("\n"))


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
            try:
                return function(*args, speak=Speaker(json_wanted), **more)
            except BrokenPipeError:
                # the reader has gone (`| head`), which click would make a failure
                streams.let_go()
                return 0

        lines = "\n".join(f"  {line}" for line in example.strip().splitlines())
        made: Callable[[Callable[..., Any]], click.Command] = click.command(
            epilog=f"\b\nExample:\n{lines}", context_settings={"help_option_names": ["-h", "--help"]}, **settings
        )
        return made(_with_options(wrapped))

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


def group(text: str, example: str) -> Callable[[Callable[..., Any]], click.Group]:
    """Makes a function a group of verbs, with ``-h`` and an example.

    Args:
        text: what it is about, in a line.
        example: lines of commands.
    """
    lines = "\n".join(f"  {line}" for line in example.strip().splitlines())
    settings = {"help_option_names": ["-h", "--help"]}
    return click.group(cls=_Group, help=text, epilog=f"\b\nExample:\n{lines}", context_settings=settings)


class _Group(click.Group):
    """A group that says in one line which commands it has when none is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # the group has no options but for help, so the first other word names the command
        if not [word for word in args if word != "--json"]:
            raise click.UsageError(f"name a command: {', '.join(self.list_commands(ctx))}", ctx)
        return super().parse_args(ctx, args)


def titles(project: Project, feature: str) -> dict[str, str]:
    """The titles of a feature's packages, by id."""
    return {wp: package.title for wp, package in project.read(feature).packages.items()}


def settle(project: Project, speak: Speaker) -> None:
    """Waits up to two seconds until a server has acknowledged what was recorded; a warning when none has."""
    from agentpkg.relay import client, place

    project.poke()
    if not client.wait_published(project.state, project.ledger, project.ledger.last_rowid()):
        why = place.read_status(project.state).get("problem") or "no server has acknowledged them yet"
        speak.warn(f"events wait in the outbox: {why}")


def package_words(words: tuple[str, ...]) -> tuple[str | None, str]:
    """``003 WP02`` or ``WP02`` as a feature (or None) and a package."""
    if len(words) == 2:
        return words[0], words[1]
    if len(words) == 1:
        return None, words[0]
    raise click.UsageError("name a work package: [FEATURE] WP")


@contextmanager
def sessions_outlive_the_ledger(again: str) -> Iterator[None]:
    """For the block, an error of a lost or damaged ledger says that what runs goes on, and how to go on with it.

    Args:
        again: the command to give when the ledger is made again.
    """
    try:
        yield
    except AgentpkgError as error:
        if error.code in _LEDGER_AWAY:
            error.hint = f"sessions go on; `agentpkg rebuild` makes the ledger again from git, then `{again}` goes on"
        raise
