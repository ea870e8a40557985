"""An exported chain, from wherever it comes: its lines as entries, and what its end lacks by what git holds."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace

from agentpkg.core import chain
from agentpkg.core.records import Entry
from agentpkg.ledger.audit import AuditReport

_TYPES = {
    "id": int, "feature_id": str, "wp_id": str | None, "timestamp": str, "actor": str, "transition": str,
    "evidence_refs": list, "metadata": dict, "prev_hash": str, "hash": str,
}  # fmt: skip


def by_feature(lines: Iterable[str]) -> dict[str, list[str]]:
    """The lines of an export, by the feature that each says it is of; what cannot be read is of the one before it."""
    found: dict[str, list[str]] = {}
    last = ""
    for line in lines:
        if line:
            last = _feature(line) or last
            found.setdefault(last, []).append(line)
    return found


def _feature(line: str) -> str | None:
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return None
    name = said.get("feature_id") if isinstance(said, dict) else None
    return name if isinstance(name, str) else None


def entry(line: str, number: int) -> Entry | None:
    """A line as an entry; None for one that nobody could have exported.

    Args:
        number: its place in the file, which stands for the ledger-wide number.
    """
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or set(said) != set(chain.FIELDS):
        return None
    if not all(isinstance(said[key], kind) for key, kind in _TYPES.items()) or isinstance(said["id"], bool):
        return None
    return Entry(seq=number, **{**said, "evidence_refs": tuple(said["evidence_refs"])})


def complete(report: AuditReport, entries: Sequence[Entry], landed: Sequence[tuple[str, str, str]]) -> AuditReport:
    """The report, not ok where a commit that landed for the chain's own sessions is not recorded in it.

    Args:
        landed: ids, sessions and ``Audit-Hash`` of commits on the target.
    """
    if not report.ok:
        return report
    sessions = {said for one in entries for said in (one.metadata.get("session"), one.metadata.get("job_id")) if said}
    recorded = {one.metadata.get("merge_commit") for one in entries}
    for commit, session, _ in landed:
        if session in sessions and commit not in recorded:
            number = len(entries) + 1
            why = f"entry {number} is missing: {commit[:12]} has landed, and no entry says so"
            return replace(report, ok=False, first_bad=number, reason=why)
    return report
