"""The whole review of one candidate: facts, command checks in parallel, evidence, verdict."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

from agentpkg.checks import (
    changes,
    command,
    copy,
    coverage,
    deliverables,
    editable,
    governance,
    history,
    prepare,
    requirements,
    runconfig,
    tree,
)
from agentpkg.checks.base import (
    GROUPS,
    SPECIFICATION,
    TEST_QUALITY,
    CheckSpec,
    Finding,
    NoVerdict,
    ReviewContext,
    Reviewed,
    named,
    one_line,
)
from agentpkg.checks.command import Bench, Ran
from agentpkg.checks.evidence import EvidenceStore
from agentpkg.checks.integrity import change, failures
from agentpkg.checks.integrity import review as integrity
from agentpkg.checks.integrity.change import FileChange
from agentpkg.checks.integrity.judgement import SUMMARY
from agentpkg.checks.integrity.probes import Budget
from agentpkg.checks.reuse import Bindings, Known, Parts, reviewer
from agentpkg.checks.safexml import BadReport
from agentpkg.core.errors import Interrupted
from agentpkg.core.model import Verdict
from agentpkg.core.records import Batch, CheckResult, CheckStatus
from agentpkg.git.refs import tree_of

__all__ = ["PARALLEL", "NoVerdict", "Reviewed", "recorded", "run_all", "run_commands", "with_finding"]

#: command checks at once, where the caller does not say
PARALLEL = 2


def run_all(
    context: ReviewContext, store: EvidenceStore, parallel: int = PARALLEL, *,
    extra: Sequence[Finding] = (), known: Known | None = None, cancelled: Callable[[], bool] = lambda: False,
) -> Reviewed | NoVerdict:  # fmt: skip
    """Judges a candidate.

    Args:
        parallel: command checks that may run at once, each in its own copy.
        extra: findings of the caller's own (a broken audit trail), judged with the others.
        known: earlier results, of which those that look at the very same are taken again.
        cancelled: asked several times a second while checks run; True stops them.

    Returns:
        The verdict with every check's result, or why the machine allows none.

    Raises:
        Interrupted: when ``cancelled`` said so.
    """
    copy.sweep(copy.place(context.outside))
    before, after = tree.files(context.control, context.base), tree.files(context.control, context.candidate)
    specs = [*context.definitions.checks, *acceptance(context)]
    overrides = runconfig.overrides(context, after, before, [spec.run for spec in specs])
    # what an interpreter may map elsewhere is what was there to be installed
    packages = editable.packages(before)
    changed = change.gather(context, before, after)
    bindings = Bindings.of(context, overrides, specs, context.walls.level if context.walls else None)
    old = [known.command(spec, parts) if known else None for spec, parts in zip(specs, bindings.commands, strict=True)]
    settled = known.findings(bindings.integrity) if known else None
    left = [spec for spec, found in zip(specs, old, strict=True) if found is None]
    bench = Bench(context, overrides, packages, cancelled=cancelled)
    with prepared(bench, left or ([] if settled else specs)) as bench:
        ran = side_by_side(bench, left, parallel)
        if isinstance(ran, NoVerdict):
            return ran
        fresh = iter(ran)
        every = [found or next(fresh) for found in old]
        budget = Budget(context.definitions.integrity.probe_seconds)
        looked = failures.look_again(bench, every, before, after, budget)
        tested = settled or integrity.check(bench, looked, changed, parallel, budget)
    policy, needs = governance.check(context, before, after)
    facts = [
        *deliverables.check(context, after),
        *(runconfig.check(overrides) if specs else [nothing_ran()]),
        *covered(context, looked.ran, changes.changed_paths(before, after), after),
        *changes.check(context, before, after),
        *history.check(context),
        *policy,
        *looked.records,
        *tested,
        *extra,
    ]
    return replace(conclude(context, store, looked.ran, facts, bindings, changed), needs=tuple(needs))


def bound(context: ReviewContext, level: str | None) -> dict[str, Parts]:
    """What each result of a review that runs something would be bound to, by its name; nothing is run.

    Args:
        level: the level of isolation it would run in.
    """
    before, after = tree.files(context.control, context.base), tree.files(context.control, context.candidate)
    specs = [*context.definitions.checks, *acceptance(context)]
    overrides = runconfig.overrides(context, after, before, [spec.run for spec in specs])
    bindings = Bindings.of(context, overrides, specs, level)
    commands = {one_line(spec.name, 200): parts for spec, parts in zip(specs, bindings.commands, strict=True)}
    return {**commands, SUMMARY: bindings.integrity}


def run_commands(
    context: ReviewContext, specs: Sequence[CheckSpec], store: EvidenceStore, parallel: int = PARALLEL, *,
    cancelled: Callable[[], bool] = lambda: False,
) -> tuple[CheckResult, ...] | NoVerdict:  # fmt: skip
    """Runs commands alone, each in a copy of its own of a commit that is both base and candidate.

    Arguments, outcomes and errors are those of :func:`run_all`.
    """
    copy.sweep(copy.place(context.outside))
    packages = editable.packages(tree.files(context.control, context.base))
    with prepared(Bench(context, (), packages, cancelled=cancelled), specs) as bench:
        ran = side_by_side(bench, specs, parallel)
    if isinstance(ran, NoVerdict):
        return ran
    bound = _bound(context)
    return tuple(_record(store, bound, one.finding, _reports(store, one)) for one in ran)


def acceptance(context: ReviewContext) -> list[CheckSpec]:
    """The package's acceptance commands, as checks."""
    return [CheckSpec(one_line(line, 100), SPECIFICATION, line) for line in context.wp.acceptance]


