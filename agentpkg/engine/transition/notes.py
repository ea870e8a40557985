"""What is recorded about a feature or package without a change of its state: an entry with a kind, and an event.

Such an entry goes from a state to the same state, as a review's does. Kinds and what they carry are told in
``docs/audit.md``; what holds now is what the newest entry of a kind says.
"""

from collections.abc import Mapping
from typing import Any

from agentpkg.core.model import Entry
from agentpkg.engine.transition.door import require
from agentpkg.ledger.ledger import Transaction


def note(tx: Transaction, feature: str, kind: str, actor: str, said: Mapping[str, Any], *, wp: str | None = None,
         event: Mapping[str, Any] | None = None) -> Entry:  # fmt: skip
    """Records something about a registered feature, or about one of its packages.

    Args:
        kind: what it is; with ``_`` as ``.`` also the end of the event's subject.
        said: the entry's metadata beside its kind; flat values go into the event as well.
        event: more for the event alone.
    """
    state: str
    if wp is not None:
        state = require(tx, feature, wp).state
    else:
        row = tx.feature(feature)
        assert row is not None
        state = row.state
    entry = tx.append(feature, wp, state, state, actor, {"kind": kind, **said})
    flat = {key: value for key, value in said.items() if not isinstance(value, list | dict | tuple)}
    where = f"feature.{feature}.wp.{wp}" if wp else f"feature.{feature}"
    tx.emit(f"{where}.{kind.replace('_', '.')}", {"actor": actor, **flat, **(event or {})}, entry=entry)
    return entry
