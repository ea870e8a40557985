"""Connections to NATS: publishing with acknowledgements, the stream, and who is connected.

With :mod:`agentpkg.bus.listen` the only importer of nats.

A connection here never reconnects by itself: what was lost with it is then certain, a fetch cannot stay deaf, and
bytes of a publish that was given up are not sent later behind the caller's back. Callers connect anew.
"""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import nats
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig

from agentpkg.bus.access import Access
from agentpkg.bus.subjects import stream_name, stream_subjects
from agentpkg.core.errors import BadInput
from agentpkg.files import read_bounded

#: seconds for a connection, the handshake included
CONNECT = 2.0
#: seconds for acknowledgements; after these nothing is known, and the same ids are sent again
ACKNOWLEDGE = 5.0

_DAY = 86_400
_MIB = 1 << 20
#: of one subject; a session's ``progress`` cannot push the other events out
_KEPT_PER_SUBJECT = 10_000


class BusDown(Exception):
    """A server cannot be used now; the text says why, and holds no secret."""


class Deaf(BusDown):
    """A server takes what it is told and does not answer: stopped, stuck, or its disk was full."""


@dataclass(frozen=True, slots=True)
class Message:
    """One event on its way: full subject, ``Nats-Msg-Id``, JSON bytes."""

    subject: str
    id: str
    data: bytes


async def connect(access: Access, name: str) -> Client:
    """A connection that ends when the server does.

    Args:
        name: shown in the server's list of connections.

    Raises:
        BusDown: no server there, not allowed in, or the credentials file is unusable.
    """
    seen: list[Exception] = []

    async def on_error(error: Exception) -> None:
        seen.append(error)

    client = Client()
    # the annotations say int where fractions are taken
    options: dict[str, Any] = {"connect_timeout": CONNECT, "reconnect_time_wait": 0.01, "max_reconnect_attempts": 1}
    options |= {
        "name": name,
        "inbox_prefix": access.inbox,
        "allow_reconnect": False,
        **_credentials(access.credentials),
    }
    try:
        await asyncio.wait_for(client.connect(list(access.urls), error_cb=on_error, **options), CONNECT)
    except (TimeoutError, OSError, ValueError, nats.errors.Error) as error:
        with suppress(OSError, nats.errors.Error):
            await client.close()
        kind = Deaf if isinstance(error, TimeoutError) and not seen else BusDown
        # what the server said comes before what its hanging up gave
        said = [one for one in seen if isinstance(one, nats.errors.Error)]
        raise kind(f"{access.shown}: {_why((said or seen or [error])[-1])}") from None
    return client


