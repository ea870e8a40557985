"""What is tried in copies, within a time: old tests on new code, new tests on old code, small faults, failures again.

Only commands that run tests are tried. A probe whose command could not be judged says nothing, and is no finding.
"""

import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from agentpkg.checks import command
from agentpkg.checks.base import TEST_QUALITY, CheckSpec, NoVerdict
from agentpkg.checks.command import Bench, Ran
from agentpkg.checks.integrity import roles
from agentpkg.checks.integrity.change import FileChange
from agentpkg.checks.integrity.mutants import Mutant

_REPORT = ".agentpkg-probe.xml"
_RUNNER = re.compile(
    r"\b(pytest|py\.test|unittest|tox|nox|nose2|trial|jest|vitest|mocha|ava|karma|cypress|playwright|rspec|minitest|phpunit|pest|gotestsum|ginkgo|prove|busted|tape?|kaocha"
    r"|nextest|ctest|bats|sbt|gradlew?|mvnw?|testthat|doctest)\b|\b(npm|yarn|pnpm|bun|go|cargo|deno|mix|swift|dotnet|stack|zig|make|just)"
    r"\s+(run\s+|-\S+\s+)*(test|check)\b|\btests?\.(sh|py)\b|\brun[-_]?tests?\b|\bnode\b.*\s--test\b|\b(rake|bazel|hatch|pdm|lein|cabal|dune|composer)\s+(\S+\s+)*(test|spec)\b"
)
_SPOKEN = (
    (re.compile(r"\b(pytest|py\.test|unittest|nose2|trial|tox|nox)\b"), re.compile(r"\.py[ix]?$")),
    (
        re.compile(r"\b(npm|yarn|pnpm|bun|jest|vitest|mocha|ava|deno|karma|cypress)\b|\bnode\b.*--test\b"),
        re.compile(r"\.([mc]?[jt]sx?|vue|svelte)$"),
    ),
    (re.compile(r"\bgo\s+test\b"), re.compile(r"\.go$")),
    (re.compile(r"\b(cargo|nextest)\b"), re.compile(r"\.rs$")),
    (re.compile(r"\b(rspec|minitest)\b"), re.compile(r"\.rb$")),
)
#: a check of this name runs tests
_CALLED = re.compile(r"\b(unit|integration|e2e|tests?|specs?)\b", re.IGNORECASE)
#: and one that runs these does not
_LOOKS_ONLY = re.compile(
    r"\b(ruff|flake8|pylint|mypy|pyright|eslint|tsc|prettier|black|clippy|golangci-lint|shellcheck)\b"
)
#: pytest's own code for a wrong command line
_USAGE = 4


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run of a command in a changed copy.

    Attributes:
        passed: None where it says nothing.
        cases: outcomes of single tests, where a report has them.
    """

    passed: bool | None
    cases: Mapping[str, str] = field(default_factory=dict)
    milliseconds: int = 0


class Budget:
    """The time that all probes of a review have together."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds."""
        return self._end - time.monotonic()


@dataclass(frozen=True, slots=True)
class Lab:
    """Where probes run.

    Attributes:
        specs: the commands that run tests.
        usual: how long the slowest of them took on the candidate, in seconds.
        excused: tests whose failure says nothing, since they fail without any change of ours.
    """

    bench: Bench
    specs: Sequence[CheckSpec]
    budget: Budget
    parallel: int = 2
    usual: float = 1.0
    excused: frozenset[str] = frozenset()

    def attempt(self, patch: Mapping[str, bytes | None], options: str = "", *, on_target: bool = False) -> Attempt:
        """Runs the commands, one after another until one fails, in copies with ``patch``.

        Args:
            options: more of pytest's.
            on_target: in copies of the target instead of the candidate.
        """
        cases: dict[str, str] = {}
        took = 0
        for spec in self.specs:
            ran = self._run(spec, patch, options, on_target)
            if ran is None:
                return Attempt(None, cases, took)
            report = ran.tests or ran.side
            cases |= report.cases if report else {}
            took += ran.milliseconds
            failed = {case for case, status in (report.cases if report else {}).items() if status == "failed"}
            if ran.finding.status == "fail" and not (failed and failed <= self.excused):
                return Attempt(False, cases, took)
        return Attempt(True, cases, took)

    def _run(self, spec: CheckSpec, patch: Mapping[str, bytes | None], options: str, on_target: bool) -> Ran | None:
        if self.budget.left <= 0:
            return None
        context = self.bench.context
        said = f"{context.environment.get('PYTEST_ADDOPTS', '')} --junitxml={_REPORT} {options}".strip()
        environment = {**context.environment, "PYTEST_ADDOPTS": said}
        seconds = int(min(max(self.budget.left, 1), max(20, 5 * self.usual), spec.timeout_seconds)) or 1
        # what is tried may well leave out tests; the same once more may not
        fewest = 0 if patch else spec.minimum_tests
        changed = replace(context, environment=environment, candidate=context.base if on_target else context.candidate)
        # that the project is mapped nowhere else was found out when the checks ran
        bench = replace(self.bench, context=changed, packages=(), patch=patch, side_report=_REPORT)
        if on_target:
            bench = replace(bench, overrides=(), ready=None)
        ran = command.run(bench, replace(spec, timeout_seconds=seconds, minimum_tests=fewest))
        return None if isinstance(ran, NoVerdict) or ran.exit_code == _USAGE else ran

    def several(self, tasks: Sequence[Callable[[], Attempt]]) -> list[Attempt]:
        """Attempts side by side."""
        if not tasks:
            return []
        with ThreadPoolExecutor(max(1, min(self.parallel, len(tasks))), "probe") as pool:
            return [future.result() for future in [pool.submit(task) for task in tasks]]