def nothing_ran() -> Finding:
    """That no command looked at the candidate."""
    return Finding(TEST_QUALITY, "tests", "warn", "nothing ran the candidate: no review.checks, no acceptance commands")


def side_by_side(bench: Bench, specs: Sequence[CheckSpec], parallel: int) -> list[Ran] | NoVerdict:
    """Runs commands, ``parallel`` at once, each in a copy of its own.

    Raises:
        Interrupted: the review was stopped.
    """
    stop = threading.Event()
    ask = bench.cancelled
    working = replace(bench, cancelled=lambda: stop.is_set() or ask())
    with ThreadPoolExecutor(max(1, min(parallel, len(specs))), "check") as pool:
        futures = [pool.submit(_run_one, working, spec, stop) for spec in specs]
        try:
            outcomes = [_outcome(future) for future in futures]
        except BaseException:
            stop.set()
            raise
    for outcome in outcomes:
        if isinstance(outcome, NoVerdict):
            return outcome
    if any(outcome is None for outcome in outcomes):
        raise Interrupted("the review was stopped", "run it again: agentpkg review")
    return [outcome for outcome in outcomes if isinstance(outcome, Ran)]


@contextmanager
def prepared(bench: Bench, specs: Sequence[CheckSpec]) -> Iterator[Bench]:
    """The bench with the one copy that all checks' copies are to be like, where a copy can appear as another."""
    context = bench.context
    if not specs or not context.definitions.setup or context.walls is None or not context.walls.moves:
        yield bench
        return
    with copy.throw_away(context, bench.overrides, cancelled=bench.cancelled) as ready:
        broken = prepare.run(context, ready, bench.cancelled)
        yield replace(bench, ready=ready, broken=broken)


def _run_one(bench: Bench, spec: CheckSpec, stop: threading.Event) -> Ran | NoVerdict:
    outcome = command.run(bench, spec)
    if isinstance(outcome, NoVerdict):
        # there will be no verdict, whatever the others say
        stop.set()
    return outcome


def _outcome(future: "Future[Ran | NoVerdict]") -> Ran | NoVerdict | None:
    try:
        return future.result()
    except Interrupted:
        return None


def covered(
    context: ReviewContext, ran: Sequence[Ran], changed: Sequence[str], after: Mapping[str, tree.Blob]
) -> list[Finding]:
    """What the coverage report says, where one is asked for.

    Args:
        changed: paths that the package changes.
        after: the files that were measured.
    """
    spec = context.definitions.coverage
    if spec is None:
        return []
    wrote = next((one for one in ran if one.coverage is not None), None)
    if wrote is None or wrote.coverage is None:
        return [Finding(TEST_QUALITY, "coverage", "fail", f"no check wrote {spec.report}", {"report": spec.report})]
    try:
        report = coverage.located(coverage.parse(wrote.coverage), after.keys(), wrote.roots)
    except BadReport as error:
        return [Finding(TEST_QUALITY, "coverage", "fail", f"{spec.report} cannot be read: {one_line(str(error))}")]
    touched = [path for path in changed if path in after]
    lines = changes.changed_lines(context, touched) if spec.per == "changed" else {}
    found = coverage.judge(spec, report, lines)
    unmeasured = f"; not in the report: {named(list(found.unmeasured))}" if found.unmeasured else ""
    status: CheckStatus = "fail" if not found.passed else "warn" if unmeasured else "pass"
    data = {
        "covered": found.covered, "measured": found.measured, "minimum": spec.minimum, "per": spec.per,
        "below": list(found.worst), "unmeasured": list(found.unmeasured), "by": wrote.spec.name,
    }  # fmt: skip
    return [Finding(TEST_QUALITY, "coverage", status, found.detail + unmeasured, data)]


