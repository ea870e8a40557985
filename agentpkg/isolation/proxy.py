"""The outer end of the way to the network: what a sandbox may reach is decided here, outside of it.

A thread of the process that owns a session listens on unix sockets in a folder of its own, which is shown inside:
``proxy.sock`` speaks HTTP as a proxy does (RFC 9110, ``CONNECT`` and absolute URIs), ``<port>.sock`` leads to a service
of this machine. Names are resolved here. Every decision is kept to be told.
"""

import asyncio
import os
import queue
import shutil
import tempfile
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from agentpkg.core.hosts import Target
from agentpkg.isolation.base import PORT
from agentpkg.isolation.undecided import Undecided, address_of

#: bytes of a request's head
_HEAD = 1 << 16
#: seconds to say what is wanted, and to be connected
_SECONDS = 30.0
#: what is told of one session; further decisions are made, but only counted
_TOLD = 2000

_REFUSAL = (
    "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}"
)

#: what of a request is for the proxy; the host is the one that was decided on, whatever ``Host`` says (RFC 9112, 3.2.2)
_NOT_HANDED_ON = ("proxy-", "connection:", "keep-alive:", "host:", "host ", "host\t", " ", "\t")

_FORBIDDEN = "403 Forbidden", "is not among the hosts that isolation.network.allow names, and nobody allowed it"
_WAITING = "503 Service Unavailable", "waits for a person to allow it; try again later"


