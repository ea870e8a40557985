"""What was found of a package's candidates, to be taken again by content, also where there was no verdict in the end.

A reviewing agent may say nothing (its model's provider refuses, its time is over), and a batch may fall apart when
agents have approved a part of it. What checks and agents had found by then is noted in the ledger, so that nobody waits
for it, or pays for it, twice.
"""

from collections.abc import Iterable

from agentpkg.checks import reuse
from agentpkg.core.records import CheckResult, PackageRow
from agentpkg.engine import transition
from agentpkg.engine.judging import frozen
from agentpkg.engine.project import Project

#: the kind of the ledger's notes about it
KIND = "proven"

#: reviews, and notes, whose results may be taken again
_RECENT = 10

_PASSED = ("pass", "warn")


def known(project: Project, row: PackageRow) -> reuse.Known:
    """What the package's last reviews found, and what was found for reviews that came to nothing."""
    reviews = project.ledger.reviews(row.feature, row.wp)[-_RECENT:]
    notes = [note for note in project.ledger.noted(row.feature, KIND) if note.metadata.get("wp") == row.wp]
    told = [CheckResult(detail="", **said) for note in reversed(notes[-_RECENT:]) for said in note.metadata["checks"]]
    return reuse.Known([*told, *(one for review in reversed(reviews) for one in review.checks)], frozen.store(project))


def keep(project: Project, row: PackageRow, candidate: str, results: Iterable[CheckResult]) -> None:
    """Notes what was found of a candidate that gets no verdict now: what passed, and is not on record already."""
    new = [
        {"group": one.group, "name": one.name, "status": one.status, "evidence": one.evidence}
        for one in results
        if one.status in _PASSED and _is_new(project, one)
    ]
    if not new:
        return
    with project.ledger.write() as tx:
        transition.note(tx, row.feature, KIND, transition.REVIEWER, {"candidate": candidate, "checks": new}, wp=row.wp)
    project.poke()


def _is_new(project: Project, result: CheckResult) -> bool:
    """Somebody looked at something that it is bound to, for this review and no earlier one."""
    document = reuse.read(frozen.store(project), result.evidence)
    return bool(document.get("bound_to")) and "reused" not in (document.get("data") or {})
