"""``rebuild``: a new ledger from the audit refs, what can be read of the damaged one, and what lies beyond."""

import heapq
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agentpkg import files
from agentpkg.core import chain
from agentpkg.core.errors import AgentpkgError
from agentpkg.core.records import Entry
from agentpkg.engine import transition
from agentpkg.engine.project import Project
from agentpkg.engine.upkeep import recovery
from agentpkg.engine.upkeep.rebuilding.beyond import Beyond
from agentpkg.engine.upkeep.rebuilding.replay import Replay
from agentpkg.git.audit import anchored_features, read_audit
from agentpkg.ledger.audit import first_bad
from agentpkg.ledger.db import gone, require_in_one_file
from agentpkg.ledger.ledger import Ledger, Transaction
from agentpkg.ledger.salvage import Salvaged, good_beginning, move_aside, salvage

_NAME = "ledger.db"
#: where damaged ledgers are kept, below the state folder
_ASIDE = "damaged"


@dataclass(frozen=True, slots=True)
class Chain:
    """One feature's chain as it was made again.

    Attributes:
        anchored: how many of its entries git held.
        read: how many more came from the damaged file.
        found: how many are new, and tell what was found beyond.
    """

    feature: str
    entries: int
    anchored: int
    read: int
    found: int

    def as_json(self) -> dict[str, Any]:
        """As ``rebuild --json`` has it."""
        return {"id": self.feature, "entries": self.entries, "anchored": self.anchored, "read": self.read,
                "found": self.found}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What ``rebuild`` did.

    Attributes:
        why: what was wrong with the ledger; None when it is sound, and nothing was done.
        kept: the folder with the damaged file, None where there was none.
        unknown: what could not be found out.
        finished: what was finished afterwards, as by any command.
    """

    why: str | None
    kept: Path | None = None
    chains: tuple[Chain, ...] = ()
    unknown: tuple[str, ...] = ()
    finished: tuple[str, ...] = ()


def rebuild(project: Project) -> Rebuilt:
    """Makes the ledger again, unless it is sound. The damaged one is kept; killed at any moment, it may be repeated.

    Raises:
        NotAllowed: an agent asks.
        Busy: another command is at it.
        Lacking: there is no room, or git cannot be read; nothing has changed.
    """
    project.require_person_without_ledger("rebuild the ledger")
    with files.lock(project.repository.lock_file("rebuild"), 0, what="the ledger's rebuilding"):
        why = damage(project)
        if why is None:
            return Rebuilt(None)
        work = project.state / ".rebuild"
        files.remove_tree(work)
        work.mkdir(mode=0o700)
        try:
            done = _made_again(project, work, why)
        finally:
            files.remove_tree(work)
    fresh = replace(project)
    fresh.poke()
    return replace(done, finished=tuple(recovery.reconcile(fresh)))


def damage(project: Project) -> str | None:
    """What is wrong with the ledger, in a sentence; None when it is sound, or there never was one."""
    path = project.state / _NAME
    if project.ledger_is_lost:
        return gone(path).message
    try:
        ledger = Ledger.open_existing(path)
        if ledger is None:
            return None
        with ledger:
            return ledger.check() or _broken_chain(project, ledger)
    except AgentpkgError as error:
        if error.code not in ("ledger_damaged", "ledger_lost"):
            raise
        return error.message


def _broken_chain(project: Project, ledger: Ledger) -> str | None:
    """A chain that is broken in itself, or does not continue what git holds of it."""
    # a row that cannot be read says so itself
    packages = ledger.packages()
    ledger.sessions()
    known = {row.id for row in ledger.features()} | {row.feature for row in packages}
    for row in packages:
        ledger.reviews(row.feature, row.wp)
    for feature in sorted({*known, *ledger.heads(), *anchored_features(project.repository)}):
        # the anchor first: what is added meanwhile must not look like damage
        anchor = read_audit(project.repository, feature)
        with ledger.snapshot() as look:
            entries, recorded = list(look.entries(feature)), look.head(feature)
        found = first_bad(entries, anchor, recorded)
        if found is not None:
            return f"the chain of {feature}: {found.reason}"
    return None


def _made_again(project: Project, work: Path, why: str) -> Rebuilt:
    path = project.state / _NAME
    old = salvage(path, work)
    sources = {feature: _source(project, feature, old) for feature in _features(project, old)}
    unknown = [sentence for _, _, said in sources.values() for sentence in said]
    with Ledger.open(work / f"new-{_NAME}") as ledger:
        with ledger.write() as tx:
            shadow = project.over(ledger)
            unknown += _write(shadow, tx, {f: entries for f, (entries, _, _) in sources.items()})
        ledger.mark_sent([event.rowid for event in ledger.unsent() if event.id in old.sent])
        heads = ledger.heads()
    kept = _exchange(path, work / f"new-{_NAME}")
    chains = []
    for feature, (number, _) in heads.items():
        entries, anchored, _ = sources.get(feature, ((), 0, ()))
        first = min(anchored, len(entries))
        chains.append(Chain(feature, number, first, len(entries) - first, number - len(entries)))
    return Rebuilt(why, kept, tuple(chains), tuple(unknown))


def _features(project: Project, old: Salvaged) -> list[str]:
    return sorted({*anchored_features(project.repository), *old.chains})


def _source(project: Project, feature: str, old: Salvaged) -> tuple[list[Entry], int, list[str]]:
    """The entries of a feature that are beyond doubt, how many git anchors, and what is to be said of them."""
    lines = read_audit(project.repository, feature)
    anchored = good_beginning(list(_entries(lines)))
    said = []
    if len(anchored) < len(lines):
        said.append(f"{feature}: the audit ref in git is damaged after entry {len(anchored)}")
    read = old.chains.get(feature, [])
    if [entry.hash for entry in read[: len(anchored)]] == [entry.hash for entry in anchored]:
        return read, len(anchored), said
    if read and [e.hash for e in anchored[: len(read)]] != [e.hash for e in read]:
        said.append(f"{feature}: the damaged file told another story than git; git's was taken")
    return anchored, len(anchored), said


def _entries(lines: Iterable[str]) -> Iterator[Entry]:
    for line in lines:
        with suppress(ValueError, TypeError):
            said = json.loads(line)
            yield Entry(**{**said, "seq": 0, "evidence_refs": tuple(said["evidence_refs"])})


def _write(project: Project, tx: Transaction, chains: Mapping[str, Sequence[Entry]]) -> list[str]:
    replay = Replay(project.settings.project.target_branch)
    entries = [tx.restore(entry) for entry in _in_order(chains.values())]
    replay.follow(entries)
    replay.write(tx)
    for entry in entries:
        transition.tell_again(tx, entry)
    beyond = Beyond(project, tx)
    beyond.add()
    return beyond.unknown


def _in_order(chains: Iterable[Sequence[Entry]]) -> Iterator[Entry]:
    """All entries as they were written, nearly: each chain in order, and the chains by the clock."""
    return (entry for _, _, entry in heapq.merge(*map(_stamped, chains), key=lambda one: one[:2]))


def _stamped(entries: Sequence[Entry]) -> Iterator[tuple[str, str, Entry]]:
    newest = ""
    for entry in entries:
        # the clock may have been set back
        newest = max(newest, entry.timestamp)
        yield newest, entry.feature_id, entry


def _exchange(path: Path, new: Path) -> Path | None:
    """Puts the new ledger in the old one's place, and that aside. Nobody makes one in between."""
    require_in_one_file(new)
    with files.hold_folder(path.parent):
        kept = None
        if any(path.parent.glob(f"{_NAME}*")):
            stamp = chain.rfc3339(datetime.fromtimestamp(time.time(), UTC)).replace(":", "").partition(".")[0]
            kept = path.parent / _ASIDE / f"{stamp}.{os.urandom(3).hex()}"
            kept.mkdir(mode=0o700, parents=True)
            move_aside(path, kept)
        os.rename(new, path)
        files.sync_folder(path.parent)
    return kept
