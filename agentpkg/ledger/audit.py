"""The audit of one feature's chain against what git holds of it.

A chain alone shows edits, deletions, insertions and reordering, but not that its end was cut off, nor that all of it
was written anew. For those it is compared with what lies elsewhere: the head that the ledger recorded, the copy of the
chain in ``refs/agentpkg/audit/``, and the ``Audit-Hash`` trailers of landed commits. Pure: the caller reads git.
"""

import json
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from agentpkg.core import chain
from agentpkg.core.chain import Broken
from agentpkg.core.records import Entry

#: gives the ``Audit-Hash`` trailer of a commit, None when it has none
Trailer = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class AuditReport:
    """The document of ``events audit-verify``.

    Attributes:
        ok: whether nothing is wrong.
        entries: how many entries the ledger holds.
        head: the hash of the newest one, None when there is none.
        first_bad: the id of the first bad entry; of a missing one, the id it should have.
        reason: what is wrong with it.
        signed: of the anchor in git: up to which entry it is signed, whether the signature is good, and by whom; None
            where nothing is signed.
    """

    ok: bool
    entries: int
    head: str | None
    first_bad: int | None
    reason: str | None
    signed: Mapping[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        """The same as plain data; ``signed`` only where something is."""
        found = asdict(self)
        return found if self.signed is not None else {key: found[key] for key in found if key != "signed"}


def verify(
    entries: Iterable[Entry],
    anchor_lines: Iterable[str | Mapping[str, Any]] | None,
    trailers: Trailer | Mapping[str, str | None],
    on_target: Container[str],
    *,
    recorded: tuple[int, str] | None = None,
    landed: Mapping[str, str] | None = None,
) -> AuditReport:
    """Audits one feature's chain and names its first bad entry.

    What others add meanwhile must not look like damage: read the anchor first, then entries and recorded head in one
    snapshot, then the target.

    Args:
        entries: the chain, in order of ids.
        anchor_lines: the chain as git holds it, as exported lines or as data; None when there is no anchor.
        trailers: commit to its ``Audit-Hash``.
        on_target: the commits of the target.
        recorded: what :meth:`Ledger.head` says.
        landed: commits on the target that this ledger's sessions landed, with their ``Audit-Hash``.
    """
    known = list(entries)
    found = [
        *_of_itself(known, anchor_lines or (), recorded),
        *_trailers(known, trailers.get if isinstance(trailers, Mapping) else trailers, on_target),
        *_landed(known, landed or {}),
    ]
    first = min(found, key=lambda broken: broken.id, default=None)
    return AuditReport(
        ok=first is None,
        entries=len(known),
        head=known[-1].hash if known else None,
        first_bad=first.id if first else None,
        reason=first.reason if first else None,
    )


def first_bad(
    entries: Sequence[Entry], anchor_lines: Iterable[str | Mapping[str, Any]], recorded: tuple[int, str] | None
) -> Broken | None:
    """The first entry that is bad by the chain itself, its anchor and its recorded head; commits are not asked."""
    return min(_of_itself(entries, anchor_lines, recorded), key=lambda broken: broken.id, default=None)


def _of_itself(
    entries: Sequence[Entry], anchor_lines: Iterable[str | Mapping[str, Any]], recorded: tuple[int, str] | None
) -> list[Broken]:
    lines = [chain.as_dict(entry) for entry in entries]
    return [*_order(entries), *_chain(lines), *_anchor(lines, anchor_lines), *_recorded(entries, recorded)]


def _chain(lines: Sequence[Mapping[str, Any]]) -> Iterator[Broken]:
    broken = chain.verify(lines).broken
    if broken:
        yield broken


def _order(entries: Sequence[Entry]) -> Iterator[Broken]:
    """Entries are appended, so the ledger-wide number must grow along each chain."""
    for number, (before, entry) in enumerate(pairwise(entries), start=2):
        if entry.seq <= before.seq:
            yield Broken(number, f"entry {number} was moved: it is older than the one before it")
            return


def _anchor(lines: Sequence[Mapping[str, Any]], anchor: Iterable[str | Mapping[str, Any]]) -> Iterator[Broken]:
    """The anchor must be the beginning of the chain: a chain that continues it is good."""
    for number, anchored in enumerate(anchor, start=1):
        if number > len(lines):
            yield Broken(number, f"entry {number} is missing: the audit ref in git has it")
            return
        data = _data(anchored)
        if data is None or data != _data(lines[number - 1]):
            yield Broken(number, f"entry {number} is not the one that the audit ref in git has")
            return


def _data(line: str | Mapping[str, Any]) -> Any:
    """An entry as comparable data, whichever of JSON text, lists and tuples it was made of."""
    try:
        return chain.dumps(json.loads(line) if isinstance(line, str) else line)
    except (ValueError, TypeError, RecursionError):  # a line that nobody could have exported
        return None


def _recorded(entries: Sequence[Entry], recorded: tuple[int, str] | None) -> Iterator[Broken]:
    """The newest entry must be the one that was recorded as such when it was written."""
    if recorded is None:
        return
    number, digest = recorded
    if number > len(entries):
        yield Broken(len(entries) + 1, f"entry {len(entries) + 1} is missing: the ledger had {number} entries")
    elif number < len(entries):
        yield Broken(number + 1, f"entry {number + 1} was put in: the ledger had {number} entries")
    elif entries and entries[-1].hash != digest:
        yield Broken(number, f"entry {number} was changed: the ledger recorded another hash")


def _trailers(entries: Sequence[Entry], trailer: Trailer, on_target: Container[str]) -> Iterator[Broken]:
    """Each ``done`` entry must name a landed commit that names an earlier entry of this chain."""
    earlier: set[str] = set()
    for number, entry in enumerate(entries, start=1):
        wrong = _landing_problem(entry, trailer, on_target, earlier) if _needs_commit(entry) else None
        if wrong:
            yield Broken(number, f"entry {number}: {wrong}")
            return
        earlier.add(entry.hash)


def _needs_commit(entry: Entry) -> bool:
    """Whether an entry landed a package: forced and adopted ones may rest on commits that agentpkg did not make."""
    return _lands(entry) and not entry.metadata.get("forced") and not _adopts(entry)


def _lands(entry: Entry) -> bool:
    return bool(entry.wp_id) and str(entry.transition).endswith("->done")


def _adopts(entry: Entry) -> bool:
    """Whether an entry found a package done; one of ``rebuild`` names the commit and the lost entry that this saw."""
    return _lands(entry) and entry.metadata.get("kind") == "adopted"


def _landing_problem(entry: Entry, trailer: Trailer, on_target: Container[str], earlier: set[str]) -> str | None:
    commit = entry.metadata.get("merge_commit")
    if not isinstance(commit, str) or not commit:
        return "it names no merge commit"
    if commit not in on_target:
        return f"its merge commit {commit[:12]} is not on the target"
    digest = trailer(commit)
    if digest is None:
        return f"its merge commit {commit[:12]} carries no Audit-Hash"
    if digest not in earlier:
        return f"its merge commit {commit[:12]} carries the Audit-Hash {digest[:12]}, which no earlier entry has"
    return None


def _landed(entries: Sequence[Entry], landed: Mapping[str, str]) -> Iterator[Broken]:
    """What a landed commit saw must still be there, or told to be lost; if not, all after the end is missing."""
    known = {entry.hash for entry in entries}
    lost = {
        (entry.metadata.get("merge_commit"), entry.metadata.get("audit_hash")) for entry in entries if _adopts(entry)
    }
    for commit, digest in landed.items():
        if digest not in known and (commit, digest) not in lost:
            number = len(entries) + 1
            yield Broken(number, f"entry {digest[:12]}, which the landed commit {commit[:12]} saw, is missing")
            return
