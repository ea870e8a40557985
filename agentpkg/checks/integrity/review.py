"""The whole look at a candidate's tests: what is odd about the change, what is tried, what comes of it."""

from collections.abc import Sequence
from dataclasses import replace

from agentpkg.checks import changes as lines_of
from agentpkg.checks.base import CheckSpec, Finding, ReviewContext
from agentpkg.checks.command import Bench, Ran
from agentpkg.checks.integrity import (
    answers,
    change,
    detection,
    judgement,
    mutants,
    probes,
    roles,
    running,
    surroundings,
    tests,
)
from agentpkg.checks.integrity.change import FileChange
from agentpkg.checks.integrity.failures import Looked
from agentpkg.checks.integrity.judgement import Tried
from agentpkg.checks.integrity.mutants import Mutant
from agentpkg.checks.integrity.oddity import Oddity
from agentpkg.checks.integrity.probes import Attempt, Budget, Lab
from agentpkg.checks.integrity.tests import Tests

#: mutants tried while no test notices one, as a multiple of those that are tried anyway
_INSIST = 3


def check(
    bench: Bench, looked: Looked, changed: Sequence[FileChange], parallel: int, budget: Budget
) -> list[Finding]:  # fmt: skip
    """Looks into the tests of a candidate.

    Args:
        looked: the command checks, as they ended on the candidate.
        changed: what the package changes.
        budget: the time that may be spent on trying.

    Raises:
        Interrupted: the review was stopped.
    """
    context = bench.context
    known = tests.read(changed)
    found = _odd(bench, known, changed, [one.spec.run for one in looked.ran])
    lab = _lab(bench, looked, parallel, budget)
    tried = _try(lab, context, changed, known, found) if lab else Tried()
    tried = replace(tried, old_scripts=_try_scripts(bench, looked, changed, found, budget))
    found += _try_failing(lab, changed) if lab else []
    return judgement.findings(found, known, tried, context.definitions.integrity)


def at_sight(bench: Bench, changed: Sequence[FileChange], commands: Sequence[str]) -> list[Finding]:
    """What the sources alone say: as :func:`check` before anything is tried, which may settle what is doubtful."""
    known = tests.read(changed)
    found = _odd(bench, known, changed, commands)
    return judgement.findings(found, known, Tried(), bench.context.definitions.integrity)


def _odd(bench: Bench, known: Tests, changed: Sequence[FileChange], commands: Sequence[str]) -> list[Oddity]:
    plan = change.intent(bench.context)
    from_target = {override.path for override in bench.overrides}
    return [
        *tests.odd(known, changed, plan), *detection.odd(changed, plan), *answers.odd(changed, plan),
        *running.odd(changed, plan, from_target),
        *surroundings.odd(
            [one for one in changed if one.path not in from_target], plan, commands, bench.context.wp.acceptance
        ),
    ]  # fmt: skip


def _lab(bench: Bench, looked: Looked, parallel: int, budget: Budget) -> Lab | None:
    """Where probes run; None where no command runs tests, or one has failed already."""
    specs = _testing(bench.context, looked.ran)
    if not specs or _failed(looked):
        return None
    return Lab(bench, specs, budget, parallel, _usual(looked), looked.excused)


def _failed(looked: Looked) -> bool:
    return any(one.finding.status == "fail" for one in looked.ran)


def _usual(looked: Looked) -> float:
    return max(one.milliseconds for one in looked.ran) / 1000


def _try_scripts(
    bench: Bench, looked: Looked, changed: Sequence[FileChange], found: Sequence[Oddity], budget: Budget
) -> Attempt | None:
    """The checks that run a doubtful script, with the target's version of it."""
    doubted = {one.path for one in found if one.what == surroundings.SCRIPT and one.weight == "doubtful"}
    scripts = [one for one in changed if one.path in doubted]
    specs = [one.spec for one in looked.ran if surroundings.scripts(scripts, [one.spec.run])]
    if not specs or _failed(looked):
        return None
    lab = Lab(bench, specs, budget, 1, _usual(looked), looked.excused)
    return lab.attempt(probes.old_tests(changed, doubted), "--continue-on-collection-errors")


def _testing(context: ReviewContext, ran: Sequence[Ran]) -> list[CheckSpec]:
    """The configured commands that run tests; where there are none, the acceptance commands that do."""
    specs = [one.spec for one in ran if probes.runs_tests(one.spec)]
    configured = [spec for spec in specs if spec in context.definitions.checks]
    return configured or specs


def _try_failing(lab: Lab, changed: Sequence[FileChange]) -> list[Oddity]:
    """Whether a test that fails is still seen, where the product could say otherwise when its tests end."""
    odd, failing = surroundings.meddling(changed), probes.failing(changed)
    if not odd or lab.attempt(failing, on_target=True).passed is not False or not lab.attempt(failing).passed:
        return odd
    return [replace(one, weight="grave", why="a test that fails is not seen any more") for one in odd]


def _try(
    lab: Lab, context: ReviewContext, changed: Sequence[FileChange], known: Tests, found: Sequence[Oddity]
) -> Tried:
    rules = context.definitions.integrity
    product = [one for one in changed if roles.is_product(one.path) and probes.speaks_of(lab.specs, one.path)]
    restored = any(one.weight == "doubtful" and one.what != surroundings.SCRIPT for one in found)
    new = any(test.skip != "always" and probes.speaks_of(lab.specs, path) for path, test in known.new)
    patches = [
        (restored, probes.old_tests(changed, surroundings.scripts(changed, [spec.run for spec in lab.specs]))),
        (new and bool(product) and rules.revert_probe != "off", probes.old_code(changed)),
    ]
    options = "--continue-on-collection-errors"
    tasks = [lambda patch=patch: lab.attempt(patch, options) for wanted, patch in patches if wanted]
    answers = iter(lab.several(tasks))
    old_tests, new_tests = (next(answers) if wanted else None for wanted, _ in patches)
    noticed = _faults(lab, context, product) if product and rules.mutants != "off" else ()
    return Tried(old_tests, new_tests, tuple(noticed))


def _faults(lab: Lab, context: ReviewContext, product: Sequence[FileChange]) -> list[tuple[Mutant, bool | None]]:
    """Tries a first handful of mutants, and more while no test has noticed one."""
    count = context.definitions.integrity.mutants_tried
    paths = [one.path for one in product if one.after is not None]
    sample = mutants.sample(product, lines_of.changed_lines(context, paths), count * _INSIST, "agentpkg")
    noticed: list[tuple[Mutant, bool | None]] = []
    for first in range(0, len(sample), max(count, 1)):
        part = sample[first : first + count]
        tasks = [
            lambda mutant=mutant: lab.attempt(probes.fault(mutant), "" if lab.excused else "-x") for mutant in part
        ]
        said = [None if done.passed is None else not done.passed for done in lab.several(tasks)]
        noticed += zip(part, said, strict=True)
        if any(said) or lab.budget.left <= 0:
            break
    return noticed
