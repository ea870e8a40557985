"""What a dispatch froze: the bytes of the work package file, spec and constitution, kept by content hash.

The review judges by these, not by what the files say by then; the ledger's dispatch entry names them.
"""

from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256

from agentpkg.checks.evidence import EvidenceStore
from agentpkg.config import load_constitution
from agentpkg.core.errors import NotAllowed
from agentpkg.core.model import Feature, WorkPackage
from agentpkg.core.records import Entry, PackageRow
from agentpkg.engine.project import Project
from agentpkg.engine.supervising.plan import config_digest
from agentpkg.features.parse import parse_work_package

#: metadata keys of a dispatch entry that name frozen bytes
_KEYS = ("wp_sha256", "spec_sha256", "constitution_sha256")


def store(project: Project) -> EvidenceStore:
    """The repository's evidence store."""
    return EvidenceStore(project.state / "evidence")


def freeze(project: Project, feature: Feature, package: WorkPackage) -> dict[str, str]:
    """Keeps what defines a package's work; gives the hashes for the dispatch entry.

    The ``config_sha256`` among them is only compared, so that a change while a session runs is seen.
    """
    keep = store(project)
    said = {"config_sha256": config_digest(project.work_tree, project.loaded.digest)}
    for key, path in (("wp_sha256", package.path), ("spec_sha256", f"{feature.path}/spec.md")):
        file = project.work_tree / path
        if file.is_file():
            said[key] = keep.put(file.read_bytes()).removeprefix("sha256:")
    constitution = load_constitution(project.work_tree)
    if constitution is not None:
        said["constitution_sha256"] = keep.put(constitution.text.encode()).removeprefix("sha256:")
    return said


def dispatch_entry(project: Project, row: PackageRow) -> Entry | None:
    """The newest entry of the package that started a session."""
    found = None
    for entry in project.ledger.entries(row.feature, wp=row.wp):
        if entry.transition.endswith("->doing"):
            found = entry
    return found


def digests(project: Project, row: PackageRow) -> Mapping[str, str]:
    """The hashes that the package's newest dispatch froze, by name, and that of the rules for conflicts, if any."""
    entry = dispatch_entry(project, row)
    metadata = entry.metadata if entry else {}
    merge = project.settings.merge
    said = "\0".join([*merge.union, *(f"{rule.path}\0{rule.run}" for rule in merge.regenerate)])
    rules = {"conflict_rules": sha256(said.encode()).hexdigest()} if said else {}
    return {key: str(metadata[key]) for key in _KEYS if key in metadata} | rules


def config_changed(project: Project, row: PackageRow) -> bool:
    """The configuration changed while the package's newest session ran.

    A session whose end says nothing of it (it could not be concluded as usual) is measured against today's.
    """
    before, after = None, None
    for entry in project.ledger.entries(row.feature, wp=row.wp):
        if entry.transition.endswith("->doing"):
            before, after = entry.metadata.get("config_sha256"), None
        elif ":doing->" in entry.transition:
            after = entry.metadata.get("config_sha256")
    return before is not None and before != (after or config_digest(project.work_tree))


def work_package(project: Project, row: PackageRow) -> WorkPackage:
    """The package as its newest dispatch froze it; as its file says where no session ever ran.

    Raises:
        NotAllowed: the frozen bytes are gone and the file is another one by now.
    """
    feature = project.read(row.feature)
    current = feature.packages.get(row.wp)
    digest = digests(project, row).get("wp_sha256")
    if current is not None and digest in (None, current.digest):
        return current
    data = store(project).get(f"sha256:{digest}") if digest else None
    if data is None:
        raise NotAllowed(
            f"what {row.wp} was dispatched with is gone",
            f"start anew: `agentpkg move {row.feature} {row.wp} --to planned`",
            code="definitions_gone",
        )
    parsed = parse_work_package(
        data, current.path if current else f"{row.wp}.md", row.feature, feature.lenient, project.agents
    )
    if parsed.package is None:
        raise NotAllowed(f"what {row.wp} was dispatched with cannot be read", "start it anew", code="definitions_gone")
    return replace(parsed.package, digest=digest or "")
