"""What has landed, as its entry in the chain tells it."""

from agentpkg.core.records import PackageRow
from agentpkg.engine.project import Project


def landed_on(project: Project, row: PackageRow) -> str | None:
    """The target's tip right before a package landed; None where its ``done`` entry does not say."""
    base = None
    for entry in project.ledger.entries(row.feature, wp=row.wp):
        if entry.transition.endswith("->done"):
            base = entry.metadata.get("base")
    return str(base) if base else None
