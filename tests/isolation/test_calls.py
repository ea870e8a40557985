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
from tests.support.repos import git

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
    "a service on its port": "socket.create_connection(('127.0.0.1', facts['port'])).close()",
    "a service on the port it has too": """
with socket.create_server(('127.0.0.1', facts['port']), reuse_port=True) as mine:
    mine.shutdown(socket.SHUT_RDWR)
    socket.create_connection(('127.0.0.1', facts['port'])).close()""",
    "the network, listening": """
with socket.socket() as one:
    one.listen()
    assert one.getsockname()[0] == '0.0.0.0'""",
    "a route of its own": "socket.socket().setsockopt(socket.IPPROTO_IP, 4, bytes((131, 7, 4, 10, 0, 0, 1, 1)))",
    "a connection that is made later": "socket.socket().setsockopt(socket.IPPROTO_TCP, 30, 1)",
    "a socket behind a link": """
os.symlink(facts['path'], 'link')
try:
    socket.socket(socket.AF_UNIX).connect('link')
finally:
    os.unlink('link')""",
    "a socket whose address changes": """
# one thread asks for its own socket, another writes the user's over that while it is looked at
libc, own = ctypes.CDLL(None), socket.socket(socket.AF_UNIX)
own.bind('own'), own.listen(500)
harmless, harmful = (struct.pack('=H', 1) + path.encode().ljust(106, bytes(1)) for path in ('own', facts['path']))
place = ctypes.create_string_buffer(harmful, 108)
ended = []
def swap():
    while not ended:
        ctypes.memmove(place, harmful, 108), ctypes.memmove(place, harmless, 108)
threading.Thread(target=swap).start()
reached = 0
for _ in range(150):
    with socket.socket(socket.AF_UNIX) as one:
        if libc.connect(one.fileno(), place, 108) == 0:
            reached += one.getpeername() != 'own'
ended.append(True), own.close(), os.unlink('own')
assert reached""",
    "the user's shared memory": "open(facts['shared']).read()",
    "a socket to the machine's host": "socket.socket(40, socket.SOCK_STREAM)",
    "io_uring": """
libc = ctypes.CDLL(None)
assert libc.syscall(425, 4, ctypes.create_string_buffer(200)) >= 0""",
}

TRY = """\
import ctypes, json, os, socket, struct, sys, threading
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

#: what honest tests do, each of which says so
HONEST = """\
import asyncio, http.server, multiprocessing, os, socket, sys, threading, urllib.request
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import shared_memory
async def talk(server, client):
    async with await server:
        reader, writer = await client
        return (await reader.read()).decode()
async def hello(reader, writer): writer.write(b"hello"), writer.close()
if __name__ == "__main__":
    for how in ("fork", "forkserver"):
        with multiprocessing.get_context(how).Pool(2) as pool: print("honest", how, pool.map(abs, [-1, -2]))
    with ProcessPoolExecutor(1) as pool: print("honest executor", list(pool.map(abs, [-3])))
    one = shared_memory.SharedMemory(create=True, size=9)
    other = shared_memory.SharedMemory(one.name)
    one.buf[0] = 7
    print("honest memory", other.buf[0]), other.close(), one.close(), one.unlink()
    for host in ("127.0.0.1", ""):
        with http.server.ThreadingHTTPServer((host, 0), http.server.BaseHTTPRequestHandler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            try: urllib.request.urlopen(f"http://localhost:{server.server_address[1]}/", timeout=20)
            except urllib.error.HTTPError as error: print("honest server", host, error.code)
            server.shutdown()
    try: socket.create_connection(("127.0.0.1", server.server_address[1]))
    except ConnectionRefusedError: print("honest end")
    there = asyncio.start_unix_server(hello, "u"), asyncio.open_unix_connection("u")
    print("honest path", asyncio.run(talk(*there)))
    os.unlink("u")
"""

HONEST_SAID = {
    "honest fork [1, 2]", "honest forkserver [1, 2]", "honest executor [3]", "honest memory 7",
    "honest server 127.0.0.1 501", "honest server  501", "honest end", "honest path hello", "honest x 80",
}  # fmt: skip


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
        path.listen(200), abstract.listen()
        shared = Path(f"/dev/shm/agentpkg-calls-{os.getpid()}")
        shared.write_text("the user's")
        stack.callback(shared.unlink)
        yield {
            "key": KEY.decode(), "keyctl": KEYCTL, "path": str(folder / "stream"),
            "datagrams": str(folder / "datagrams"), "abstract": f"agentpkg-calls-{os.getpid()}",
            "port": tcp.getsockname()[1], "udp": udp.getsockname()[1], "shared": str(shared),
        }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("level", ["basic", "strong", "medium"])
def test_no_call_leads_out(shops: ShopFactory, facts: dict[str, object], level: str) -> None:
    require(level)
    shop = shops(level=level)
    (shop.tools / "try.py").write_text(TRY)
    (shop.tools / "honest.py").write_text(HONEST)
    attacks = f"python3 $here/try.py '{json.dumps(facts)}' \"$(cat $here/attacks)\""
    closed = "echo closed > src/closed.txt; chmod 0 src/closed.txt"
    shop.agent("WP01", f"save src/wp01.txt x; {closed}; {attacks}; cd $TMPDIR; python3 $here/honest.py")
    (shop.tools / "attacks").write_text(json.dumps(ATTACKS))
    row = session(shop)
    lines = said(shop)
    assert (row.outcome, row.commits) == ("completed", 1), (row.reason, lines)
    assert set(lines) >= HONEST_SAID, lines
    kept = shop.state / "sessions" / row.id / "quarantine.git"
    assert git(kept, "show", "refs/snapshots/end:src/closed.txt") == "closed"
    worked = {line.removeprefix("worked ") for line in lines if line.startswith("worked ")}
    if level == "basic":
        # a kernel may lack some of them
        assert worked >= set(ATTACKS) - {"mptcp", "fast open", "fast open by message", "io_uring",
                                         "a socket to the machine's host", "a key of the user",
                                         "a service on the port it has too", "a route of its own"}  # fmt: skip
    elif level == "strong":
        # these have the sandbox's own loopback alone, where nobody listens
        inside = {"a datagram", "the network, listening", "a connection that is made later"}
        assert worked == inside, lines
    else:
        assert worked == set(), lines


def test_a_machine_whose_numbers_are_unknown_has_no_filter_rather_than_a_wrong_one() -> None:
    assert calls.program("s390x", calls.Sockets.CONTAINED) == b""
    assert len(calls.program("x86_64", calls.Sockets.ASKED)) % 8 == 0
