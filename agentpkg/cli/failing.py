"""How errors look: one line, one hint, an exit code; the same as JSON where it was asked for."""

import errno
import sys
import traceback
from collections.abc import Sequence

import click

from agentpkg.cli.jsontext import json_text
from agentpkg.core.errors import AgentpkgError, BadInput
from agentpkg.core.model import Problem

#: what to do about an error that does not say it itself, by exit code
_HINTS = {
    1: "see `agentpkg status` for where things stand, and `agentpkg logs` for what an agent did",
    2: "see `agentpkg -h`, and `agentpkg config show` for the settings in force",
    3: "see `agentpkg status` for what is possible now",
    4: "wait until the other command or session is over; `agentpkg status` shows it",
    5: "see `agentpkg doctor` for what is missing",
}


def show(error: AgentpkgError, args: Sequence[str], debug: bool) -> int:
    """Shows an error that somebody planned for, and gives its exit code."""
    if debug:
        traceback.print_exc()
    error.hint = error.hint or _HINTS.get(error.exit_code, _HINTS[1])
    if _json_wanted(args):
        print(json_text(error.as_json()))
    else:
        _say(f"error: {_plain(error.message)}")
        for problem in error.details.get("problems", ()):
            told = str(Problem(**problem))
            # the first one is part of most messages
            if told not in error.message:
                _say(f"  {_plain(told)}")
        _say(f"hint: {_plain(error.hint)}")
    return error.exit_code


def show_usage(error: click.ClickException, args: Sequence[str], debug: bool) -> int:
    """Shows wrong usage, with the command's own help as the way out."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "agentpkg"
    # click indents lists of choices with tabs and newlines
    message = " ".join(error.format_message().split()).rstrip(".")
    return show(BadInput(message, f"see `{path} -h`", code="usage"), args, debug)


def show_interrupt() -> int:
    """Ctrl-C where no command made more of it."""
    _say("interrupted")
    return 130


def show_bug(error: Exception, args: Sequence[str], debug: bool) -> int:
    """Shows what nobody planned for; a full disk is no mistake of agentpkg's."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        from agentpkg.engine.supervising import fulldisk

        return show(fulldisk.shown(error), args, debug)
    bug = AgentpkgError(
        f"agentpkg itself failed: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
        "the same command with --debug shows where; please report it",
        code="internal",
    )
    return show(bug, args, debug)


def _json_wanted(args: Sequence[str]) -> bool:
    return "--json" in (args[: args.index("--")] if "--" in args else args)


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _plain(text: str) -> str:
    """One line without terminal controls; blanks of any kind are plain ones."""
    return "".join(c if c.isprintable() else (" " if c.isspace() else "�") for c in text)