#: how a connection ends whose client talks nonsense, or is gone
_ITS_OWN_FAULT = (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError)


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of one wish to connect.

    Attributes:
        target: ``host:port`` as it was asked for.
        allowed: it was let through.
        problem: why it was let through and came to nothing all the same; empty when it did not.
    """

    target: str
    allowed: bool
    problem: str = ""

    def __str__(self) -> str:
        return (
            f"network: {'allowed' if self.allowed else 'refused'} {self.target}{self.problem and ': ' + self.problem}"
        )


class Proxy:
    """Listens from :meth:`start` to :meth:`stop`.

    Args:
        targets: what may be reached.
        on_port: listen on a port of the loopback, where nothing can be shown inside as a port; services of this machine
            are then reached without it, on their own.
        undecided: what becomes of connections to other targets.
    """

    def __init__(self, targets: Sequence[Target], on_port: bool = False, undecided: Undecided | None = None) -> None:
        self._on_port, self.undecided = on_port, undecided or Undecided()
        self.port = 0
        self._remote = [target for target in targets if not target.local]
        self._local = {target.port: target for target in targets if target.local}
        self._decisions: queue.SimpleQueue[Decision] = queue.SimpleQueue()
        self._count = 0
        self._ready, self._over = threading.Event(), asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._failure: OSError | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.folder = Path()

    @property
    def sockets(self) -> dict[int, str]:
        """Names of the sockets in :attr:`folder`, by the port that each has inside."""
        return {PORT: "proxy.sock", **{port: f"{port}.sock" for port in self._local}}

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports of this machine that have to be open inside, where it listens on one."""
        return (self.port, *self._local)

    def start(self) -> None:
        """Begins to listen. Raises :class:`OSError` where that cannot be."""
        # a socket's path has room for 107 bytes, which a repository's own folder may exceed
        short = [
            f for f in (os.environ.get("XDG_RUNTIME_DIR", ""), "/tmp") if f and len(f) < 60 and os.access(f, os.W_OK)
        ]
        self.folder = Path(tempfile.mkdtemp(prefix="agentpkg-net-", dir=short[0] if short else None))
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            self.stop()
            raise self._failure

    def stop(self) -> None:
        """Ends all connections."""
        if self._loop is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(_SECONDS)
        shutil.rmtree(self.folder, ignore_errors=True)

    def decisions(self) -> list[Decision]:
        """What was decided since the last call."""
        found: list[Decision] = []
        with suppress(queue.Empty):
            while True:
                found.append(self._decisions.get_nowait())
        return found

    def _decide(self, decision: Decision) -> None:
        self._count += 1
        if self._count <= _TOLD:
            self._decisions.put(decision)

    # ----------------------------------------------------------------- in the thread

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            servers = [await self._listen("proxy.sock", self._answer)]
            if self._on_port:
                self.port = servers[0].sockets[0].getsockname()[1]
            for port, target in () if self._on_port else self._local.items():
                servers.append(await self._listen(f"{port}.sock", partial(self._lead, target)))
        except OSError as error:
            self._failure = error
            return
        finally:
            self._ready.set()
        await self._over.wait()
        for server in servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # transports close themselves at the loop's next turn
        await asyncio.sleep(0.01)

    async def _listen(self, name: str, handler: "_Handler") -> asyncio.Server:
        async def safely(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._tasks.add(task)
            try:
                await handler(reader, writer)
            except (*_ITS_OWN_FAULT, asyncio.CancelledError):
                # whatever it sent, it is its own connection that ends; and at the end all do
                pass
            finally:
                self._tasks.discard(task)
                writer.close()

        if self._on_port:
            return await asyncio.start_server(safely, "127.0.0.1", 0, limit=_HEAD)
        return await asyncio.start_unix_server(safely, self.folder / name, limit=_HEAD)

    async def _lead(self, target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            out = await asyncio.wait_for(asyncio.open_connection(target.host, target.port), _SECONDS)
        except OSError as error:
            self._decide(Decision(str(target), True, error.strerror or "nobody answers"))
            return
        self._decide(Decision(str(target), True))
        await _join((reader, writer), out)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _SECONDS)
        request = _Request.parse(head)
        named = [target for target in self._remote if target.admits(request.host, request.port)]
        allowed = bool(named) or await self.undecided.decide(request.target)
        if not allowed:
            status, hint = _WAITING if allowed is None else _FORBIDDEN
            self._decide(Decision(request.target, False, "" if allowed is False else "nobody has decided yet"))
            await _refuse(writer, status, f"{request.target} {hint}\n")
            return
        try:
            out = await asyncio.wait_for(self._connect(request, named), _SECONDS)
        except OSError as error:
            why = error.strerror or "nobody answers"
            self._decide(Decision(request.target, True, why))
            await _refuse(writer, "502 Bad Gateway", f"{request.target}: {why}\n")
            return
        self._decide(Decision(request.target, True))
        if request.onward:
            out[1].write(request.onward)
        else:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await _join((reader, writer), out)

    async def _connect(self, request: "_Request", named: Sequence[Target]) -> "_Stream":
        host = request.host
        if not named:
            host = await address_of(host, request.port, self.undecided.policy)
        elif all(target.any_below for target in named):
            # whoever may choose the name may choose where it leads
            host = await address_of(host, request.port)
        return await asyncio.open_connection(host, request.port)


_Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Request:
    """What a client wants: a tunnel, or (with ``onward``) this request made for it."""

    host: str
    port: int
    onward: bytes = b""

    @property
    def target(self) -> str:
        return f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, head: bytes) -> "_Request":
        """Understands a request's head. Raises :class:`ValueError`."""
        line, _, rest = head.decode("latin-1").partition("\r\n")
        method, target, version = line.split(" ")
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            return cls(_printable(host.strip("[]")), int(port))
        parts = urlsplit(target)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(target)
        path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
        kept = [h for h in rest.split("\r\n") if h and not h.lower().startswith(_NOT_HANDED_ON)]
        # one request each: what followed on the same connection might be for another host
        first = (f"{method} {path} {version}", f"Host: {parts.netloc.rpartition('@')[2]}", *kept)
        onward = "\r\n".join((*first, "Connection: close", "", ""))
        return cls(_printable(parts.hostname), parts.port or 80, onward.encode("latin-1"))


def _printable(host: str) -> str:
    if not host or not host.isascii() or not host.isprintable() or " " in host or len(host) > 255:
        raise ValueError(host)
    return host.lower()


async def _refuse(writer: asyncio.StreamWriter, status: str, text: str) -> None:
    writer.write(_REFUSAL.format(status=status, length=len(text), text=text).encode())
    await writer.drain()


async def _join(one: _Stream, other: _Stream) -> None:
    ways = [asyncio.ensure_future(_pump(one[0], other[1])), asyncio.ensure_future(_pump(other[0], one[1]))]
    try:
        await asyncio.gather(*ways)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        other[1].close()


async def _pump(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
    while data := await source.read(1 << 16):
        to.write(data)
        await to.drain()
    if to.can_write_eof():
        to.write_eof()
