"""Files become packages of the ledger."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agentpkg.core import states
from agentpkg.core.model import Feature, FeatureState, State, WorkPackage
from agentpkg.core.records import FeatureRow, PackageRow
from agentpkg.engine.transition.door import SYSTEM, emit_feature, follow
from agentpkg.ledger.ledger import Transaction


def register(tx: Transaction, feature: Feature, target: str) -> None:
    """Registers a feature and its packages, or takes over what its files changed (titles, dependencies).

    Args:
        feature: read without problems.
        target: the branch its packages merge into.
    """
    known = tx.feature(feature.id)
    if known is None:
        tx.put_feature(FeatureRow(feature.id, feature.title, FeatureState.PLANNED, target))
        said = {"title": feature.title}
        entry = tx.append(feature.id, None, FeatureState.CREATED, FeatureState.PLANNED, SYSTEM, said)
        emit_feature(tx, feature.id, FeatureState.CREATED, FeatureState.PLANNED, SYSTEM, entry)
    elif (known.title, known.target) != (feature.title, target):
        tx.put_feature(replace(known, title=feature.title, target=target))
    rows = {row.wp: row for row in tx.packages(feature.id)}
    for package in feature.packages.values():
        row = rows.get(package.id)
        if row is None:
            _register_package(tx, feature.id, package)
        elif (row.title, row.dependencies) != (package.title, package.dependencies):
            tx.put_package(replace(row, title=package.title, dependencies=package.dependencies))
    if any(package.id not in rows for package in feature.packages.values()):
        follow(tx, feature.id, SYSTEM)


def register_fix(tx: Transaction, feature: str, wp: str, title: str, said: Mapping[str, Any]) -> None:
    """Registers a package that nobody wrote a file for: work that is to get a failed check passed.

    Args:
        said: the metadata of its entry: ``stage text cycle commit``.
    """
    entry = tx.append(feature, wp, states.NONE, State.PLANNED, SYSTEM, {"kind": "fix", "title": title, **said})
    tx.put_package(PackageRow(feature, wp, title, State.PLANNED))
    told = {"stage": said.get("stage"), "wp_id": wp, "cycle": said.get("cycle"), "commit": said.get("commit")}
    tx.emit(f"feature.{feature}.stage.fix", told, entry=entry)
    follow(tx, feature, SYSTEM)


def _register_package(tx: Transaction, feature: str, package: WorkPackage) -> None:
    row = PackageRow(feature, package.id, package.title, State.PLANNED, package.dependencies)
    said = {"path": package.path, "wp_sha256": package.digest}
    tx.append(feature, package.id, states.NONE, State.PLANNED, SYSTEM, said)
    tx.put_package(row)
    if package.lane is not State.PLANNED:
        entry = tx.append(feature, package.id, State.PLANNED, package.lane, SYSTEM, {"kind": "adopted"})
        tx.put_package(replace(row, state=package.lane, finished_at=entry.timestamp))
