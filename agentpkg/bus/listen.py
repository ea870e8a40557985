"""Listening to events: a thread that wakes a waiting command, and a tail that misses none while it is connected.

Both connect anew when the server went away, and ask where it is each time: it may be another one by then.
"""

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, suppress
from typing import Any

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from agentpkg.bus.access import Access
from agentpkg.bus.nats import BusDown, connect
from agentpkg.bus.subjects import feature_subjects, stream_name

#: tells where the server is now; None when there is none. May wait, may start it.
Where = Callable[[], Access | None]

Event = tuple[str, dict[str, Any]]
Events = AsyncGenerator[Event, None]

#: seconds between two tries to connect
_RETRY = 0.5
#: tries of the first connection: a server of agentpkg's own may have ended since it was asked for
_TRIES = 2
#: seconds that one question for the next event stays open
_PARKED = 2.0


class Wakeups:
    """A thread that calls back on any event of a feature. Events only wake: what is true is read from the ledger.

    Args:
        where: asked for the server before each connection; called in the thread.
        feature: whose events; None: all.
        callback: called in the thread, also after each connection (something may have happened before it).
    """

    def __init__(self, where: Where, feature: str | None, callback: Callable[[], None]) -> None:
        self._where = where
        self._feature = feature
        self._callback = callback
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._listen()), daemon=True, name="wakeups")
        self._thread.start()

    def stop(self, seconds: float = 2.0) -> None:
        """Ends the thread, and with it the connection; waits for that at most ``seconds``."""
        self._stopping.set()
        self._thread.join(seconds)

    async def _listen(self) -> None:
        while not self._stopping.is_set():
            access = await asyncio.to_thread(self._where)
            if access is not None and not self._stopping.is_set():
                with suppress(BusDown, OSError, TimeoutError, nats.errors.Error):
                    await self._listen_at(access)
            await self._pause(_RETRY)

    async def _listen_at(self, access: Access) -> None:
        client = await connect(access, "agentpkg run")

        async def on_message(_message: Any) -> None:
            self._callback()

        try:
            await client.subscribe(feature_subjects(access.prefix, self._feature), cb=on_message)
            await client.flush(1)
            self._callback()
            while client.is_connected and not self._stopping.is_set():
                await asyncio.sleep(0.1)
        finally:
            with suppress(OSError, TimeoutError, nats.errors.Error):
                await client.close()

    async def _pause(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while loop.time() < until and not self._stopping.is_set():
            await asyncio.sleep(0.05)


def tail(where: Where, feature: str | None = None, *, history: bool = False) -> Iterator[Event]:
    """Events as they are published, in the stream's order: ``(subject, payload)``, without end.

    Args:
        where: asked for the server before each connection.
        feature: only its own subjects (sessions have subjects of their own); None: all.
        history: first what the stream still holds.

    Raises:
        BusDown: the first connection fails twice. Later ones are tried for ever.
    """
    with asyncio.Runner() as runner:
        events = _Tail(where, feature, history).events()
        try:
            while True:
                yield runner.run(anext(events))
        finally:
            runner.run(events.aclose())


class _Tail:
    """One tail and how far it has come in the stream."""

    def __init__(self, where: Where, feature: str | None, history: bool) -> None:
        self._where = where
        self._feature = feature
        self._history = history
        #: stream sequence of the last event given, None before the first connection
        self._last: int | None = None

    async def events(self) -> Events:
        """All of them; connects anew whenever that is needed."""
        left = _TRIES
        while True:
            try:
                access = await asyncio.to_thread(self._where)
                if access is None:
                    raise BusDown("there is no server")
                client = await connect(access, "agentpkg events tail")
                # later ones are tried for ever
                left = 0
                async with aclosing(self._of(client, access)) as found:
                    async for event in found:
                        yield event
            except BusDown:
                left -= 1
                if left == 0:
                    raise
            except (OSError, TimeoutError, nats.errors.Error):
                pass
            await asyncio.sleep(_RETRY)

    async def _of(self, client: Client, access: Access) -> Events:
        """The events of one connection, until it breaks or the stream is another one."""
        js = client.jetstream()
        stream = stream_name(access.prefix)
        try:
            newest = (await js.stream_info(stream)).state.last_seq
            if self._last is None:
                self._last = 0 if self._history else newest
            # a stream that is behind what was seen is a new one
            self._last = self._last if self._last <= newest else 0
            config = ConsumerConfig(
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=self._last + 1,
                ack_policy=AckPolicy.NONE, inactive_threshold=60,
            )  # fmt: skip
            subjects = feature_subjects(access.prefix, self._feature)
            consumer = await js.pull_subscribe(subjects, stream=stream, config=config)
            while client.is_connected:
                with suppress(TimeoutError):
                    (message,) = await consumer.fetch(1, timeout=_PARKED)
                    self._last = message.metadata.sequence.stream
                    yield message.subject, _payload(message.data)
                    continue
                # raises when the stream and with it the consumer are gone
                await consumer.consumer_info()
        finally:
            with suppress(OSError, TimeoutError, nats.errors.Error):
                await client.close()


def _payload(data: bytes) -> dict[str, Any]:
    """A body as a mapping, whatever somebody else has published there."""
    with suppress(ValueError):
        told = json.loads(data)
        if isinstance(told, dict):
            return told
    return {"text": data.decode("utf-8", "backslashreplace")}