def _credentials(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        text = read_bounded(file, 1 << 16, follow=True).decode("ascii", "replace")
    except (OSError, BadInput) as error:
        raise BusDown(f"{file}: {error}") from None
    if "NATS USER JWT" in text:
        return {"user_credentials": str(file)}
    seeds = [line.strip() for line in text.splitlines() if line.strip().startswith("SU")]
    if not seeds:
        raise BusDown(f"{file} holds neither credentials nor an NKey seed")
    return {"nkeys_seed_str": seeds[0]}


def _why(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


class Publisher:
    """A connection that publishes a prefix's events into its stream. Made by :meth:`open`."""

    def __init__(self, client: Client, prefix: str) -> None:
        self._client = client
        self._js = client.jetstream(timeout=ACKNOWLEDGE)
        self._prefix = prefix
        self._stream = stream_name(prefix)

    @classmethod
    async def open(cls, access: Access) -> Self:
        """Connects. Raises :class:`BusDown`."""
        return cls(await connect(access, "agentpkg relay"), access.prefix)

    @property
    def up(self) -> bool:
        """Whether the connection stands, as far as is known."""
        return bool(self._client.is_connected)

    async def ensure_stream(self) -> bool:
        """Makes the stream if it is missing; True when it was.

        A stream of that name that takes the events is used as it is, whatever its limits are.

        Raises:
            BusDown: it can neither be found nor made.
        """
        try:
            return await self._find_or_make()
        except (TimeoutError, nats.errors.Error) as error:
            raise BusDown(f"stream {self._stream}: {_why(error)}") from None

    async def _find_or_make(self) -> bool:
        wanted = stream_subjects(self._prefix)
        try:
            info = await self._js.stream_info(self._stream)
        except nats.js.errors.NotFoundError:
            await self._js.add_stream(_stream_config(self._stream, wanted))
            return True
        if not set(wanted) <= set(info.config.subjects or ()):
            info.config.subjects = wanted
            await self._js.update_stream(info.config)
        return False

    async def publish(self, messages: Sequence[Message]) -> int:
        """Publishes in order and waits for the acknowledgements.

        Returns:
            How many from the start were acknowledged. The rest may have been stored or not: publish them again.

        Raises:
            BusDown: none was acknowledged.
        """
        sent: list[asyncio.Future[Any]] = []
        failure: BaseException | None = None
        try:
            for message in messages:
                headers = {"Nats-Msg-Id": message.id}
                sent.append(
                    await self._js.publish_async(
                        message.subject, message.data, wait_stall=ACKNOWLEDGE, stream=self._stream, headers=headers
                    )
                )
        except (OSError, TimeoutError, nats.errors.Error) as error:
            failure = error
        acknowledged, refusal = await self._acknowledged(sent)
        if not acknowledged and messages:
            why = refusal or failure or TimeoutError("no acknowledgement")
            raise (Deaf if isinstance(why, TimeoutError) and self.up else BusDown)(_why(why))
        return acknowledged

    async def _acknowledged(self, sent: Sequence["asyncio.Future[Any]"]) -> tuple[int, BaseException | None]:
        deadline = asyncio.get_running_loop().time() + ACKNOWLEDGE
        pending = set(sent)
        # a connection that broke answers nothing more
        while pending and self.up and asyncio.get_running_loop().time() < deadline:
            _, pending = await asyncio.wait(pending, timeout=0.1)
        refusals = [future.exception() if future.done() else TimeoutError("no acknowledgement") for future in sent]
        for future in pending:
            future.cancel()
        for count, refusal in enumerate(refusals):
            if refusal is not None:
                return count, refusal
        return len(sent), None

    async def say(self, message: Message) -> None:
        """Publishes without waiting for an acknowledgement; what is lost is lost."""
        with suppress(OSError, TimeoutError, nats.errors.Error):
            await self._client.publish(message.subject, message.data, headers={"Nats-Msg-Id": message.id})

    async def close(self) -> None:
        """Sends what is buffered and closes the connection."""
        with suppress(OSError, TimeoutError, nats.errors.Error):
            if self._client.is_connected:
                await self._client.flush(1)
        with suppress(OSError, TimeoutError, nats.errors.Error):
            await self._client.close()


def _stream_config(name: str, wanted: list[str]) -> StreamConfig:
    return StreamConfig(
        name=name,
        description="events of agentpkg",
        subjects=wanted,
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        discard=DiscardPolicy.OLD,
        max_age=30 * _DAY,
        max_bytes=256 * _MIB,
        max_msg_size=_MIB // 4,
        max_msgs_per_subject=_KEPT_PER_SUBJECT,
        duplicate_window=_DAY,
        allow_direct=True,
        deny_delete=True,
    )


async def count_connections(system: Access, account: str) -> int:
    """How many clients an account of the server has, asked through the system account.

    Raises:
        BusDown: the server does not tell.
    """
    client = await connect(system, "agentpkg relay, asking")
    try:
        question = json.dumps({"acc": account}).encode()
        answer = await client.request("$SYS.REQ.SERVER.PING.CONNZ", question, timeout=CONNECT)
        return len(json.loads(answer.data)["data"]["connections"])
    except (OSError, TimeoutError, ValueError, LookupError, TypeError, nats.errors.Error) as error:
        raise BusDown(_why(error)) from None
    finally:
        with suppress(OSError, TimeoutError, nats.errors.Error):
            await client.close()
