"""Which calls of the kernel are refused inside: those that lead past files, namespaces and Landlock.

A program for the kernel's filter of system calls (seccomp(2), linux/filter.h, linux/seccomp.h), as bytes. Refused:

- sockets of families that a network namespace does not contain: ``AF_VSOCK`` leads to the host of a virtual machine, on
  some to a shell of it;
- the kernel's keyrings, since a session's keyring is inherited and belongs to the user;
- ``io_uring``, which makes sockets and whatever else past this filter; programs do without.

Where no namespace stands behind it a connection is refused in every way that Landlock does not see: unix sockets by
path (D-Bus, ssh-agent, docker), datagrams, TCP by another protocol's name (MPTCP) or by sending (``MSG_FASTOPEN``),
listening without an address. Or somebody outside is asked (:mod:`agentpkg.isolation.deputy`): then a socket of unix may
be made, each ``connect``, ``bind`` and ``listen`` waits for an answer, and so do the calls by which names in
``/dev/shm`` are made, opened and removed. IPv6 has one loopback only, which all share, so there is none then.
"""

import enum
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass

_LOAD, _AND, _EQUAL, _ATLEAST, _ANY_BIT, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ASK, _ERRNO = 0x7FFF0000, 0x7FC00000, 0x00050000
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16

_EACCES, _ENOSYS, _EOPNOTSUPP, _EAFNOSUPPORT = 13, 38, 95, 97
_UNIX, _INET, _INET6, _NETLINK = 1, 2, 10, 16
_STREAM, _DATAGRAM, _TYPE_MASK = 1, 2, 0xF
_TCP, _FASTOPEN = 6, 0x20000000

#: options of sockets: sharing a port, the way that packets take, connecting later than asked
_SOL_SOCKET, _SO_REUSEPORT = 1, 15
_IP_LEVEL, _IP_OPTIONS = 0, 4
_TCP_FASTOPEN_CONNECT = 30

#: linux/fcntl.h; O_NOFOLLOW is told by each machine
_ACCESS, _READ_WRITE, _CREATE_ANEW, _HERE = 3, 2, 0o100 | 0o200, 0xFFFFFF9C

#: x86-64 has a second set of numbers from here on (x32)
_X32 = 0x40000000

_Code = list[tuple[int, int, int, int]]


class Sockets(enum.Enum):
    """What becomes of calls about sockets: a namespace contains them, Landlock knows TCP but not who listens without an
    address, the kernel has nothing to say about TCP, or somebody outside is asked."""

    CONTAINED = "contained"
    REFUSED = "refused"
    OPEN = "open"
    ASKED = "asked"


@dataclass(frozen=True, slots=True)
class _Paths:
    """Numbers of calls about paths, and where each has its path's folder: -1 where it has none."""

    openat: int
    nofollow: int
    named: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class _Machine:
    """Numbers of one kind of machine (asm/unistd.h, linux/audit.h); ``refused`` are those for keys and older doors."""

    arch: int
    socket: int
    socketpair: int
    sendto: int
    sendmsg: int
    sendmmsg: int
    setsockopt: int
    #: connect, bind, listen
    ways: tuple[int, int, int]
    refused: tuple[int, ...]
    paths: _Paths | None = None


_IO_URING_SETUP = 425

_X86_64 = _Machine(
    0xC000003E, 41, 53, 44, 46, 307, 54, (42, 49, 50), (248, 249, 250, _IO_URING_SETUP),
    _Paths(257, 0o400000, ((86, -1), (87, -1), (265, 0), (263, 0))),
)  # fmt: skip
#: 102 is socketcall, whose arguments cannot be seen
_I386 = _Machine(
    0x40000003, 359, 360, 369, 370, 345, 366, (362, 361, 363), (286, 287, 288, 102, _IO_URING_SETUP)
)  # fmt: skip
_AARCH64 = _Machine(
    0xC00000B7, 198, 199, 206, 211, 269, 208, (203, 200, 201), (217, 218, 219, _IO_URING_SETUP),
    _Paths(56, 0o100000, ((37, 0), (35, 0))),
)  # fmt: skip
_ARM = _Machine(
    0x40000028, 281, 288, 290, 296, 374, 294, (283, 282, 284), (309, 310, 311, 102, _IO_URING_SETUP)
)  # fmt: skip
_RISCV64 = _Machine(
    0xC00000F3, 198, 199, 206, 211, 269, 208, (203, 200, 201), (217, 218, 219, _IO_URING_SETUP),
    _Paths(56, 0o400000, ((37, 0), (35, 0))),
)  # fmt: skip

#: by ``os.uname().machine``: the machines whose programs it runs
_MACHINES = {"x86_64": (_X86_64, _I386), "aarch64": (_AARCH64, _ARM), "riscv64": (_RISCV64,)}


def program(machine: str, sockets: Sockets) -> bytes:
    """The filter, an array of ``struct sock_filter``; empty for a machine whose numbers are not known.

    Args:
        machine: as ``os.uname().machine`` says it.
    """
    known = _MACHINES.get(machine, ())
    if not known:
        return b""
    code: _Code = [_load(_ARCH)]
    for one in known:
        code += _when(_EQUAL, one.arch, _rules(one, sockets))
    code.append(_refuse(_ENOSYS))
    return b"".join(struct.pack("=HBBI", *step) for step in code)


