"""What a review tells beside its checks: the walls there were, and conflicts that a rule has resolved."""

from agentpkg.checks.base import GOVERNANCE, Finding, named
from agentpkg.core.records import PackageRow
from agentpkg.engine.project import Project
from agentpkg.git import candidate


def on(project: Project, row: PackageRow, made: candidate.Candidate, level: str) -> list[Finding]:
    """The remarks on a candidate whose commands ran at this level."""
    return [_isolation(project, row, level), *_united(made), *_carried(made)]


def _isolation(project: Project, row: PackageRow, level: str) -> Finding:
    """What stood between the work, and its checks, and the rest of the machine."""
    session = project.ledger.session(row.session) if row.session else None
    made = session.isolation if session is not None else None
    detail = f"made at level {made or 'unknown'}, checked at {level}"
    return Finding(GOVERNANCE, "isolation", "pass", detail, {"session": made, "checks": level})


def _carried(made: candidate.Candidate) -> list[Finding]:
    """What the branch has of packages that landed in other commits."""
    if not made.carried:
        return []
    detail = f"the target has the work of {named(list(made.carried))} in other commits: it is not brought again"
    return [Finding("merge", "carried over", "pass", detail, {"carried": list(made.carried)})]


def _united(made: candidate.Candidate) -> list[Finding]:
    """The conflicts that a rule of the configuration has resolved."""
    both = f"lines added by both sides are kept in {named(list(made.united))} (merge.union)" if made.united else ""
    anew = f"{named(list(made.renewed))} was made anew (merge.regenerate)" if made.renewed else ""
    if not both and not anew:
        return []
    data = {"united": list(made.united), "renewed": list(made.renewed)}
    return [Finding("merge", "resolved by rule", "warn", "; ".join(filter(None, [both, anew])), data)]
