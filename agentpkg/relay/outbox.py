"""From the outbox to the server: in order, with the same id each time, marked as sent once acknowledged."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from agentpkg.bus import subjects
from agentpkg.core.records import EventRow
from agentpkg.ledger.ledger import Ledger
from agentpkg.relay.books import Books
from agentpkg.relay.link import Link

if TYPE_CHECKING:
    from agentpkg.bus.nats import Message

#: rows published before their acknowledgements are awaited
BATCH = 500
#: newest events that a stream gets which was made anew (its server lost it, or is another one)
TAIL = 1_000
#: sent rows that are kept for that
KEPT = 10_000
#: sent rows after which older ones are forgotten
_PRUNE = 2_000


class Outbox:
    """The rows that no server has acknowledged yet.

    Args:
        books: the ledger.
        link: the server.
        prefix: of the subjects.
        log: told of events that cannot be published at all.
    """

    def __init__(self, books: Books, link: Link, prefix: str, log: Callable[[str], None]) -> None:
        self._books = books
        self._link = link
        self._prefix = prefix
        self._log = log
        self._since_prune = 0

    async def waiting(self) -> bool:
        """Whether there is a row to publish. Raises :class:`AgentpkgError` when the ledger cannot be read."""
        return bool(await self._unsent(1))

    async def _unsent(self, limit: int) -> list[EventRow]:
        nothing: list[EventRow] = []
        return await self._books.ask(lambda ledger: ledger.unsent(limit), nothing)

    async def publish(self) -> None:
        """Publishes what waits, until nothing does.

        Raises:
            BusDown, Lacking: the server does not take it now.
            AgentpkgError: the ledger cannot be read or written.
        """
        while rows := await self._unsent(BATCH):
            await self._link.ready()
            if self._link.new_stream:
                await self._repeat(rows[0].rowid)
            count = await self._send(rows)
            await self._books.ask(_marking([row.rowid for row in rows[:count]]), None)
            await self._prune(count)

    async def _repeat(self, before: int) -> None:
        """Gives a new stream the newest of the events that were sent already."""
        newest = await self._books.ask(lambda ledger: ledger.last_rowid(), 0)
        nothing: list[EventRow] = []
        tail = await self._books.ask(lambda ledger: ledger.events(max(0, newest - TAIL), TAIL), nothing)
        rest = [row for row in tail if row.rowid < before]
        while rest:
            rest = rest[await self._send(rest[:BATCH]) :]
        self._link.new_stream = False

    async def repeat_if_new(self) -> None:
        """As :meth:`publish` does for a new stream, where nothing waits."""
        if self._link.new_stream:
            await self._repeat(1 << 62)

    async def _send(self, rows: Sequence[EventRow]) -> int:
        """How many rows from the start need not be sent again."""
        from agentpkg.bus.nats import BusDown

        publisher = await self._link.ready()
        good, messages = self._messages(rows)
        if not messages:
            return len(rows)
        try:
            acknowledged = await publisher.publish(messages)
        except BusDown as error:
            await self._link.failed(error)
            raise
        self._link.worked()
        return len(rows) if acknowledged == len(messages) else good[acknowledged]

    def _messages(self, rows: Sequence[EventRow]) -> "tuple[list[int], list[Message]]":
        """The publishable rows as messages, and their places among ``rows``."""
        from agentpkg.bus.nats import Message

        good: list[int] = []
        messages: list[Message] = []
        for place, row in enumerate(rows):
            try:
                subject = subjects.subject(self._prefix, row.subject)
                messages.append(Message(subject, row.id, subjects.body(row.payload)))
                good.append(place)
            except subjects.Unpublishable as error:
                # it would stop all others for ever; the entry behind it stands in the ledger
                self._log(f"event {row.rowid} is left out: {error}")
        return good, messages

    async def _prune(self, count: int) -> None:
        self._since_prune += count
        if self._since_prune >= _PRUNE:
            self._since_prune = 0
            await self._books.ask(lambda ledger: ledger.prune_sent(KEPT), None)


def _marking(rowids: Sequence[int]) -> Callable[[Ledger], None]:
    return lambda ledger: ledger.mark_sent(rowids)
