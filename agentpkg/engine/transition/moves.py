"""A person moves a package or a feature."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agentpkg.core import states
from agentpkg.core.errors import NotAllowed
from agentpkg.core.model import FeatureState, State
from agentpkg.core.records import FeatureRow, PackageRow
from agentpkg.engine.transition.door import change, emit_feature, require
from agentpkg.ledger.ledger import Transaction


def move(tx: Transaction, feature: str, wp: str, to: State, actor: str, metadata: Mapping[str, Any]) -> PackageRow:
    """A person's move to planned, for_review or cancelled (without a live session)."""
    row = require(tx, feature, wp)
    new = states.decide_move(row, to, actor)
    if metadata.get("reason"):
        new = replace(new, reason=str(metadata["reason"]))
    entry = change(tx, row, new, actor, metadata)
    if to is State.CANCELLED:
        new = replace(new, finished_at=entry.timestamp)
    tx.put_package(new)
    return new


def move_feature(
    tx: Transaction, feature: str, to: FeatureState, actor: str, metadata: Mapping[str, Any]
) -> FeatureRow:
    """A person's move of a whole feature: ``shipped`` once it is validated, or ``cancelled``."""
    row = tx.feature(feature)
    assert row is not None
    if states.actor_kind(actor) != "human":
        raise NotAllowed(f"{actor} may not move a feature", "this is for a person to do", code="not_for_this_actor")
    allowed = {FeatureState.SHIPPED: {FeatureState.VALIDATED}}
    if row.state not in allowed.get(to, set()):
        raise NotAllowed(
            f"{feature} is {row.state}; it cannot become {to} from there",
            "a feature is shipped once all its packages are done" if to is FeatureState.SHIPPED else "",
            code="illegal_transition",
        )
    entry = tx.append(feature, None, row.state, to, actor, metadata)
    tx.put_feature(replace(row, state=to))
    emit_feature(tx, feature, row.state, to, actor, entry)
    return replace(row, state=to)
