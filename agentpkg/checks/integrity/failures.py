"""Failed tests once more: those that fail on the target too, and those that do not fail again, are told apart.

Only what the configuration checks is looked at again. An acceptance command says what this package is for, and a test
that the package itself brings or changes is its own: neither is excused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agentpkg.checks.base import TEST_QUALITY, Finding, ReviewContext, named
from agentpkg.checks.command import Bench, Ran
from agentpkg.checks.integrity import oddity, probes, roles
from agentpkg.checks.integrity.probes import Attempt, Budget, Lab
from agentpkg.checks.tree import Blob


@dataclass(frozen=True, slots=True)
class Again:
    """What further runs of a failed check said.

    Attributes:
        failed: tests that failed at first.
        known: those of them that fail on the target too.
        flaky: those that passed in every further run, or in one, and fail now and then on the target as well.
        reruns: the further runs; ``target`` those on the target.
        whole: the check named no failed test, and passed in every further run.
    """

    failed: frozenset[str]
    known: frozenset[str]
    flaky: frozenset[str]
    reruns: tuple[Attempt, ...]
    target: tuple[Attempt, ...]
    whole: bool = False

    @property
    def left(self) -> frozenset[str]:
        """Failures that nothing excuses."""
        return self.failed - self.known - self.flaky


@dataclass(frozen=True, slots=True)
class Looked:
    """The checks after a second look, the record of it, and the tests that may fail."""

    ran: Sequence[Ran]
    records: Sequence[Finding] = ()
    excused: frozenset[str] = frozenset()


def look_again(
    bench: Bench, ran: Sequence[Ran], before: Mapping[str, Blob], after: Mapping[str, Blob], budget: Budget,
    together: bool = False,
) -> Looked:  # fmt: skip
    """The checks with those excused that only failed as they do on the target, or not again; and the record of it.

    Args:
        together: of several packages at once: only failures that have names are looked at, as nobody is blamed yet.

    Raises:
        Interrupted: the review was stopped.
    """
    rules = bench.context.definitions.integrity
    if rules.known_failures == "off" and rules.flaky_tests == "off":
        return Looked(ran)
    touched = [path for path in before.keys() | after.keys() if before.get(path) != after.get(path)]
    # names of the modules of tests that the package brings or changes
    own = frozenset(p.rpartition("/")[2].rpartition(".")[0] for p in touched if roles.is_test(p))
    kept, records, excused = [], list[Finding](), frozenset[str]()
    for one in ran:
        if not _may_be_excused(bench.context, one) or (together and one.tests is None):
            kept.append(one)
            continue
        again = _again(bench, one, budget, own - {"conftest"})
        kept.append(_excused(one, again, rules.known_failures == "warn", rules.flaky_tests == "warn"))
        records += _records(one, again)
        excused |= again.known | again.flaky
    return Looked(kept, records, excused)


def _may_be_excused(context: ReviewContext, one: Ran) -> bool:
    ended = one.finding.status == "fail" and one.exit_code is not None
    return ended and one.spec in context.definitions.checks and probes.runs_tests(one.spec)


def _again(bench: Bench, one: Ran, budget: Budget, own: frozenset[str]) -> Again:
    rules = bench.context.definitions.integrity
    lab = Lab(bench, [one.spec], budget, usual=one.milliseconds / 1000)
    failed, reruns, target = (
        _failed(one.tests.cases) if one.tests else frozenset[str](),
        list[Attempt](),
        list[Attempt](),
    )
    for _ in range(rules.reruns):
        if failed and not _excusable(failed, own):
            break
        reruns.append(lab.attempt({}))
        # without a report the failures of the first run are not known by name: those of further runs stand for them
        failed = failed if one.tests else failed | _failed(reruns[-1].cases)
    excusable = _excusable(failed, own)
    if rules.known_failures != "off" and (excusable or not failed):
        target.append(lab.attempt({}, on_target=True))
    on_target = frozenset().union(*(_failed(run.cases) for run in target))
    passed_always = frozenset(c for c in excusable if reruns and all(run.cases.get(c) == "passed" for run in reruns))
    passed_once = frozenset(c for c in excusable if any(run.cases.get(c) == "passed" for run in reruns))
    known = frozenset(c for c in excusable if c in on_target and c not in passed_once)
    # whose a failure without a name is cannot be said where the package has tests of its own
    whole = not failed and not own and bool(reruns) and all(run.passed for run in reruns)
    return Again(failed, known, passed_always | (passed_once & on_target), tuple(reruns), tuple(target), whole)


def _excusable(failed: frozenset[str], own: frozenset[str]) -> frozenset[str]:
    """Those of the failed tests that the package neither brings nor changes."""
    return frozenset(case for case in failed if not own & set(case.replace("::", ".").split(".")))


def _failed(cases: Mapping[str, str]) -> frozenset[str]:
    return frozenset(case for case, status in cases.items() if status == "failed")


def _excused(one: Ran, again: Again, known: bool, flaky: bool) -> Ran:
    """The check with a warning for its failure, where every failed test is excused; else with the numbers."""
    detail = f"{one.finding.detail} (also on the target: {len(again.known)}; not again: {len(again.flaky)})"
    left = again.failed - (again.known if known else frozenset()) - (again.flaky if flaky else frozenset())
    if (again.failed and not left) or (again.whole and flaky):
        return replace(one, finding=replace(one.finding, status="warn", detail=detail))
    if not again.known and not again.flaky:
        same = bool(again.target) and not again.failed and again.target[0].passed is False
        detail = f"{one.finding.detail} (it fails on the target too)" if same else one.finding.detail
    return replace(one, finding=replace(one.finding, detail=detail))


def _records(one: Ran, again: Again) -> list[Finding]:
    data: Mapping[str, Any] = {
        "check": one.spec.name, "failed": sorted(again.failed), "on_target": sorted(again.known),
        "flaky": sorted(again.flaky), "left": sorted(again.left),
        "reruns": [_run(run) for run in again.reruns], "target": [_run(run) for run in again.target],
    }  # fmt: skip
    told = []
    if again.known:
        told.append((oddity.BASELINE, f"{named(sorted(again.known), 3)} fail on the target too"))
    if again.flaky or again.whole:
        told.append((oddity.FLAKY, f"{named(sorted(again.flaky) or [one.spec.name], 3)} did not fail again"))
    return [Finding(TEST_QUALITY, kind, "warn", detail, data) for kind, detail in told]


def _run(run: Attempt) -> Mapping[str, Any]:
    return {"passed": run.passed, "milliseconds": run.milliseconds, "failed": sorted(_failed(run.cases))[:50]}
