"""``review.setup``: commands that make a copy ready for its checks, such as a virtual environment.

Whose fault is a command that fails? If it fails on the target too, it is the machine's or the configuration's, and
there is no verdict; if it works there, what fails is the candidate.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from agentpkg import proc
from agentpkg.checks import blame, copy, environment
from agentpkg.checks.base import NoVerdict, ReviewContext
from agentpkg.checks.copy import Copy
from agentpkg.checks.execute import execute, shown_output
from agentpkg.core.errors import Interrupted

#: seconds for each command
_SECONDS = 1800.0

NAME = "review.setup"


@dataclass(frozen=True, slots=True)
class Failed:
    """The candidate's own files keep a copy from being prepared.

    Attributes:
        detail: one line.
        data: what proves it.
    """

    detail: str
    data: Mapping[str, Any] = field(default_factory=dict)


def run(context: ReviewContext, place: Copy, cancelled: Callable[[], bool]) -> Failed | NoVerdict | None:
    """Prepares a copy of the candidate; None when that went well, or there is nothing to do.

    Raises:
        Interrupted: when ``cancelled`` said so.
        Lacking: when the walls could not be put up.
    """
    failed = _first_failure(context, place, cancelled)
    if failed is None:
        return None
    command, result = failed
    said = _words(command, result, place)
    fault = blame.machine(command, result, place.root, environment.build(place, context.environment)["PATH"])
    if fault is not None:
        return NoVerdict(NAME, fault.reason, fault.fix, fault.code)
    with copy.throw_away(replace(context, candidate=context.base), cancelled=cancelled) as target:
        if _first_failure(context, target, cancelled) is not None:
            fix = "correct review.setup; where it needs a network, name its hosts in isolation.network.allow"
            return NoVerdict(NAME, f"{said}, on the target too", fix)
    data = {"command": command, "exit_code": result.exit_code, "output": shown_output(result, place)}
    return Failed(f"{said}, but not on the target", data)


def _first_failure(
    context: ReviewContext, place: Copy, cancelled: Callable[[], bool]
) -> tuple[str, proc.Result] | None:
    env = environment.build(place, context.environment)
    for command in context.definitions.setup:
        result = execute(context, place, command, env, timeout=_SECONDS, cancelled=cancelled, setting_up=True)
        if result.cancelled:
            raise Interrupted("the review was stopped while its copy was prepared", "run it again: agentpkg review")
        if result.exit_code != 0 or result.timed_out:
            return command, result
    return None


def _words(command: str, result: proc.Result, place: Copy) -> str:
    lines = [line for line in shown_output(result, place).splitlines() if line.strip()] or ["it said nothing"]
    how = f"did not end within {_SECONDS:.0f} s" if result.timed_out else f"ended with {result.exit_code}"
    return f"{NAME} ({command.splitlines()[0][:80]}) {how}: {lines[-1][:200]}"
