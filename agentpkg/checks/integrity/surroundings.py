"""What stands around tests: scripts that checks run, data that tests read, code that ends a run or alters its tools."""

import re
from collections.abc import Iterator, Sequence

from agentpkg.checks.integrity import oddity, roles
from agentpkg.checks.integrity.change import FileChange, Intent
from agentpkg.checks.integrity.oddity import Oddity

_ENDS = re.compile(r"\bos\._exit\(|\bpytest\.exit\(|\bos\.abort\(|\bos\.kill\(\s*os\.getpid\(")
_FRAMEWORK = re.compile(
    r"^\s*(pytest|_pytest|unittest|builtins)(\.\w+)+\s*=[^=]|setattr\(\s*(pytest|unittest|builtins)\b"
)


def odd(changes: Sequence[FileChange], intent: Intent, commands: Sequence[str]) -> list[Oddity]:
    """What is odd about it.

    Args:
        changes: those whose own version is used.
        commands: the command lines of the checks.
    """
    return [*_scripts(changes, commands), *_data(changes, intent), *(o for c in changes for o in _endings(c))]


def scripts(changes: Sequence[FileChange], commands: Sequence[str]) -> set[str]:
    """Changed files that a command line names, and that are no tests by their own name."""
    words = {word.removeprefix("./") for command in commands for word in re.findall(r"[\w./-]+", command)}
    return {one.path for one in changes if one.path in words and not roles.is_test(one.path.rpartition("/")[2])}


def _scripts(changes: Sequence[FileChange], commands: Sequence[str]) -> Iterator[Oddity]:
    named = scripts(changes, commands)
    for one in changes:
        if one.path in named and not one.new:
            yield Oddity(oddity.RUNNING, one.path, 0, "another script", "a check runs it", "doubtful")


def _data(changes: Sequence[FileChange], intent: Intent) -> Iterator[Oddity]:
    """Other data of tests may be what they expect."""
    for one in changes:
        if one.new or roles.is_code(one.path) or roles.is_snapshot(one.path) or not roles.is_test(one.path):
            continue
        planned = one.path in intent.named
        yield Oddity(oddity.EXPECTATIONS, one.path, 0, "other data", "", "odd" if planned else "doubtful")


def _endings(change: FileChange) -> Iterator[Oddity]:
    if not roles.is_python(change.path) or change.after is None or roles.is_run_file(change.path):
        return
    for line, text in change.added_lines():
        code = text.partition("#")[0]
        if roles.is_test(change.path) and _ENDS.search(code):
            yield Oddity(oddity.RUNNING, change.path, line, text.strip()[:80], "it ends the run before its time")
        elif _FRAMEWORK.search(code):
            yield Oddity(oddity.RUNNING, change.path, line, text.strip()[:80], "it alters the test framework")
