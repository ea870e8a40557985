"""The way to the network: none but to what is allowed, each decision told."""

import asyncio
import http.server
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentpkg.core.hosts import Target, parse
from agentpkg.engine import attach
from agentpkg.engine.asking import approvals
from agentpkg.engine.dispatching import dispatch
from agentpkg.isolation.proxy import Proxy
from agentpkg.isolation.undecided import address_of
from tests.isolation.support import require, said, session
from tests.support.engine_shop import ShopFactory
from tests.support.wait import until

#: an address of this machine that no shorthand means, so that it stands for another one
REMOTE = "127.0.0.2"


class _Pages(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        via, hosts = self.headers.get("Proxy-Connection", "nothing"), self.headers.get_all("Host")
        body = f"page {self.path} via {via} of {hosts}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def serve(host: str) -> http.server.ThreadingHTTPServer:
    server = http.server.ThreadingHTTPServer((host, 0), _Pages)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    return server


@pytest.fixture
def servers() -> Iterator[tuple[int, int, int]]:
    """Ports of a far server, of another far one, and of a service of this machine."""
    made = [serve(REMOTE), serve(REMOTE), serve("127.0.0.1")]
    yield tuple(server.server_port for server in made)  # type: ignore[misc]
    for server in made:
        server.shutdown()
        server.server_close()


GET = """\
import sys, urllib.request
try:
    print("got", urllib.request.urlopen(sys.argv[1], timeout=20).read().decode())
except OSError as error:
    print("failed", sys.argv[1], getattr(error, "code", error))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("level", "where"), [("strong", "isolation"), ("strong", "agent"), ("medium", "isolation")])
def test_what_is_allowed_can_be_reached_and_nothing_else(
    shops: ShopFactory, servers: tuple[int, int, int], level: str, where: str
) -> None:
    require(level)
    far, other, near = servers
    shop = shops(level=level)
    allowed = [f"{REMOTE}:{far}", f"tcp:127.0.0.1:{near}"]
    config = shop.repo / ".kittify" / "config.yaml"
    text = config.read_text()
    if where == "isolation":
        text = text.replace("isolation: {", f"isolation: {{network: {{allow: {json.dumps(allowed)}}}, ")
    else:
        text = text.replace("{harness: command,", f"{{harness: command, network: {json.dumps(allowed)},")
    config.write_text(text)
    (shop.tools / "get.py").write_text(GET)
    urls = (f"http://{REMOTE}:{far}/a?b", f"http://{REMOTE}:{other}/c", f"http://127.0.0.1:{near}/d")
    tries = "; ".join(f"python3 $here/get.py {url}" for url in urls)
    shop.agent("WP01", f"save src/wp01.txt x; {tries}")
    row = session(shop)
    lines = said(shop)
    assert row.outcome == "completed", (row.reason, lines)
    assert f"got page /a?b via nothing of ['{REMOTE}:{far}']" in lines
    assert f"failed {urls[1]} 403" in lines
    assert f"got page /d via nothing of ['127.0.0.1:{near}']" in lines
    told = {line for line in lines if line.startswith("network: ")}
    # where there is no namespace the agent goes to services of this machine by itself
    near_is_told = {f"network: allowed tcp:127.0.0.1:{near}"} if level == "strong" else set()
    assert told == {f"network: allowed {REMOTE}:{far}", f"network: refused {REMOTE}:{other}", *near_is_told}


def test_without_an_entry_there_is_no_way_out_at_all(shops: ShopFactory, servers: tuple[int, int, int]) -> None:
    require("strong")
    shop = shops(level="strong")
    (shop.tools / "get.py").write_text(GET)
    shop.agent("WP01", f"save src/wp01.txt x; python3 $here/get.py http://{REMOTE}:{servers[0]}/; env")
    assert session(shop).outcome == "completed"
    lines = said(shop)
    assert any(line.startswith(f"failed http://{REMOTE}") for line in lines)
    assert not any("PROXY" in line for line in lines)


# --------------------------------------------------------------------------- the proxy by itself


@pytest.fixture
def proxy(servers: tuple[int, int, int]) -> Iterator[Proxy]:
    made = Proxy([parse(f"{REMOTE}:{servers[0]}"), parse(f"{REMOTE}:1")])
    made.start()
    yield made
    made.stop()
    assert not made.folder.exists()


def ask(proxy: Proxy, request: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(proxy.folder / "proxy.sock"))
        client.sendall(request)
        answer = b""
        while chunk := client.recv(4096):
            answer += chunk
            if b"established" in answer and answer.endswith(b"\r\n\r\n"):
                client.sendall(b"GET /tunnel HTTP/1.0\r\n\r\n")
        return answer


def test_a_tunnel_leads_to_the_allowed_host_alone(proxy: Proxy, servers: tuple[int, int, int]) -> None:
    assert b"page /tunnel" in ask(proxy, f"CONNECT {REMOTE}:{servers[0]} HTTP/1.1\r\n\r\n".encode())
    assert b"403 Forbidden" in ask(proxy, f"CONNECT {REMOTE}:{servers[1]} HTTP/1.1\r\n\r\n".encode())
    assert b"502 Bad Gateway" in ask(proxy, f"CONNECT {REMOTE}:1 HTTP/1.1\r\n\r\n".encode())
    assert [(d.allowed, bool(d.problem)) for d in proxy.decisions()] == [(True, False), (False, False), (True, True)]


def test_the_host_that_was_decided_on_is_the_one_that_is_asked(proxy: Proxy, servers: tuple[int, int, int]) -> None:
    lines = (f"GET http://{REMOTE}:{servers[0]}/x HTTP/1.1", "Host: inner.example.org", "HOST : other.example.org",
             "A: b", " folded: c", "", "")  # fmt: skip
    answer = ask(proxy, "\r\n".join(lines).encode())
    assert f"of ['{REMOTE}:{servers[0]}']".encode() in answer, answer


def test_a_name_below_one_that_is_allowed_does_not_lead_to_this_machine(servers: tuple[int, int, int]) -> None:
    # every name below localhost means this machine (RFC 6761), as one that somebody else serves may
    proxy = Proxy([parse(f"*.localhost:{servers[2]}")])
    proxy.start()
    try:
        assert b"502 Bad Gateway" in ask(proxy, f"CONNECT a.localhost:{servers[2]} HTTP/1.1\r\n\r\n".encode())
    finally:
        proxy.stop()


@pytest.mark.parametrize(
    "request_",
    [b"", b"\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"CONNECT x HTTP/1.1\r\n\r\n", b"CONNECT a b:1 HTTP/1.1\r\n\r\n",
     b"CONNECT \x1b[2J:1 HTTP/1.1\r\n\r\n", b"GET file:///etc/passwd HTTP/1.1\r\n\r\n", b"x" * 200_000],
)  # fmt: skip
def test_nonsense_gets_no_answer_and_harms_nobody(proxy: Proxy, servers: tuple[int, int, int], request_: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(str(proxy.folder / "proxy.sock"))
        try:
            client.sendall(request_)
            client.shutdown(socket.SHUT_WR)
            assert client.recv(100) == b""
        except (BrokenPipeError, ConnectionResetError):
            pass
    assert proxy.decisions() == []
    assert b"page" in ask(proxy, f"GET http://{REMOTE}:{servers[0]}/ HTTP/1.1\r\n\r\n".encode())


# --------------------------------------------------------------------------- targets


@pytest.mark.parametrize(
    ("text", "target"),
    [("API.example.org:443", Target("api.example.org", 443)), ("*.example.org:443", Target("*.example.org", 443)),
     ("tcp:127.0.0.1:5432", Target("127.0.0.1", 5432, True)), ("localhost:80", Target("localhost", 80, True)),
     ("[2001:db8::1]:443", Target("2001:db8::1", 443))],
)  # fmt: skip
def test_a_target_is_read(text: str, target: Target) -> None:
    assert parse(text) == target


@pytest.mark.parametrize("text", ["", "host", "host:", ":80", "host:0", "host:65536", "host:http", "http://a:80",
                                  "a b:80", "*:443", "a/b:80", "tcp:example.org:80", "host:²"])  # fmt: skip
def test_what_is_no_target_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"host:port|tcp:"):
        parse(text)


@pytest.mark.parametrize(
    ("target", "host", "port", "admitted"),
    [("a.org:443", "A.org.", 443, True), ("a.org:443", "a.org", 80, False), ("a.org:443", "xa.org", 443, False),
     ("*.a.org:443", "b.a.org", 443, True), ("*.a.org:443", "a.org", 443, False),
     ("*.a.org:443", "xa.org", 443, False), ("a.org:443", "a.org.evil.org", 443, False)],
)  # fmt: skip
def test_a_target_admits_what_it_names(target: str, host: str, port: int, admitted: bool) -> None:
    assert parse(target).admits(host, port) is admitted


def test_the_inner_end_needs_nothing_of_agentpkg() -> None:
    from agentpkg.isolation import forward

    assert "agentpkg." not in Path(forward.__file__).read_text().split('"""', 2)[2]


# --------------------------------------------------------------------------- what nobody has named


@pytest.mark.slow
@pytest.mark.parametrize("level", ["strong", "medium"])
def test_a_host_that_nobody_named_waits_for_a_person(
    shops: ShopFactory, servers: tuple[int, int, int], level: str
) -> None:
    require(level)
    shop = shops(level=level)
    (shop.repo / ".kittify" / "governance.yaml").write_text("actions: {network: approval}\n")
    (shop.tools / "get.py").write_text(GET)
    far, other, near = servers
    urls = [f"http://{REMOTE}:{far}/a", f"http://{REMOTE}:{other}/b", f"http://localhost:{near}/c"]
    tries = "; ".join(f"env -u no_proxy -u NO_PROXY python3 $here/get.py {url}" for url in (*urls, urls[0]))
    shop.agent("WP01", f"save src/wp01.txt x; {tries}")
    project = shop.project
    begun = dispatch.start(project, project.good_feature(shop.feature), "WP01", dispatch.Wish())
    for option in ("yes", "no", "yes"):
        until(lambda: project.ledger.questions(open_only=True), what="a question")
        [question] = project.ledger.questions(open_only=True)
        assert question.text.startswith("scripted asks: connect to "), question
        approvals.answer(shop.project, question.number, option, None)
    row = attach.wait(shop.project, begun.session.id)
    lines = said(shop)
    assert row.outcome == "completed", (row.reason, lines)
    assert len([line for line in lines if line.startswith("got page /a via nothing")]) == 2, lines
    assert f"failed {urls[1]} 403" in lines
    # a name that leads to this machine is another thing than what a person has read
    assert f"failed {urls[2]} 502" in lines
    assert len(project.ledger.questions(shop.feature)) == 3


@pytest.mark.parametrize(
    ("host", "policy", "good"),
    [("127.0.0.1", "approval", True), ("localhost", "approval", False), ("127.0.0.1", "autonomous", False),
     ("10.1.2.3", "autonomous", False), ("10.1.2.3", "approval", True), ("169.254.169.254", "autonomous", False),
     ("9.9.9.9", "autonomous", True)],
)  # fmt: skip
def test_where_an_unnamed_host_may_lead(host: str, policy: str, good: bool) -> None:
    if good:
        assert asyncio.run(address_of(host, 80, policy)) == host
        return
    with pytest.raises(OSError, match="leads to this machine"):
        asyncio.run(address_of(host, 80, policy))
