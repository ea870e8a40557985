"""How far the gates of a feature are: done checks and entry conditions of stages, and the feature's own done check.

What the checks found is an entry of the feature (``stage_checked``, ``stage_entered``); a stage is finished when the
newest one says so. :mod:`agentpkg.engine.dispatching.gatekeeping` runs them; this only reads, and costs the commands
that look no more than that.
"""

from collections.abc import Mapping

from agentpkg.core.errors import NotAllowed
from agentpkg.core.model import Feature
from agentpkg.core.records import Entry, PackageRow
from agentpkg.core.stages import Checked, Progress, gates
from agentpkg.engine.project import Project
from agentpkg.ledger.reading import Reader

#: kinds of entries
CHECKED, ENTERED, FIX = "stage_checked", "stage_entered", "fix"


def progress(ledger: Reader | None, feature: Feature, rows: Mapping[str, PackageRow]) -> Progress:
    """How far a feature's gates are; without a ledger, nothing has happened yet."""
    if not feature.stages and not feature.done_check:
        return Progress()
    states = {wp: package.lane for wp, package in feature.packages.items()}
    states |= {wp: row.state for wp, row in rows.items()}
    if ledger is None:
        return Progress(gates(feature, {}), states=states)
    checked = {e.metadata.get("stage"): _checked(e) for e in ledger.noted(feature.id, CHECKED)}
    entered = {str(e.metadata.get("stage")): _checked(e) for e in ledger.noted(feature.id, ENTERED)}
    return Progress(gates(feature, fixes(ledger, feature.id)), checked, entered, states)


def fixes(ledger: Reader, feature: str) -> dict[str | None, list[str]]:
    """The packages that were made to get gates passed, by stage, in order."""
    found: dict[str | None, list[str]] = {}
    for entry in ledger.noted(feature, FIX):
        if entry.wp_id is not None:
            found.setdefault(entry.metadata.get("stage"), []).append(entry.wp_id)
    return found


def require_open(project: Project, feature: Feature, wp: str) -> None:
    """Raises :class:`NotAllowed` while a package's stage waits for others, or for its entry condition."""
    if not feature.stages:
        return
    rows = {row.wp: row for row in project.ledger.packages(feature.id)}
    found = progress(project.ledger, feature, rows)
    still = found.waits_for(wp)
    if still:
        own = still == [found.stage_of(wp)]
        what = "its stage's entry condition" if own else f"{', '.join(still)} to be finished"
        raise NotAllowed(
            f"{wp} waits for {what}", f"`agentpkg run {feature.id}` does all in order", code="stage_open",
            details={"stages": still},
        )  # fmt: skip


def _checked(entry: Entry) -> Checked:
    said = entry.metadata
    tag = said.get("tag")
    return Checked(
        passed=said.get("passed") is True, commit=str(said.get("commit")), packages=tuple(said.get("packages", ())),
        commands=tuple(said.get("commands", ())), detail=str(said.get("detail", "")), tag=str(tag) if tag else None,
        evidence=tuple(said.get("evidence", ())),
    )  # fmt: skip
