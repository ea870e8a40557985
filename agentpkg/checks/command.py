"""One command check: ``/bin/sh -c`` in a copy of its own, judged by exit code and report."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agentpkg import proc
from agentpkg.checks import blame, copy, editable, environment, junit, prepare
from agentpkg.checks.base import NO_VERDICT, CheckSpec, Finding, NoVerdict, ReviewContext, one_line
from agentpkg.checks.copy import Copy, Override
from agentpkg.checks.execute import execute, shown_output
from agentpkg.checks.junit import TestReport
from agentpkg.checks.prepare import Failed
from agentpkg.checks.safexml import MAX_BYTES, BadReport
from agentpkg.core.errors import DISK_FULL, BadInput, Interrupted, Lacking
from agentpkg.core.records import CheckStatus
from agentpkg.files import read_bounded, remove_tree
from agentpkg.git.repo import GitFailed


@dataclass(frozen=True, slots=True)
class Ran:
    """A command check that gave an answer.

    Attributes:
        tests: what its test report said, where it names one that can be read.
        raw_report: that report's bytes.
        coverage: the coverage report it left, if it left one.
        exit_code: None when it was ended.
        milliseconds: how long it took.
        side: what a test report says that nothing is judged by.
        roots: names of the copy, as the reports may use them.
    """

    spec: CheckSpec
    finding: Finding
    tests: TestReport | None = None
    raw_report: bytes | None = None
    coverage: bytes | None = None
    roots: tuple[str, ...] = ()
    exit_code: int | None = None
    milliseconds: int = 0
    side: TestReport | None = None


@dataclass(frozen=True, slots=True)
class Bench:
    """What all command checks of a review share.

    Attributes:
        overrides: what copies get from the target.
        packages: names the project's Python packages are imported by.
        ready: the copy that ``review.setup`` has prepared, for others to be like; None: each copy is prepared itself.
        broken: what came of preparing it, where that failed.
        patch: contents that files of a copy get once it is ready, for one that tries something; None removes one.
        side_report: a test report that is read where a command leaves it.
        cancelled: True ends the checks.
    """

    context: ReviewContext
    overrides: Sequence[Override] = ()
    packages: Sequence[str] = ()
    ready: Copy | None = None
    broken: Failed | NoVerdict | None = None
    patch: Mapping[str, bytes | None] = field(default_factory=dict)
    side_report: str | None = None
    cancelled: Callable[[], bool] = field(default=lambda: False)


def run(bench: Bench, spec: CheckSpec) -> Ran | NoVerdict:
    """Runs one check in a fresh copy; copy and processes are gone afterwards, however it ends.

    Raises:
        Interrupted: when the review was cancelled.
    """
    if bench.cancelled():
        raise _interrupted(spec)
    if bench.broken is not None:
        return _unprepared(spec, bench.broken)
    try:
        with copy.throw_away(bench.context, bench.overrides, bench.ready, cancelled=bench.cancelled) as place:
            unready = None if bench.ready else prepare.run(bench.context, place, bench.cancelled)
            if unready is not None:
                return _unprepared(spec, unready)
            _patch(place.root, bench.patch)
            return _run_in(bench, spec, place)
    except (GitFailed, Lacking) as error:
        code = DISK_FULL if error.code == DISK_FULL else NO_VERDICT
        return NoVerdict(spec.name, error.message, error.hint, code)


def _patch(root: Path, patch: Mapping[str, bytes | None]) -> None:
    """Puts contents into a copy; a path that leads out of it through a link is left alone."""
    for name, data in patch.items():
        path = _inside(root, name)
        if path is None:
            continue
        if path.is_symlink() or (data is None and path.is_file()):
            path.unlink()
        if data is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def _unprepared(spec: CheckSpec, why: Failed | NoVerdict) -> Ran | NoVerdict:
    if isinstance(why, NoVerdict):
        return why
    return Ran(spec, Finding(spec.group, spec.name, "fail", one_line(why.detail), why.data))


def _run_in(bench: Bench, spec: CheckSpec, place: Copy) -> Ran | NoVerdict:
    coverage = bench.context.definitions.coverage
    for name in (spec.report, coverage.report if coverage else None):
        # only what this run writes counts, not what somebody committed
        if path := _inside(place.root, name):
            remove_tree(path)
    notes = place.temporary.parent / "notes"
    env = environment.build(place, bench.context.environment)
    suspects = _suspects(bench, spec, place, env)
    if suspects:
        env = editable.watch(env, {found.package for found in suspects}, place.seen_as, notes)
    result = execute(
        bench.context, place, spec.run, env, timeout=spec.timeout_seconds, cancelled=bench.cancelled,
        reads=[found.folder for found in suspects], writes=[notes] if suspects else [],
    )  # fmt: skip
    if result.cancelled:
        raise _interrupted(spec)
    if elsewhere := editable.noted(notes) if suspects else []:
        return NoVerdict(spec.name, str(elsewhere[0]), editable.FIX)
    if fault := blame.machine(spec.run, result, place.root, env["PATH"]):
        return NoVerdict(spec.name, fault.reason, fault.fix, fault.code)
    answer = _answer(spec, result, place, coverage.report if coverage else None)
    return replace(answer, side=_tests(_read(place.root, bench.side_report))[0]) if bench.side_report else answer


def _interrupted(spec: CheckSpec) -> Interrupted:
    return Interrupted(f"the review was stopped before {spec.name} ended", "run it again: agentpkg review")


def _suspects(bench: Bench, spec: CheckSpec, place: Copy, env: Mapping[str, str]) -> list[editable.Elsewhere]:
    """The project's packages that an interpreter of this command would find elsewhere."""
    if not bench.packages:
        return []
    return [
        found
        for python in editable.interpreters(spec.run, env)
        for found in editable.suspects(python, bench.packages, env, place.temporary)
    ]


