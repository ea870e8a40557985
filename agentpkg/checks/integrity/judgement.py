"""From what is odd, and what was tried, to findings of the review."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agentpkg.checks.base import TEST_QUALITY, Finding, named
from agentpkg.checks.integrity import oddity, roles
from agentpkg.checks.integrity.mutants import Mutant
from agentpkg.checks.integrity.oddity import KINDS, Oddity
from agentpkg.checks.integrity.probes import Attempt, outcome
from agentpkg.checks.integrity.surroundings import SCRIPT
from agentpkg.checks.integrity.tests import Tests
from agentpkg.config.settings import Integrity
from agentpkg.core.records import CheckStatus

#: so many mutants that nothing notices are no accident
_FEW = 2
#: one noticed among so many that were not says no more than none
_SELDOM = 5
_SHOWN = 50
#: the finding that sums up
SUMMARY = "integrity"
#: what is odd about all tests, not about one
_OF_RUNS = (oddity.RUNNING, oddity.IMPORTS)


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of the probes; None and empty where nothing was tried.

    Attributes:
        old_tests: the target's tests on the candidate's code.
        new_tests: the candidate's tests on the target's code.
        mutants: each with whether a test noticed it; None: it could not be said.
        old_scripts: the target's scripts, with its tests, on the candidate's code.
    """

    old_tests: Attempt | None = None
    new_tests: Attempt | None = None
    mutants: tuple[tuple[Mutant, bool | None], ...] = ()
    old_scripts: Attempt | None = None

    @property
    def killed(self) -> int:
        """Mutants that a test noticed."""
        return sum(noticed is True for _, noticed in self.mutants)

    @property
    def survived(self) -> list[Mutant]:
        """Mutants that none did."""
        return [mutant for mutant, noticed in self.mutants if noticed is False]


def findings(found: Sequence[Oddity], tests: Tests, tried: Tried, rules: Integrity) -> list[Finding]:
    """A finding for each kind of oddity, and one that sums up."""
    every = [*(_settled(one, tried) for one in found), *_revert(tests, tried), *_mutants(tests, tried)]
    told = [_finding(kind, [one for one in every if one.kind == kind], rules) for kind in KINDS]
    kept = [one for one in told if one is not None]
    return [*kept, _summary(tests, tried, kept)]


def _settled(one: Oddity, tried: Tried) -> Oddity:
    """A doubtful thing is harmless when the old test passes on the new code, and grave when it fails."""
    if one.what == SCRIPT:
        return _settled_script(one, tried.old_scripts)
    if one.weight != "doubtful" or tried.old_tests is None or tried.old_tests.passed is None:
        return one
    told = outcome(tried.old_tests.cases, one.path, one.what.partition(":")[0])
    of_one = one.kind not in _OF_RUNS and roles.is_code(one.path)
    if told is None and tried.old_tests.cases and tried.old_tests.passed and of_one:
        # the tests that ran are others, perhaps in another language
        return one
    if told == "passed" or (told is None and tried.old_tests.passed):
        return replace(one, weight="odd", why=_and(one.why, "the target's tests pass on the new code"))
    return replace(one, weight="grave", why=_and(one.why, "the target's test fails on the new code"))


def _settled_script(one: Oddity, old: Attempt | None) -> Oddity:
    """What tests say is nothing to a check that runs something else."""
    if one.weight != "doubtful" or old is None or old.passed is None:
        return one
    if old.passed:
        return replace(one, weight="odd", why=_and(one.why, "the target's passes on the new code"))
    return replace(one, weight="grave", why=_and(one.why, "the target's fails on the new code"))


def _and(why: str, more: str) -> str:
    return f"{why}; {more}" if why else more


def _revert(tests: Tests, tried: Tried) -> Iterator[Oddity]:
    """New tests that pass without the change test something else than it."""
    attempt = tried.new_tests
    new = [(path, test) for path, test in tests.new if test.skip != "always"]
    if attempt is None or attempt.passed is None or not new:
        return
    # without a report the exit code speaks for all
    whole = attempt.passed and not attempt.cases
    passing = [(p, t) for p, t in new if whole or outcome(attempt.cases, p, t.name) == "passed"]
    # where a mutant is noticed, there are tests of the change after all
    alone = len(passing) == len(new) and not tests.changed and not tried.killed
    for path, test in passing:
        yield Oddity(
            oddity.REVERT, path, test.line, test.name, "it passes without the change", "grave" if alone else "odd"
        )


def _mutants(tests: Tests, tried: Tried) -> Iterator[Oddity]:
    survived = tried.survived
    few = len(survived) >= _FEW and bool(tests.new or tests.changed)
    # that a test notices when nothing comes back says little where none asks what does
    none = few and (tried.killed * _SELDOM <= len(survived) or tests.hollow)
    for mutant in survived:
        yield Oddity(
            oddity.MUTANTS, mutant.path, mutant.line, mutant.what, "no test notices", "grave" if none else "odd"
        )


def _finding(kind: str, found: Sequence[Oddity], rules: Integrity) -> Finding | None:
    rule = getattr(rules, kind.replace(" ", "_"))
    if not found or rule == "off":
        return None
    refuses = [one for one in found if one.weight != "odd"]
    status: CheckStatus = "fail" if refuses and rule == "refuse" else "warn"
    shown = refuses or found
    data = {
        "rule": rule, "found": [
            {"path": o.path, "line": o.line, "what": o.what, "why": o.why, "weight": o.weight} for o in found[:_SHOWN]
        ],
    }  # fmt: skip
    return Finding(TEST_QUALITY, kind, status, named([str(one) for one in shown], 3), data)


def _summary(tests: Tests, tried: Tried, kept: Sequence[Finding]) -> Finding:
    parts = [f"{len(tests.new)} new tests", f"{len(tests.changed)} changed"]
    if tried.mutants:
        known = [noticed for _, noticed in tried.mutants if noticed is not None]
        parts.append(f"{tried.killed} of {len(known)} mutants noticed")
    if tried.new_tests is not None and tried.new_tests.passed is not None:
        parts.append("new tests tried without the change")
    if tried.old_tests is not None and tried.old_tests.passed is not None:
        parts.append("old tests tried with it")
    data = {
        "old_tests": _attempt(tried.old_tests), "new_tests": _attempt(tried.new_tests),
        "findings": [{"name": o.name, "status": o.status, "detail": o.detail, "data": o.data} for o in kept],
        "mutants": [{"path": m.path, "line": m.line, "what": m.what, "noticed": k} for m, k in tried.mutants],
    }  # fmt: skip
    return Finding(TEST_QUALITY, SUMMARY, "pass", "Tests looked into: " + ", ".join(parts), data)


def _attempt(attempt: Attempt | None) -> Mapping[str, Any] | None:
    if attempt is None:
        return None
    failed = sorted(case for case, status in attempt.cases.items() if status == "failed")
    return {"passed": attempt.passed, "milliseconds": attempt.milliseconds, "failed": failed[:_SHOWN]}
