"""The chains' anchors in git: appends what the ledger has beyond ``refs/agentpkg/audit/<slug>``."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path

from agentpkg.core.chain import ZERO, export_lines
from agentpkg.core.errors import AgentpkgError
from agentpkg.git.audit import AuditGap, anchored, append_audit
from agentpkg.git.discover import Repository
from agentpkg.ledger.ledger import Ledger
from agentpkg.relay.books import Books

#: entries of one commit at most
_SEGMENT = 5_000


class Anchors:
    """What each feature's anchor holds, and how it grows.

    Args:
        state: the repository's state folder, in its git common dir.
        books: the ledger; of its own, since git takes its time.
        log: told of chains that do not continue their anchor.
    """

    def __init__(self, state: Path, books: Books, log: Callable[[str], None]) -> None:
        # the work tree plays no part in what is done here
        self._repository = Repository(state.parent, state.parent, state)
        self._books = books
        self._log = log
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
        append_audit(self._repository, feature, list(export_lines(entries)))
        self._known[feature] = (entries[-1].id, entries[-1].hash)

    def _refuse(self, feature: str, why: str) -> None:
        self._broken.add(feature)
        self._log(f"chain of {feature}: {why}; run: agentpkg events audit-verify --feature {feature}")
