"""Hosts that no configuration names: what the policy says of them, and who is asked while a session works.

The proxy's thread asks :meth:`Undecided.decide` and waits there; the thread that talks with people takes what is
:meth:`Undecided.wanted` and brings each answer by :meth:`Undecided.settle`.
"""

import asyncio
import ipaddress
import queue
import socket
from concurrent.futures import Future
from threading import Lock

#: seconds that a connection waits for a person; its program may try again
_PATIENCE = 25.0

#: hosts of one session that people are asked about
_MOST = 100


class Undecided:
    """What becomes of a connection to a host that nobody has named.

    Args:
        policy: ``forbidden``: refused; ``approval``: held until somebody has decided; ``autonomous``: let through.
    """

    def __init__(self, policy: str = "forbidden") -> None:
        self.policy = policy
        self._lock = Lock()
        self._answers: dict[str, Future[bool]] = {}
        self._wanted: queue.SimpleQueue[str] = queue.SimpleQueue()

    async def decide(self, target: str) -> bool | None:
        """Whether ``target`` (``host:port``) may be reached; None: nobody has said so yet."""
        if self.policy != "approval":
            return self.policy == "autonomous"
        answer = self._answer(target)
        if answer is None:
            return False
        try:
            return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(answer)), _PATIENCE)
        except TimeoutError:
            return None

    def wanted(self) -> list[str]:
        """What somebody has to decide on, since the last call."""
        found: list[str] = []
        while not self._wanted.empty():
            found.append(self._wanted.get_nowait())
        return found

    def settle(self, target: str, allowed: bool) -> None:
        """Somebody has decided."""
        answer = self._answer(target)
        if answer is not None and not answer.done():
            answer.set_result(allowed)

    def _answer(self, target: str) -> "Future[bool] | None":
        with self._lock:
            if target not in self._answers:
                if len(self._answers) >= _MOST:
                    return None
                self._answers[target] = Future()
                self._wanted.put(target)
            return self._answers[target]


async def address_of(host: str, port: int, policy: str = "") -> str:
    """An address of a host that nobody has named in the configuration, so that its name says nothing of where it leads.

    Args:
        policy: by which it may be reached; empty: it is one of those below a name that is configured.

    Raises:
        OSError: it has none, or one that leads to this machine; where nobody was asked, to a private network.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(one[4][0]).partition("%")[0] for one in found]
    for address in addresses:
        at = ipaddress.ip_address(address)
        told = policy == "approval" and address == host
        own = at.is_loopback or at.is_link_local or at.is_unspecified or at.is_multicast
        if not told and (own or (policy == "autonomous" and not at.is_global)):
            raise OSError(0, "it leads to this machine or its network; isolation.network.allow may name that")
    return addresses[0]
