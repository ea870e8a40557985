"""The chains' anchors in git: appends what the ledger has beyond ``refs/agentpkg/audit/<slug>``."""

import os
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path

from agentpkg.core.chain import ZERO, export_lines
from agentpkg.core.errors import AgentpkgError, Lacking
from agentpkg.git.audit import AuditGap, Signer, anchored, append_audit
from agentpkg.git.discover import Repository
from agentpkg.git.signing import SigningFailed, sign, signing
from agentpkg.ledger.ledger import Ledger
from agentpkg.relay.books import Books

#: entries of one commit at most
_SEGMENT = 5_000


def signer_of(work_tree: Path, log: Callable[[str], None]) -> Callable[[], Signer | None]:
    """Gives who signs anchors, by configuration and key as they are when it is asked; bad ones sign nothing."""

    def signer() -> Signer | None:
        from agentpkg.config import load

        try:
            how = signing(work_tree) if load(work_tree, os.environ).settings.audit.sign else None
        except AgentpkgError as error:
            log(f"audit refs: {error.message}")
            return None
        return partial(sign, how) if how is not None and how.key else None

    return signer


class Anchors:
    """What each feature's anchor holds, and how it grows.

    Args:
        state: the repository's state folder, in its git common dir.
        books: the ledger; of its own, since git takes its time.
        log: told of chains that do not continue their anchor, and of heads that could not be signed.
        signer: gives who signs new heads now; None: they are not signed.
    """

    def __init__(
        self, state: Path, books: Books, log: Callable[[str], None], signer: Callable[[], Signer | None] = lambda: None
    ) -> None:
        # the work tree plays no part in what is done here
        self._repository = Repository(state.parent, state.parent, state)
        self._books = books
        self._log = log
        self._signer = signer
        #: feature -> entries anchored, and the hash of the last
        self._known: dict[str, tuple[int, str]] = {}
        #: features whose chain does not continue its anchor: nothing is appended, so that the difference stays
        self._broken: set[str] = set()

    async def append(self) -> None:
        """Brings every anchor up to its chain.

        Raises:
            AgentpkgError: the ledger cannot be read, or git refuses.
        """
        await self._books.ask(self._append_all, None)

    def _append_all(self, ledger: Ledger) -> None:
        for feature, (count, _) in ledger.heads().items():
            while feature not in self._broken and self._at(feature)[0] < count:
                try:
                    self._append(ledger, feature)
                except AuditGap as error:
                    self._refuse(feature, str(error))
                except AgentpkgError:
                    # somebody else has moved the ref: what it holds is asked again
                    self._known.pop(feature, None)
                    raise

    def _at(self, feature: str) -> tuple[int, str]:
        if feature not in self._known:
            count, digest = anchored(self._repository, feature)
            self._known[feature] = (count, digest or ZERO)
        return self._known[feature]

    def _append(self, ledger: Ledger, feature: str) -> None:
        count, digest = self._at(feature)
        entries = list(islice(ledger.entries(feature, after_id=count), _SEGMENT))
        if not entries or entries[0].prev_hash != digest:
            self._refuse(feature, f"entry {count + 1} does not follow the anchor")
            return
        self._append_lines(feature, list(export_lines(entries)))
        self._known[feature] = (entries[-1].id, entries[-1].hash)

    def _append_lines(self, feature: str, lines: list[str]) -> None:
        try:
            append_audit(self._repository, feature, lines, self._signer())
        except (SigningFailed, Lacking) as error:
            self._log(f"chain of {feature}: its head is not signed: {error.message} ({error.hint})")
            # an anchor without a signature is worth more than none
            append_audit(self._repository, feature, lines)

    def _refuse(self, feature: str, why: str) -> None:
        self._broken.add(feature)
        self._log(f"chain of {feature}: {why}; run: agentpkg events audit-verify --feature {feature}")
