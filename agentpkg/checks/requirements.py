"""Evidence for the requirements a work package refers to: passed acceptance commands, else passed checks."""

from collections.abc import Mapping, Sequence

from agentpkg.checks.base import SPECIFICATION, Finding, ReviewContext, one_line
from agentpkg.core.model import CheckStatus


def check(
    context: ReviewContext, acceptance: Sequence[tuple[str, str]], checks: Sequence[tuple[str, str]]
) -> tuple[list[Finding], list[Mapping[str, str]]]:
    """A finding for each requirement, and the references for the audit entry.

    Args:
        acceptance: passed acceptance commands, ``(name, evidence)``.
        checks: passed checks of the configuration, the same way.
    """
    proof = acceptance or checks
    findings = [_one(context, ref, proof, bool(acceptance)) for ref in context.wp.requirement_refs]
    refs: list[Mapping[str, str]] = [
        {"fr_id": ref, "evidence_id": evidence} for ref in context.wp.requirement_refs for _, evidence in proof
    ]
    return findings, refs


def _one(context: ReviewContext, ref: str, proof: Sequence[tuple[str, str]], accepted: bool) -> Finding:
    lines = context.requirements.get(ref, "").strip().splitlines()
    about = f"{one_line(lines[0], 100)}: " if lines else ""
    data = {"requirement": ref, "evidence": [{"check": name, "evidence": e} for name, e in proof]}
    if not proof:
        status: CheckStatus = "fail" if context.definitions.requirements == "strict" else "warn"
        detail = f"{about}no evidence: no acceptance command and no check passed"
        return Finding(SPECIFICATION, ref, status, detail, data)
    kind = "acceptance command" if accepted else "check"
    return Finding(SPECIFICATION, ref, "pass", f"{about}{len(proof)} {kind}{'s' * (len(proof) > 1)} passed", data)