def _answer(spec: CheckSpec, result: proc.Result, place: Copy, coverage: str | None) -> Ran:
    raw = _read(place.root, spec.report)
    tests, trouble = _tests(raw) if spec.report else (None, "")
    status, detail = _judge(spec, result, tests, trouble, place)
    return Ran(
        spec, Finding(spec.group, spec.name, status, detail, _data(spec, result, tests, place)),
        tests, raw, _read(place.root, coverage), (str(place.root), os.path.realpath(place.root), str(place.seen_as)),
        result.exit_code if not result.timed_out else None, round(result.seconds * 1000),
    )  # fmt: skip


def _read(root: Path, name: str | None) -> bytes | None:
    """A report in the copy; None when it is missing, no plain file, too large, or reached through a link to outside."""
    path = _inside(root, name)
    try:
        return None if path is None else read_bounded(path, MAX_BYTES)
    except (OSError, BadInput):
        return None


def _inside(root: Path, name: str | None) -> Path | None:
    """The path of a report whose folder lies in the copy, links followed."""
    if name is None:
        return None
    folder = Path(os.path.realpath((root / name).parent))
    return folder / Path(name).name if folder.is_relative_to(os.path.realpath(root)) else None


def _tests(raw: bytes | None) -> tuple[TestReport | None, str]:
    if raw is None:
        return None, "was not written"
    try:
        return junit.parse(raw), ""
    except BadReport as error:
        return None, f"cannot be read: {error}"


def _judge(
    spec: CheckSpec, result: proc.Result, tests: TestReport | None, trouble: str, place: Copy
) -> tuple[CheckStatus, str]:
    if result.timed_out:
        return "fail", f"did not end within {spec.timeout_seconds} s"
    if tests is not None and tests.failed:
        failures = "; ".join(tests.failures[:3])
        return "fail", one_line(f"{tests.failed} of {tests.ran} tests failed: {failures}")
    if result.exit_code != 0:
        return "fail", one_line(f"exit code {result.exit_code}: {_last_line(result, place)}")
    if spec.report and tests is None:
        return "fail", one_line(f"exit code 0, but the report {spec.report} {trouble}")
    if tests is None:
        return "pass", f"passed in {result.seconds:.1f} s"
    if tests.ran < spec.minimum_tests:
        return "fail", f"only {tests.ran} tests ran, {tests.skipped} skipped; at least {spec.minimum_tests} must"
    skipped = f", {tests.skipped} skipped" if tests.skipped else ""
    return "pass", f"All tests pass ({tests.passed}/{tests.ran}{skipped})"


def _last_line(result: proc.Result, place: Copy) -> str:
    lines = [line for line in shown_output(result, place).splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def _data(spec: CheckSpec, result: proc.Result, tests: TestReport | None, place: Copy) -> Mapping[str, Any]:
    return {
        "command": spec.run,
        "exit_code": result.exit_code,
        "timed_out": result.timed_out,
        "milliseconds": round(result.seconds * 1000),
        "output": shown_output(result, place),
        "output_dropped": result.dropped,
        "tests": None if tests is None else {
            "passed": tests.passed, "failed": tests.failed, "skipped": tests.skipped, "failures": list(tests.failures),
        },
    }  # fmt: skip