def _rules(machine: _Machine, sockets: Sockets) -> _Code:
    code: _Code = [_load(_NUMBER)]
    if machine is _X86_64:
        code += _when(_ATLEAST, _X32, [_refuse(_ENOSYS)])
    for number in machine.refused:
        code += _when(_EQUAL, number, [_refuse(_ENOSYS)])
    if sockets is Sockets.CONTAINED:
        return [*code, *_when(_EQUAL, machine.socket, _families()), _allow()]
    code += _when(_EQUAL, machine.socket, _streams(asked=sockets is Sockets.ASKED))
    # one of a pair of datagram sockets can be sent from to any other
    code += _when(_EQUAL, machine.socketpair, [*_kind(), *_when(_EQUAL, _DATAGRAM, [_refuse(_EACCES)]), _allow()])
    for number, flags in ((machine.sendto, 3), (machine.sendmsg, 2), (machine.sendmmsg, 3)):
        fast = _when(_ANY_BIT, _FASTOPEN, [_refuse(_EOPNOTSUPP)])
        code += _when(_EQUAL, number, [_argument(flags), *fast, _allow()])
    code += _when(_EQUAL, machine.setsockopt, _options(asked=sockets is Sockets.ASKED))
    if sockets is Sockets.REFUSED:
        code += _when(_EQUAL, machine.ways[2], [_refuse(_EACCES)])
    return [*code, *(_asked(machine) if sockets is Sockets.ASKED else ()), _allow()]


def _options(asked: bool) -> _Code:
    """Options by which a connection leads elsewhere than its address says, or is made when nobody looks any more."""
    route = [_argument(2), *_when(_EQUAL, _IP_OPTIONS, [_refuse(_EACCES)]), _allow()]
    later = [_argument(2), *_when(_EQUAL, _TCP_FASTOPEN_CONNECT, [_refuse(_EOPNOTSUPP)]), _allow()]
    # two that share a port share what comes to it: nothing happens, and it is told that it did
    shares = [_argument(2), *_when(_EQUAL, _SO_REUSEPORT, [_refuse(0)]), _allow()] if asked else [_allow()]
    levels = ((_IP_LEVEL, route), (_TCP, later), (_SOL_SOCKET, shares))
    return [_argument(1), *(step for level, body in levels for step in _when(_EQUAL, level, body)), _allow()]


def _asked(machine: _Machine) -> _Code:
    code: _Code = [step for number in machine.ways for step in _when(_EQUAL, number, [_ask()])]
    if machine.paths is None:
        return code
    code += _when(_EQUAL, machine.paths.openat, _opened_to_share(machine.paths.nofollow))
    for number, folder in machine.paths.named:
        there = [_ask()] if folder < 0 else [_argument(folder), *_when(_EQUAL, _HERE, [_ask()]), _allow()]
        code += _when(_EQUAL, number, there)
    return code


def _opened_to_share(nofollow: int) -> _Code:
    """Files opened as shm_open(3) and sem_open(3) do it: to read and write, made anew or without following links."""
    anew, plain = _ACCESS | _CREATE_ANEW, _ACCESS | nofollow
    return [
        _argument(2), (_AND, 0, 0, anew), *_when(_EQUAL, _READ_WRITE | _CREATE_ANEW, [_ask()]),
        _argument(2), (_AND, 0, 0, plain), *_when(_EQUAL, _READ_WRITE | nofollow, [_ask()]), _allow(),
    ]  # fmt: skip


def _families() -> _Code:
    return [_argument(0), *_each((_UNIX, _INET, _INET6, _NETLINK), _allow), _refuse(_EAFNOSUPPORT)]


def _streams(asked: bool) -> _Code:
    """TCP, which Landlock decides on, and what the kernel is asked for addresses and interfaces with."""
    tcp = [*_kind(), *_when(_EQUAL, _STREAM, [_argument(2), *_each((0, _TCP), _allow)]), _refuse(_EACCES)]
    path = [*_kind(), *_when(_EQUAL, _STREAM, [_allow()]), _refuse(_EACCES)] if asked else [_refuse(_EACCES)]
    inet = [step for family in ((_INET,) if asked else (_INET, _INET6)) for step in _when(_EQUAL, family, tcp)]
    return [
        _argument(0), *_each((_NETLINK,), _allow), *inet, *_when(_EQUAL, _UNIX, path), _refuse(_EAFNOSUPPORT),
    ]  # fmt: skip


def _kind() -> _Code:
    return [_argument(1), (_AND, 0, 0, _TYPE_MASK)]


def _each(values: Iterable[int], then: Callable[[], tuple[int, int, int, int]]) -> _Code:
    return [step for value in values for step in _when(_EQUAL, value, [then()])]


def _when(test: int, value: int, body: _Code) -> _Code:
    """``body``, jumped over unless the test of what was loaded holds; it has to end by itself, or load nothing new."""
    return [(test, 0, len(body), value), *body]


def _load(offset: int) -> tuple[int, int, int, int]:
    return (_LOAD, 0, 0, offset)


def _argument(index: int) -> tuple[int, int, int, int]:
    """The lower half of an argument; all machines named here are little-endian, and the kernel reads no more of it."""
    return _load(_ARGUMENTS + 8 * index)


def _refuse(number: int) -> tuple[int, int, int, int]:
    return (_RETURN, 0, 0, _ERRNO | number)


def _ask() -> tuple[int, int, int, int]:
    return (_RETURN, 0, 0, _ASK)


def _allow() -> tuple[int, int, int, int]:
    return (_RETURN, 0, 0, _ALLOW)