def conclude(
    context: ReviewContext, store: EvidenceStore, ran: Sequence[Ran], facts: Sequence[Finding], bindings: Bindings,
    changed: Sequence[FileChange],
) -> Reviewed:  # fmt: skip
    """The verdict, with all evidence stored.

    Args:
        ran: the configured checks, then the acceptance commands; ``bindings`` say what each is bound to.
        facts: all other findings.
    """
    bound = _bound(context)
    commands = [
        (one, _record(store, bound, one.finding, {**_reports(store, one), "bound_to": parts, **_roots(one)}))
        for one, parts in zip(ran, bindings.commands, strict=True)
    ]
    # the configured checks come first, then the acceptance commands
    configured = len(context.definitions.checks)
    proofs, refs = requirements.check(context, commands[configured:], commands[:configured], changed)
    others = [_record(store, bound, finding, _binding(finding, bindings)) for finding in (*facts, *proofs)]
    results = _ordered([*(result for _, result in commands), *others])
    rejected = any(result.status == "fail" for result in results)
    tests = [one.tests for one in ran if one.tests is not None]
    return Reviewed(
        Verdict.CHANGES_REQUESTED if rejected else Verdict.APPROVED, tuple(results),
        sum(t.passed for t in tests) if tests else None, sum(t.failed for t in tests) if tests else None, tuple(refs),
    )  # fmt: skip


def _roots(ran: Ran) -> dict[str, Any]:
    """Names of the copy, as far as somebody who reads a report needs them; each run's are others."""
    return {"roots": ran.roots} if ran.coverage is not None else {}


def _binding(finding: Finding, bindings: Bindings) -> dict[str, Any]:
    return {"bound_to": bindings.integrity} if finding.name == SUMMARY else {}


def with_finding(
    context: ReviewContext, store: EvidenceStore, done: Reviewed, finding: Finding, parts: Parts
) -> Reviewed:  # fmt: skip
    """A review with one more finding, which may turn its verdict.

    Args:
        parts: what the finding is bound to; empty: to this candidate alone.
    """
    results = _ordered([*done.checks, _record(store, _bound(context), finding, {"bound_to": parts} if parts else {})])
    rejected = any(result.status == "fail" for result in results)
    return replace(done, checks=tuple(results), verdict=Verdict.CHANGES_REQUESTED if rejected else Verdict.APPROVED)


def recorded(context: ReviewContext, store: EvidenceStore, finding: Finding) -> CheckResult:
    """A finding of the caller's own about a candidate, with its evidence stored."""
    return _record(store, _bound(context), finding)


def _bound(context: ReviewContext) -> dict[str, Any]:
    """What every piece of evidence is about."""
    return {
        "feature": context.feature, "wp": context.wp.id, "candidate": context.candidate, "head": context.head,
        "base": context.base, "reviewer": reviewer(), "definitions": context.definitions.key(),
        "isolation": context.walls.level if context.walls else None,
        "tree": tree_of(context.control, context.candidate),
        **({"batch": _batch(context, context.batch)} if context.batch else {}),
    }  # fmt: skip


def _batch(context: ReviewContext, batch: Batch) -> dict[str, Any]:
    return {**asdict(batch), "tree": tree_of(context.control, batch.tip)}


def _reports(store: EvidenceStore, ran: Ran) -> dict[str, str]:
    raw = {"report": ran.raw_report, "coverage_report": ran.coverage}
    return {name: store.put(data) for name, data in raw.items() if data is not None}


def _record(
    store: EvidenceStore, bound: Mapping[str, Any], finding: Finding, reports: Mapping[str, Any] | None = None
) -> CheckResult:
    document = {
        **bound, **(reports or {}), "group": finding.group, "name": finding.name, "status": finding.status,
        "detail": finding.detail, "data": finding.data,
    }  # fmt: skip
    return CheckResult(
        finding.group, one_line(finding.name, 200), finding.status, one_line(finding.detail), store.put_json(document)
    )


def _ordered(results: Sequence[CheckResult]) -> list[CheckResult]:
    """By group, in the review's order; within a group as they came."""
    place = {group: number for number, group in enumerate(GROUPS)}
    return sorted(results, key=lambda result: place.get(result.group, len(GROUPS)))
