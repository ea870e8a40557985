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
#: what acts when a process ends, or makes it end, in place of a test runner; what a report of tests begins with
_AT_END = re.compile(r"\b_exit\b|\batexit\b|<testsuite|\bsys\.exitfunc\b|\bthreading\._register_atexit\b")

#: programs, and modules of Python, that look at a file which they are given and do not run it
_LOOK = re.compile(
    r"^(\S*=\S*\s+)*((npx|uvx|((uv|poetry|pdm|hatch|pipenv) run)|((pnpm|yarn|npm) exec)|time|env)\s+)*"
    r"(python[\d.]*\s+-m\s+)?"
    r"(test|\[|ls|wc|py_compile|compileall|json\.tool|node\s+(--check|-c)|ruff|flake8|pylint|mypy|pyright|black|isort"
    r"|bandit|eslint|prettier|tsc|shellcheck|gcc|g\+\+|cc|clang|clang\+\+|rustc|javac|gofmt|go\s+vet|yamllint)\s"
)
#: but for what tells them how
_SETTINGS = re.compile(r"\s-{1,2}(?:c|p|conf\w*|rc\w*|project|settings)[\s=]\s*(\S+)")
#: where simple commands of a shell end
_ENDS_COMMAND = re.compile(r"[;&|\n()`]+")
#: what a file is called that is there to judge others
_JUDGES = re.compile(
    r"(^|/)(\.?ci|scripts?|tools?|hack|checks?|qa|\.github)/"
    r"|(^|[/_.-])(ci|check(s|er)?|lint(er)?|verify|validate|validator|accept(ance)?|tests?|tester|smoke|e2e|qa|gate|judge)"
    r"([_.-][^/]*)?$"
)
#: what is said of a file that a check runs
SCRIPT = "another script"


def odd(
    changes: Sequence[FileChange], intent: Intent, commands: Sequence[str], acceptance: Sequence[str] = ()
) -> list[Oddity]:
    """What is odd about it.

    Args:
        changes: those whose own version is used.
        commands: the command lines of the checks.
        acceptance: those of them that say what the package is for.
    """
    configured = [command for command in commands if command not in acceptance]
    scripts_ = _scripts(changes, intent, configured, acceptance)
    return [*scripts_, *_data(changes, intent), *(o for c in changes for o in _endings(c))]


def scripts(changes: Sequence[FileChange], commands: Sequence[str]) -> set[str]:
    """Changed files that a command line names and may run, and that are no tests by their own name."""
    parts = [part.strip() for command in commands for part in _ENDS_COMMAND.split(command)]
    running = [" ".join(_SETTINGS.findall(part)) if _LOOK.match(f"{part} ") else part for part in parts]
    words = {word.removeprefix("./") for part in running for word in re.findall(r"[\w./-]+", part)}
    return {one.path for one in changes if one.path in words and not roles.is_test(one.path.rpartition("/")[2])}


def _scripts(
    changes: Sequence[FileChange], intent: Intent, configured: Sequence[str], acceptance: Sequence[str]
) -> Iterator[Oddity]:
    """What a check runs is the examiner, or what is examined: a product that is started to see what it does."""
    by_config, named = scripts(changes, configured), scripts(changes, [*configured, *acceptance])
    for one in changes:
        if one.path not in named or one.new:
            continue
        product = roles.is_product(one.path) and not _JUDGES.search(one.path)
        meant = one.path in intent.named or (product and (one.path in intent.chosen or one.path not in by_config))
        yield Oddity(oddity.RUNNING, one.path, 0, SCRIPT, "a check runs it", "odd" if meant else "doubtful")


def meddling(changes: Sequence[FileChange]) -> list[Oddity]:
    """New lines of a product that could act when a run of its tests ends; odd by themselves."""
    return [
        Oddity(oddity.RUNNING, one.path, line, text.strip()[:80], "it acts when a run ends", "odd")
        for one in changes
        if roles.is_python(one.path) and roles.is_product(one.path)
        for line, text in one.added_lines()
        if _AT_END.search(text.partition("#")[0])
    ][:1]


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
