"""How errors look: one line, one hint, an exit code; the same as JSON where it was asked for."""

import json
import sys
import traceback
from collections.abc import Sequence

import click

from agentpkg.core.errors import AgentpkgError, BadInput


def show(error: AgentpkgError, args: Sequence[str], debug: bool) -> int:
    """Shows an error that somebody planned for, and gives its exit code."""
    if debug:
        traceback.print_exc()
    if _json_wanted(args):
        print(json.dumps(error.as_json(), ensure_ascii=False, default=str))
    else:
        _say(f"error: {_plain(error.message)}")
        for problem in error.details.get("problems", ()):
            where = f"{problem['file']}:{problem['line']}" if problem.get("line") else problem["file"]
            value = f"{problem['value']}: " if problem.get("value") else ""
            _say(f"  {_plain(where)}: {_plain(value)}{_plain(problem['message'])}")
        if error.hint:
            _say(f"hint: {_plain(error.hint)}")
    return error.exit_code


def show_usage(error: click.ClickException, args: Sequence[str], debug: bool) -> int:
    """Shows wrong usage, with the command's own help as the way out."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "agentpkg"
    message = error.format_message().rstrip(".").replace("\n", " ")
    return show(BadInput(message, f"see `{path} -h`", code="usage"), args, debug)


def show_interrupt() -> int:
    """Ctrl-C where no command made more of it."""
    _say("interrupted")
    return 130


def show_bug(error: Exception, args: Sequence[str], debug: bool) -> int:
    """Shows what nobody planned for."""
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
    """One line without terminal controls."""
    return "".join(c if c.isprintable() else ("␊" if c == "\n" else "�") for c in text)
