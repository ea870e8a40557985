"""Evidence for the requirements a work package refers to: tests and commands that name them, else all that passed.

A test names a requirement in its own name (``test_fr1_login``), its docstring, a mark or another text in it; an
acceptance command does in its command line. Passed acceptance commands, else passed checks, are evidence for all
requirements of the package.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from agentpkg.checks.base import SPECIFICATION, Finding, ReviewContext, named, one_line
from agentpkg.checks.command import Ran
from agentpkg.checks.integrity import probes, tests
from agentpkg.checks.integrity.change import FileChange
from agentpkg.core.records import CheckResult, CheckStatus

#: a command check with its recorded result
Recorded = tuple[Ran, CheckResult]

_REFERENCE = re.compile(r"([A-Za-z]+)[-_ ]?0*(\d+)")


@dataclass(frozen=True, slots=True)
class Named:
    """A test that names a requirement.

    Attributes:
        outcome: what a report says of it, None where none does.
        evidence: of the check that it ran in.
    """

    path: str
    name: str
    outcome: str | None
    evidence: str | None


def check(
    context: ReviewContext, acceptance: Sequence[Recorded], checks: Sequence[Recorded], changes: Sequence[FileChange]
) -> tuple[list[Finding], list[Mapping[str, str]]]:
    """A finding for each requirement, and the references for the audit entry.

    Args:
        acceptance: the acceptance commands; ``checks`` those of the configuration.
        changes: what the package changes: its tests are looked for there.
    """
    passed = [(r.name, r.evidence) for _, r in acceptance if r.status == "pass" and r.evidence]
    general = passed or [(r.name, r.evidence) for _, r in checks if r.status == "pass" and r.evidence]
    findings: list[Finding] = []
    refs: list[Mapping[str, str]] = []
    for ref in context.wp.requirement_refs:
        tested = list(_tests(ref, changes, [*acceptance, *checks]))
        own = [(name, evidence) for name, evidence in passed if naming(ref).search(name)]
        finding, proof = _one(context, ref, tested, own, general, bool(passed))
        findings.append(finding)
        refs += [{"fr_id": ref, "evidence_id": evidence} for evidence in proof]
    return findings, refs


def naming(ref: str) -> re.Pattern[str]:
    """What a requirement's reference looks like in a text: ``FR-1``, ``FR_001``, ``fr1``; never ``FR-12``."""
    parts = _REFERENCE.fullmatch(ref)
    text = rf"{parts[1]}[-_ ]?0*{parts[2]}" if parts else re.escape(ref)
    return re.compile(rf"(?<![A-Za-z0-9]){text}(?![0-9])", re.IGNORECASE)


def _tests(ref: str, changes: Sequence[FileChange], commands: Sequence[Recorded]) -> Iterator[Named]:
    wanted = naming(ref)
    for change in changes:
        for test in tests.of(change.path, change.after).values():
            if wanted.search(f"{test.name} {' '.join(sorted(test.literals))}"):
                yield _named(change.path, test.name, commands)


def _named(path: str, name: str, commands: Sequence[Recorded]) -> Named:
    for ran, result in commands:
        outcome = probes.outcome(ran.tests.cases, path, name) if ran.tests else None
        if outcome is not None:
            return Named(path, name, outcome, result.evidence)
    return Named(path, name, None, None)


def _one(
    context: ReviewContext, ref: str, tested: Sequence[Named], own: Sequence[tuple[str, str]],
    general: Sequence[tuple[str, str]], accepted: bool,
) -> tuple[Finding, list[str]]:  # fmt: skip
    """The finding about one requirement, and the ids of its evidence, each once."""
    lines = context.requirements.get(ref, "").strip().splitlines()
    about = f"{one_line(lines[0], 100)}: " if lines else ""
    passed = [test for test in tested if test.outcome == "passed"]
    proof = list(
        dict.fromkeys([*(t.evidence for t in passed if t.evidence), *(e for _, e in own), *(e for _, e in general)])
    )
    kind = "tests" if passed else "acceptance" if accepted else "checks" if general else None
    data = {
        "requirement": ref, "kind": kind, "evidence": [{"check": name, "evidence": e} for name, e in general],
        "tests": [{"path": t.path, "name": t.name, "outcome": t.outcome, "evidence": t.evidence} for t in tested],
    }  # fmt: skip
    if not proof:
        status: CheckStatus = "fail" if context.definitions.requirements == "strict" else "warn"
        detail = f"{about}no evidence: no acceptance command and no check passed"
        return Finding(SPECIFICATION, ref, status, detail, data), []
    unrun = [test.name for test in tested if test.outcome == "skipped"]
    status = "warn" if unrun and not passed else "pass"
    said = [_counted(len(passed), "test") + " of its own"] if passed else []
    said += [_counted(len(general), "acceptance command" if accepted else "check")]
    skipped = f"; did not run: {named(unrun, 3)}" if unrun else ""
    return Finding(SPECIFICATION, ref, status, f"{about}{' and '.join(said)} passed{skipped}", data), proof


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count > 1)}"
