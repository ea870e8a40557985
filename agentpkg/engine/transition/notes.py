"""What is recorded about a feature without a change of its state: an entry with a kind, and an event.

Such an entry is always the feature's and goes from its state to the same state; one about a package names it in its
metadata, so that a package's own entries are its transitions and reviews alone. Kinds and what they carry are told in
``docs/audit.md``; what holds now is what the newest entry of a kind says.
"""

from collections.abc import Mapping
from typing import Any

from agentpkg.core.records import Entry
from agentpkg.ledger.ledger import Transaction


def note(
    tx: Transaction, feature: str, kind: str, actor: str, said: Mapping[str, Any], *, wp: str | None = None
) -> Entry:  # fmt: skip
    """Records something about a registered feature, or about one of its packages.

    Args:
        kind: what it is; with ``_`` as ``.`` also the end of the event's subject.
        said: the entry's metadata beside its kind; flat values go into the event as well.
    """
    row = tx.feature(feature)
    assert row is not None
    about = {"kind": kind, **({"wp": wp} if wp else {}), **said}
    entry = tx.append(feature, None, row.state, row.state, actor, about)
    flat = {key: value for key, value in said.items() if not isinstance(value, list | dict | tuple)}
    where = f"feature.{feature}.wp.{wp}" if wp else f"feature.{feature}"
    tx.emit(f"{where}.{kind.replace('_', '.')}", {"actor": actor, **flat}, entry=entry)
    return entry