def runs_tests(spec: CheckSpec) -> bool:
    """The command is one that runs tests: by what it runs, or because the configuration says so."""
    said = spec.group == TEST_QUALITY or _CALLED.search(spec.name)
    return bool(spec.report or _RUNNER.search(spec.run) or (said and not _LOOKS_ONLY.search(spec.run)))


def speaks_of(specs: Sequence[CheckSpec], path: str) -> bool:
    """Whether the commands could run code in this file's language; where none is known, any."""
    known = [suffixes for spec in specs for runner, suffixes in _SPOKEN if runner.search(spec.run)]
    return not known or any(suffixes.search(path) for suffixes in known)


def old_tests(changes: Sequence[FileChange], scripts: Collection[str] = ()) -> dict[str, bytes | None]:
    """Turns a copy's tests, and what decides how they run, into those of the target.

    Args:
        scripts: what else decides it.
    """
    meant = [c for c in changes if roles.is_test(c.path) or roles.is_run_file(c.path) or c.path in scripts]
    return {c.path: _bytes(c.before) for c in meant if _whole(c)}


def old_code(changes: Sequence[FileChange]) -> dict[str, bytes | None]:
    """Turns everything but tests, and what decides how they run, into what the target has."""
    return {
        c.path: _bytes(c.before)
        for c in changes
        if not roles.is_test(c.path) and not roles.is_run_file(c.path) and _whole(c)
    }


#: a test that fails, for both of Python's runners
_FAILING = b"""import unittest


class TestThatFails(unittest.TestCase):
    def test_that_fails(self):
        self.fail("agentpkg wants to see this fail")
"""


def failing(changes: Sequence[FileChange]) -> dict[str, bytes | None]:
    """Puts tests that fail into a copy, beside the product's and where tests usually are."""
    folders = {"", "tests/", "test/", *(c.path.rpartition("/")[0] + "/" for c in changes if roles.is_test(c.path))}
    return {f"{folder}test_agentpkg_that_fails.py": _FAILING for folder in folders}


def fault(mutant: Mutant) -> dict[str, bytes | None]:
    """Puts one fault into a copy."""
    return {mutant.path: _bytes(mutant.text)}


def _whole(change: FileChange) -> bool:
    return change.new or change.before is not None


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else text.encode("utf-8", "surrogateescape")


def outcome(cases: Mapping[str, str], path: str, name: str) -> str | None:
    """What a report says of a test of a file: the worst of its cases, None where it has none.

    Args:
        name: with its class, as the source has it.
    """
    group, _, short = name.rpartition(".")
    stem = path.rpartition("/")[2].rpartition(".")[0]
    found = [status for case, status in cases.items() if _is_case(case, stem, group, short)]
    return max(found, key=("passed", "skipped", "failed").index) if found else None


def _is_case(case: str, stem: str, group: str, short: str) -> bool:
    where, _, which = case.rpartition("::")
    if re.fullmatch(rf"{re.escape(short)}(\[.*\])?", which, re.DOTALL):
        wanted = ".".join(part for part in (stem, group) if part)
        return not where or where == wanted or where.endswith(f".{wanted}")
    # other runners: the name is a sentence, perhaps after those of its suites
    return " " in short and short in which
