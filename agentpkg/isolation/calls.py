"""Which calls of the kernel are refused inside: those that lead past files, namespaces and Landlock.

A program for the kernel's filter of system calls (seccomp(2), linux/filter.h, linux/seccomp.h), as bytes. Refused:

- sockets of families that a network namespace does not contain: ``AF_VSOCK`` leads to the host of a virtual machine, on
  some to a shell of it;
- the kernel's keyrings, since a session's keyring is inherited and belongs to the user;
- ``io_uring``, which makes sockets and whatever else past this filter; programs do without.

Where no namespace stands behind it (``contained`` false) a connection is refused in every way that Landlock does not
see: unix sockets by path (D-Bus, ssh-agent, docker), datagrams, TCP by another protocol's name (MPTCP) or by sending
(``MSG_FASTOPEN``).
"""

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass

_LOAD, _AND, _EQUAL, _ATLEAST, _ANY_BIT, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16

_EACCES, _ENOSYS, _EOPNOTSUPP, _EAFNOSUPPORT = 13, 38, 95, 97
_UNIX, _INET, _INET6, _NETLINK = 1, 2, 10, 16
_STREAM, _DATAGRAM, _TYPE_MASK = 1, 2, 0xF
_TCP, _FASTOPEN = 6, 0x20000000

#: x86-64 has a second set of numbers from here on (x32)
_X32 = 0x40000000

_Code = list[tuple[int, int, int, int]]


@dataclass(frozen=True, slots=True)
class _Machine:
    """Numbers of one kind of machine (asm/unistd.h, linux/audit.h); ``refused`` are those for keys and older doors."""

    arch: int
    socket: int
    socketpair: int
    sendto: int
    sendmsg: int
    sendmmsg: int
    refused: tuple[int, ...]


_IO_URING_SETUP = 425

_X86_64 = _Machine(0xC000003E, 41, 53, 44, 46, 307, (248, 249, 250, _IO_URING_SETUP))
#: 102 is socketcall, whose arguments cannot be seen
_I386 = _Machine(0x40000003, 359, 360, 369, 370, 345, (286, 287, 288, 102, _IO_URING_SETUP))
_AARCH64 = _Machine(0xC00000B7, 198, 199, 206, 211, 269, (217, 218, 219, _IO_URING_SETUP))
_ARM = _Machine(0x40000028, 281, 288, 290, 296, 374, (309, 310, 311, 102, _IO_URING_SETUP))
_RISCV64 = _Machine(0xC00000F3, 198, 199, 206, 211, 269, (217, 218, 219, _IO_URING_SETUP))

#: by ``os.uname().machine``: the machines whose programs it runs
_MACHINES = {"x86_64": (_X86_64, _I386), "aarch64": (_AARCH64, _ARM), "riscv64": (_RISCV64,)}


def program(machine: str, contained: bool) -> bytes:
    """The filter, an array of ``struct sock_filter``; empty for a machine whose numbers are not known.

    Args:
        machine: as ``os.uname().machine`` says it.
        contained: network and processes are in namespaces of their own.
    """
    known = _MACHINES.get(machine, ())
    if not known:
        return b""
    code: _Code = [_load(_ARCH)]
    for one in known:
        code += _when(_EQUAL, one.arch, _rules(one, contained))
    code.append(_refuse(_ENOSYS))
    return b"".join(struct.pack("=HBBI", *step) for step in code)


def _rules(machine: _Machine, contained: bool) -> _Code:
    code: _Code = [_load(_NUMBER)]
    if machine is _X86_64:
        code += _when(_ATLEAST, _X32, [_refuse(_ENOSYS)])
    for number in machine.refused:
        code += _when(_EQUAL, number, [_refuse(_ENOSYS)])
    code += _when(_EQUAL, machine.socket, _families() if contained else _streams())
    if not contained:
        # one of a pair of datagram sockets can be sent from to any other
        code += _when(_EQUAL, machine.socketpair, [*_kind(), *_when(_EQUAL, _DATAGRAM, [_refuse(_EACCES)]), _allow()])
        for number, flags in ((machine.sendto, 3), (machine.sendmsg, 2), (machine.sendmmsg, 3)):
            fast = _when(_ANY_BIT, _FASTOPEN, [_refuse(_EOPNOTSUPP)])
            code += _when(_EQUAL, number, [_argument(flags), *fast, _allow()])
    return [*code, _allow()]


def _families() -> _Code:
    return [_argument(0), *_each((_UNIX, _INET, _INET6, _NETLINK), _allow), _refuse(_EAFNOSUPPORT)]


def _streams() -> _Code:
    """TCP, which Landlock decides on, and what the kernel is asked for addresses and interfaces with."""
    tcp = [*_kind(), *_when(_EQUAL, _STREAM, [_argument(2), *_each((0, _TCP), _allow)]), _refuse(_EACCES)]
    inet = [step for family in (_INET, _INET6) for step in _when(_EQUAL, family, tcp)]
    return [
        _argument(0), *_each((_NETLINK,), _allow), *inet, *_when(_EQUAL, _UNIX, [_refuse(_EACCES)]),
        _refuse(_EAFNOSUPPORT),
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


def _allow() -> tuple[int, int, int, int]:
    return (_RETURN, 0, 0, _ALLOW)
