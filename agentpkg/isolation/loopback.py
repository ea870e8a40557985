"""A loopback and unix sockets of a session's own at level ``medium``, where no namespace gives them.

For :mod:`agentpkg.isolation.deputy`, outside the walls; nothing of agentpkg is imported. ``bind`` and ``connect`` are
done here, on a duplicate of the caller's socket (pidfd_getfd(2)) and with a copy of the address, so that nothing that
was looked at can be changed before it is used. ``127.0.0.1`` becomes an address of 127.0.0.0/8 that is this session's
alone: nothing of the user's listens there, nobody else's ports are taken, and two sessions may listen on the same port.
A connection leads to what listens on that address, to the ports that are allowed, or to a unix socket in a folder that
the agent may write; nowhere else.
"""

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Callable, Iterable
from typing import Protocol

_libc = ctypes.CDLL(None, use_errno=True)

#: bytes of an address that are looked at
_ADDRESS = 128
_LOOPBACK, _ANY, _SYSTEM_PORTS = b"\x7f\0\0\1", b"\0\0\0\0", 1024


class Question(Protocol):
    """See :class:`agentpkg.isolation.deputy.Question`."""

    task: int
    args: "list[int]"

    def require_waiting(self) -> None:
        """Raises unless it still waits."""

    def memory(self, place: int, size: int) -> bytes:
        """What is in its memory."""

    def file(self, number: int) -> int:
        """A duplicate of a descriptor."""


class Sockets:
    """What the calls about sockets do; each as :data:`agentpkg.isolation.deputy.Does` says.

    Args:
        own: the session's address.
        ports: those of this machine that may be connected to.
        folders: where unix sockets may be connected to.
    """

    def __init__(self, own: str, ports: Iterable[int], folders: Iterable[str]) -> None:
        self._own, self._ports = own, frozenset(ports)
        self._folders = tuple(f"{os.path.realpath(folder)}/" for folder in folders)
        self._address = socket.inet_aton(own)

    def calls(self) -> "dict[str, Callable[[Question], bool | None]]":
        """By name."""
        return {"bind": self._bind, "listen": self._listen, "connect": self._connect}

    def _bind(self, asked: Question) -> "bool | None":
        try:
            mine = _duplicate(asked)
        except OSError:
            return True
        with mine:
            if not _is_tcp(mine):
                # whether a path lies in a folder of the session's is Landlock's to say
                return True
            host, port = _internet(_told(asked))
            if host not in (_ANY, _LOOPBACK, self._address):
                raise OSError(errno.EADDRNOTAVAIL, "not the loopback")
            if 0 < port < _SYSTEM_PORTS:
                raise OSError(errno.EACCES, "a port of the system's")
            mine.bind((self._own, port))
        return None

    def _listen(self, asked: Question) -> None:
        with _duplicate(asked) as mine:
            if not _is_tcp(mine) and mine.family != socket.AF_UNIX:
                raise OSError(errno.EACCES, "not the loopback")
            if _is_tcp(mine) and mine.getsockname()[1] == 0:
                # the kernel would take an address that the network reaches
                mine.bind((self._own, 0))
            mine.listen(asked.args[1] & 0x7FFF)

    def _connect(self, asked: Question) -> None:
        with _duplicate(asked) as mine:
            if _is_tcp(mine):
                way = self._way(_told(asked))
                if _libc.connect(mine.fileno(), way, len(way)) < 0:
                    raise OSError(ctypes.get_errno(), "not connected")
            elif mine.family == socket.AF_UNIX and mine.type == socket.SOCK_STREAM:
                self._by_path(mine, asked)
            else:
                raise OSError(errno.EACCES, "no such way")

    def _way(self, to: bytes) -> bytes:
        if _family(to) == socket.AF_UNSPEC:
            # this gives a connection up
            return bytes(16)
        host, port = _internet(to)
        if host not in (_ANY, _LOOPBACK, self._address):
            raise OSError(errno.EACCES, "no network")
        if _listens(self._address, port):
            return _address_of(self._address, port)
        if host == self._address or port not in self._ports:
            raise OSError(errno.ECONNREFUSED, "nobody listens")
        return _address_of(_LOOPBACK, port)

    def _by_path(self, mine: socket.socket, asked: Question) -> None:
        to = _told(asked)
        path = to[2:].partition(b"\0")[0]
        if _family(to) != socket.AF_UNIX or not path:
            raise OSError(errno.EACCES, "no such way")
        folder = os.open(f"/proc/{asked.task}/cwd", os.O_PATH | os.O_CLOEXEC)
        try:
            asked.require_waiting()
            there = os.open(path, os.O_PATH | os.O_CLOEXEC, dir_fd=folder)
        finally:
            os.close(folder)
        try:
            # the very file that was looked at, wherever it is moved meanwhile
            place = f"/proc/self/fd/{there}"
            if not os.readlink(place).startswith(self._folders):
                raise OSError(errno.EACCES, "not a socket of the session's")
            mine.connect(place)
        finally:
            os.close(there)


def _duplicate(asked: Question) -> socket.socket:
    file = asked.file(asked.args[0])
    try:
        return socket.socket(fileno=file)
    except OSError:
        os.close(file)
        raise


def _told(asked: Question) -> bytes:
    """The address that a call names in its second and third argument."""
    return asked.memory(asked.args[1], min(asked.args[2] & 0xFFFFFFFF, _ADDRESS))


def _is_tcp(one: socket.socket) -> bool:
    return (one.family, one.type, one.proto) == (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)


def _family(address: bytes) -> int:
    if len(address) < 2:
        raise OSError(errno.EINVAL, "no address")
    return int(struct.unpack_from("=H", address)[0])


def _internet(address: bytes) -> "tuple[bytes, int]":
    """Host and port of an address of IPv4."""
    if _family(address) != socket.AF_INET or len(address) < 8:
        raise OSError(errno.EAFNOSUPPORT, "no address of IPv4")
    return address[4:8], int(struct.unpack_from("!H", address, 2)[0])


def _address_of(host: bytes, port: int) -> bytes:
    return struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + host + bytes(8)


def _listens(host: bytes, port: int) -> bool:
    """Whether somebody listens on this very address, not on all of them; from proc_net_tcp of the kernel's manual."""
    wanted = f"{struct.unpack('=I', host)[0]:08X}:{port:04X}"
    with open("/proc/net/tcp", encoding="ascii") as table:
        return any(words[1] == wanted and words[3] == "0A" for words in map(str.split, table))
