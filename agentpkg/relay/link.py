"""The relay's way to a server: the user's, or one of its own that it starts, watches and restarts."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from agentpkg.bus.access import Access, Settings, of_settings
from agentpkg.bus.server import EmbeddedServer

if TYPE_CHECKING:
    from agentpkg.bus.nats import BusDown, Publisher

#: failures in a row after which a server of one's own is started anew: one that met a full disk refuses
#: everything from then on, also when there is room again. One that does not answer is not asked twice.
_FAILURES = 2


class Link:
    """One server and the connection to it.

    Args:
        state: the repository's state folder.
        folder: what a relative credentials path starts from.
    """

    def __init__(self, state: Path, settings: Settings, folder: Path) -> None:
        self._own = of_settings(settings, folder)
        self._server = EmbeddedServer(state, settings.prefix, settings.server)
        self._publisher: Publisher | None = None
        self._failures = 0
        #: a stream was missing and has been made; the relay publishes the newest events again and takes this back
        self.new_stream = False

    @property
    def server(self) -> EmbeddedServer | None:
        """agentpkg's own server; None when it does not run, or the user's is used."""
        return self._server if self._own is None and self._server.running() else None

    @property
    def established(self) -> bool:
        """Whether a connection stands."""
        return self._publisher is not None and self._publisher.up

    async def ready(self) -> "Publisher":
        """A connection to a server that has the stream.

        Raises:
            BusDown: the server cannot be used now.
            Lacking: there is no server to start.
        """
        if self._publisher is not None and self._publisher.up and (self._own or self.server):
            return self._publisher
        # a server whose keeper was killed may answer still, and is nobody's
        await self._disconnect()
        access = await self._access()
        from agentpkg.bus.nats import BusDown, Publisher

        try:
            self._publisher = publisher = await Publisher.open(access)
            self.new_stream |= await publisher.ensure_stream()
        except BusDown as error:
            await self.failed(error)
            raise
        return publisher

    async def _access(self) -> Access:
        if self._own is not None:
            return self._own
        if self._failures >= _FAILURES:
            self._failures = 0
            await asyncio.to_thread(self._server.stop)
        await asyncio.to_thread(self._server.start)
        return self._server.coordinator

    async def failed(self, error: "BusDown") -> None:
        """Told after something failed: the stream may be gone, or the server in trouble."""
        from agentpkg.bus.nats import Deaf

        self._failures += _FAILURES if isinstance(error, Deaf) else 1
        await self._disconnect()

    def worked(self) -> None:
        """Told after a publish that was acknowledged."""
        self._failures = 0

    async def viewers(self) -> int:
        """How many others are connected to agentpkg's own server; 0 for the user's, which needs no keeping."""
        if self.server is None:
            return 0
        from agentpkg.bus.nats import BusDown, count_connections
        from agentpkg.bus.server_conf import ACCOUNT

        try:
            found = await count_connections(self._server.system, ACCOUNT)
        except BusDown:
            return 0
        return max(0, found - self.established)

    async def close(self) -> None:
        """Closes the connection and stops the server."""
        await self._disconnect()
        await asyncio.to_thread(self._server.stop)

    async def _disconnect(self) -> None:
        publisher, self._publisher = self._publisher, None
        if publisher is not None:
            await publisher.close()
