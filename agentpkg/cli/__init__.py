"""The command line: one verb a file, and the one place where errors become text and exit codes.

A verb's module is imported when the verb is used, so that no command pays for another's imports.
"""

from collections.abc import Sequence
from importlib import import_module

import click

from agentpkg import __version__
from agentpkg.core.errors import AgentpkgError

#: verb -> (module, what it does in a few words)
VERBS: dict[str, tuple[str, str]] = {
    "demo": ("demo", "See the whole loop in a scratch repository: no account, no network."),
    "init": ("init", "Write a first configuration for this repository."),
    "doctor": ("doctor", "Look at what this machine and repository have, and what they lack."),
    "config": ("config", "Show every effective setting and where it came from."),
    "agents": ("agents", "List the agents, and try one."),
    "features": ("features", "List every feature, one line each."),
    "status": ("status", "Show where a feature stands; --watch keeps showing it."),
    "graph": ("graph", "Draw a feature's work packages and what depends on what."),
    "prompt": ("prompt", "Print exactly what an agent would get."),
    "implement": ("implement", "Start an agent on one work package and wait for it."),
    "run": ("run", "Dispatch, review and merge until the feature is done."),
    "pause": ("pause", "Have a feature's runs start and land nothing for now."),
    "resume": ("resume", "Let a paused run go on."),
    "stop": ("stop", "End a run, in a terminal or detached."),
    "attach": ("attach", "Watch a run; leaving does not stop it."),
    "tell": ("tell", "Give a package's agent an instruction."),
    "review": ("review", "Judge the commit that would land."),
    "queue": ("queue", "Show what lands in which order, and why."),
    "questions": ("questions", "List what waits for a person's answer."),
    "answer": ("answer", "Answer a question by its number."),
    "approve": ("approve", "Approve the candidate of a work package."),
    "deny": ("deny", "Deny the candidate of a work package."),
    "policy": ("policy", "Tell beforehand what a package will need of people."),
    "move": ("move", "Move a work package (or a feature) to another state."),
    "wp": ("wp", "The same as move, for scripts."),
    "logs": ("logs", "Show what an agent said and did."),
    "cancel": ("cancel", "Stop a package's session; its commits are kept."),
    "events": ("events", "Follow, query, export and verify what happened."),
    "snapshots": ("snapshots", "List what was kept of a package's uncommitted work."),
    "rewind": ("rewind", "Bring a snapshot back into a package's worktree."),
    "rebuild": ("rebuild", "Make a lost or damaged ledger again from git."),
    "export": ("export", "Write a feature's progress as files that other tools read."),
    "clean": ("clean", "Remove worktrees and branches that nothing needs any more."),
}


class Verbs(click.Group):
    """The verbs, each imported on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every verb, in the order of a package's life."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's command, None when there is none of that name."""
        if cmd_name not in VERBS:
            return None
        module = import_module(f"agentpkg.cli.{VERBS[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click's; a bare name asks for help, which to a script is wrong usage all the same."""
        if not args:
            click.echo(ctx.get_help())
            ctx.exit(2)
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, with the nearest verb named for a mistyped one."""
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], VERBS, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise click.UsageError(f"there is no command {args[0]}{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The verbs without importing one of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(verb, text) for verb, (_, text) in VERBS.items()])


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="agentpkg")
def agentpkg() -> None:
    """Turn a planned feature into merged, reviewed code with coding agents.

    \b
    Example:
      agentpkg demo
      agentpkg run 003

    \b
    Tab completion (bash; zsh and fish likewise):
      eval "$(_AGENTPKG_COMPLETE=bash_source agentpkg)"
    """


def run(args: Sequence[str]) -> int:
    """Runs the command line.

    Args:
        args: the words behind the program's name.

    Returns:
        The exit code of the contract: 0 to 5, or 130.
    """
    from agentpkg.cli import failing, streams

    debug = "--debug" in args
    streams.write_anything()
    try:
        code = _code(args, debug)
    except OSError:
        # the very words of an error could not be written
        code = AgentpkgError.exit_code
    lost = streams.finish()
    return failing.show(lost, (), debug) if lost else code


def _code(args: Sequence[str], debug: bool) -> int:
    """Runs the command line; errors become text."""
    from agentpkg.cli import failing, streams

    try:
        code = agentpkg.main(list(args), prog_name="agentpkg", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except BrokenPipeError:
        # the reader has gone (`| head`): nobody is left to tell
        streams.let_go()
        return 0
    except SystemExit as gone:
        # click makes an exit of a reader who has gone
        if isinstance(gone.__context__, BrokenPipeError):
            streams.let_go()
            return 0
        raise
    except click.exceptions.Exit as done:
        return done.exit_code
    except (click.Abort, KeyboardInterrupt):
        return failing.show_interrupt()
    except click.ClickException as error:
        return failing.show_usage(error, args, debug)
    except AgentpkgError as error:
        return failing.show(error, args, debug)
    except Exception as error:
        lost = streams.finish() if isinstance(error, OSError) else None
        return failing.show(lost, (), debug) if lost else failing.show_bug(error, args, debug)
