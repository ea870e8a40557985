"""Ways out that are neither files nor plain TCP: keyrings, sockets of other families, connections by other doors.

At ``basic`` every one works that this kernel has, which proves that each can.
"""

import ctypes
import json
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from agentpkg.isolation import calls
from tests.isolation.support import require, said, session
from tests.support.engine_shop import ShopFactory

KEYCTL, ADD_KEY, SESSION_KEYRING = (250, 248, -3) if os.uname().machine == "x86_64" else (219, 217, -3)
KEY = b"agentpkg-test-of-keyrings"

#: each prints its name when it has worked
ATTACKS = {
    "a key of the user": """
libc = ctypes.CDLL(None)
found = libc.syscall(facts["keyctl"], 10, ctypes.c_long(-3), b"user", facts["key"].encode(), 0)
assert found > 0""",
    "a socket by path": "socket.socket(socket.AF_UNIX).connect(facts['path'])",
    "a datagram by path": "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'x', facts['datagrams'])",
    "one of a pair": """
one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
one.sendto(b'x', facts['datagrams'])""",
    "an abstract socket": "socket.socket(socket.AF_UNIX).connect(chr(0) + facts['abstract'])",
    "mptcp": "socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262).connect(('127.0.0.1', facts['port']))",
    "fast open": """
one = socket.socket()
one.sendto(b'x', 0x20000000, ('127.0.0.1', facts['port']))""",
    "fast open by message": """
one = socket.socket()
one.sendmsg([b'x'], [], 0x20000000, ('127.0.0.1', facts['port']))""",
    "a datagram": "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', facts['udp']))",
    "a socket to the machine's host": "socket.socket(40, socket.SOCK_STREAM)",
    "io_uring": """
libc = ctypes.CDLL(None)
assert libc.syscall(425, 4, ctypes.create_string_buffer(200)) >= 0""",
}

TRY = """\
import ctypes, json, socket, sys
facts = json.loads(sys.argv[1])
for name, code in json.loads(sys.argv[2]).items():
    try:
        exec(code)
    except (OSError, AssertionError) as error:
        print("refused", name, error)
    else:
        print("worked", name)
one, other = socket.socketpair()
one.send(b"x")
print("honest", other.recv(1).decode(), socket.getaddrinfo("localhost", 80)[0][4][1])
"""


@pytest.fixture
def facts() -> Iterator[dict[str, object]]:
    """What of the user's there is to reach."""
    libc = ctypes.CDLL(None)
    # a keyring of this thread of tests alone, which its children inherit
    libc.syscall(KEYCTL, 1, None)
    libc.syscall(ADD_KEY, b"user", KEY, b"value", 5, ctypes.c_long(SESSION_KEYRING))
    with ExitStack() as stack:
        path, datagrams = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        abstract, tcp = socket.socket(socket.AF_UNIX), socket.create_server(("127.0.0.1", 0))
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for one in (path, datagrams, abstract, tcp, udp):
            stack.enter_context(one)
        folder = Path(f"/tmp/agentpkg-calls-{os.getpid()}")
        folder.mkdir()
        stack.callback(folder.rmdir)
        for one, name in ((path, "stream"), (datagrams, "datagrams")):
            one.bind(str(folder / name))
            stack.callback((folder / name).unlink)
        abstract.bind(f"\0agentpkg-calls-{os.getpid()}")
        udp.bind(("127.0.0.1", 0))
        path.listen(), abstract.listen()
        yield {
            "key": KEY.decode(), "keyctl": KEYCTL, "path": str(folder / "stream"),
            "datagrams": str(folder / "datagrams"), "abstract": f"agentpkg-calls-{os.getpid()}",
            "port": tcp.getsockname()[1], "udp": udp.getsockname()[1],
        }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("level", ["basic", "strong", "medium"])
def test_no_call_leads_out(shops: ShopFactory, facts: dict[str, object], level: str) -> None:
    require(level)
    shop = shops(level=level)
    (shop.tools / "try.py").write_text(TRY)
    shop.agent("WP01", f"save src/wp01.txt x; python3 $here/try.py '{json.dumps(facts)}' \"$(cat $here/attacks)\"")
    (shop.tools / "attacks").write_text(json.dumps(ATTACKS))
    row = session(shop)
    lines = said(shop)
    assert (row.outcome, row.commits) == ("completed", 1), (row.reason, lines)
    assert "honest x 80" in lines, lines
    worked = {line.removeprefix("worked ") for line in lines if line.startswith("worked ")}
    if level == "basic":
        # a kernel may lack some of them
        assert worked >= set(ATTACKS) - {"mptcp", "fast open", "fast open by message", "io_uring",
                                         "a socket to the machine's host", "a key of the user"}  # fmt: skip
    elif level == "strong":
        # it goes to the sandbox's own loopback, where nobody listens
        assert worked == {"a datagram"}, lines
    else:
        assert worked == set(), lines


def test_a_machine_whose_numbers_are_unknown_has_no_filter_rather_than_a_wrong_one() -> None:
    assert calls.program("s390x", contained=True) == b""
    assert len(calls.program("x86_64", contained=True)) % 8 == 0
