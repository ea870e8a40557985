"""What every transition ends in: chain entry, current row and event together, and the feature's state after it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from agentpkg.core import states
from agentpkg.core.errors import NotAllowed
from agentpkg.core.model import State
from agentpkg.core.records import Entry, PackageRow
from agentpkg.engine.transition.queue import withdraw
from agentpkg.ledger.ledger import Transaction

#: who registers files and ends what no agent ended
SYSTEM = "system:agentpkg"
REVIEWER = "ci:automation"


def require(tx: Transaction, feature: str, wp: str) -> PackageRow:
    """The package's row. Raises :class:`NotAllowed` when it is not registered."""
    row = tx.package(feature, wp)
    if row is None:
        raise NotAllowed(f"{feature} {wp} is not registered", "check its file with `agentpkg status`")
    return row


def open_dependencies(tx: Transaction, row: PackageRow) -> list[str]:
    """Dependencies that are not done, as the file names them."""
    still = []
    for name in row.dependencies:
        feature, _, wp = name.rpartition("/")
        found = tx.package(feature or row.feature, wp)
        if found is None or found.state is not State.DONE:
            still.append(name)
    return still


def change(
    tx: Transaction, old: PackageRow, new: PackageRow, actor: str, metadata: Mapping[str, Any],
    evidence: Sequence[Mapping[str, str]] = (), before: Callable[[Entry], None] = lambda entry: None,
) -> Entry:  # fmt: skip
    """Writes one transition: the chain entry, the package's row, and an event where the lane is another one.

    Args:
        before: called with the entry before its event is told, for events that come first.
    """
    entry = tx.append(old.feature, old.wp, old.state, new.state, actor, metadata, evidence)
    tx.put_package(new)
    before(entry)
    withdraw(tx, new, entry)
    if old.state is not new.state:
        tx.emit(
            f"feature.{old.feature}.wp.{old.wp}.state.changed",
            {"from": old.state, "to": new.state, "actor": actor, "job_id": new.session},
            entry=entry,
        )
    follow(tx, old.feature, actor)
    return entry


def follow(tx: Transaction, feature: str, actor: str) -> None:
    """Lets the feature's state follow its packages'."""
    row = tx.feature(feature)
    assert row is not None
    new = states.feature_state(row.state, [p.state for p in tx.packages(feature)])
    if new is not row.state:
        entry = tx.append(feature, None, row.state, new, actor, {})
        tx.put_feature(replace(row, state=new))
        emit_feature(tx, feature, row.state, new, actor, entry)


def emit_feature(tx: Transaction, feature: str, frm: str, to: str, actor: str, entry: Entry) -> None:
    """Tells of a feature's transition."""
    tx.emit(f"feature.{feature}.state.changed", {"from": frm, "to": to, "actor": actor}, entry=entry)
