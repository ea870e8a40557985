"""Files that a command can make anew, lock files above all: in conflict, they are, where ``merge.regenerate`` says so.

The command runs in a throw-away copy of the candidate that has the target's version of the file, behind the walls of a
review; what it leaves there becomes the candidate's. All else in conflict stays a conflict.
"""

from collections.abc import Callable, Sequence

from agentpkg.checks import copy, environment
from agentpkg.checks.base import ReviewContext
from agentpkg.checks.execute import execute, shown_output
from agentpkg.config.settings import Regenerate
from agentpkg.core.errors import Interrupted
from agentpkg.files import read_bounded

#: seconds for each command
_SECONDS = 900.0
_LIMIT = 64 << 20


def contents(
    context: ReviewContext, rules: Sequence[Regenerate], cancelled: Callable[[], bool]
) -> dict[str, bytes] | str:  # fmt: skip
    """What the commands make of the files, or why one of them fails, in a line.

    Raises:
        Interrupted: ``cancelled`` said so.
        Lacking: there is no room for the copy, or no walls.
    """
    with copy.throw_away(context, cancelled=cancelled) as place:
        env = environment.build(place, context.environment)
        for rule in rules:
            done = execute(context, place, rule.run, env, timeout=_SECONDS, cancelled=cancelled, setting_up=True)
            if done.cancelled:
                raise Interrupted("the review was stopped", "run it again: agentpkg review")
            if done.exit_code != 0 or done.timed_out:
                said = shown_output(done, place).strip().splitlines()[-1:] or ["it said nothing"]
                return f"{rule.run} ended with {done.exit_code}: {said[0][:200]}"
        try:
            return {rule.path: read_bounded(place.root / rule.path, _LIMIT) for rule in rules}
        except OSError as error:
            return f"{error.filename or rules[0].path}: {error.strerror or 'it is too large'}"
