"""The HTTP side: threads of the standard library, one script and one turn counter per path prefix."""

import json
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.models import anthropic, chat, google, responses
from tests.support.models.turns import Cut, Fail, Hang, Say, Tell, Turn

#: the end of a request's path -> who answers it
_DIALECTS: Mapping[str, Any] = {
    "/v1/messages": anthropic, "/v1/responses": responses, "/v1/chat/completions": chat,
    ":streamGenerateContent": google, ":generateContent": google,
}  # fmt: skip

#: seconds after which a scripted silence ends by itself
_LONGEST_HANG = 600.0


@dataclass(frozen=True)
class Request:
    """One request as it came.

    Attributes:
        script: whose turn it was.
        side: no turn of the script: titles, classifiers, counts.
    """

    script: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    side: bool = False

    @property
    def text(self) -> str:
        """The whole body as JSON text."""
        return json.dumps(self.body)


@dataclass
class _Script:
    turns: list[Turn]
    loop: bool = False
    taken: int = 0


@dataclass
class ModelServer:
    """Plays scripts until it is closed; a context manager.

    A script that has run out answers ``Done.`` to every further turn.
    """

    model: str = "scripted-1"
    #: what requests beside the script get: titles, commit messages
    aside: str = "ok"
    requests: list[Request] = field(default_factory=list)
    _scripts: dict[str, _Script] = field(default_factory=dict)
    _closed: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> "ModelServer":
        self._http = _Http(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._http.shutdown()
        self._http.server_close()

    def play(self, *turns: Turn, name: str = "main", loop: bool = False) -> str:
        """Sets a script and gives the base URL whose requests it answers; ``loop`` begins anew at its end."""
        self._scripts[name] = _Script(list(turns), loop)
        return f"http://127.0.0.1:{self._http.server_address[1]}/{name}"

    def asked(self, name: str = "main") -> list[Request]:
        """The requests that were turns of a script, in order."""
        return [request for request in self.requests if request.script == name and not request.side]

    # ----------------------------------------------------------------- for the handler

    def take(self, request: Request) -> Turn:
        """The next turn of a request's script."""
        with self._lock:
            self.requests.append(request)
            script = self._scripts.get(request.script)
            if request.side or script is None:
                return (Say(self.aside),)
            script.taken += 1
            if script.loop:
                return script.turns[(script.taken - 1) % len(script.turns)]
            return script.turns[script.taken - 1] if script.taken <= len(script.turns) else (Say("Done."),)

    def hang(self) -> None:
        """Waits for the end of the server."""
        self._closed.wait(_LONGEST_HANG)


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away in the middle are part of the play."""


def _handler(server: ModelServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            """Silent."""

        def do_HEAD(self) -> None:
            self._plain(200, None)

        def do_GET(self) -> None:
            self._plain(200, {"data": [{"id": server.model, "object": "model"}], "object": "list"})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
            path = self.path.partition("?")[0]
            name, _, rest = path.lstrip("/").partition("/")
            if rest.endswith(("count_tokens", ":countTokens")):
                self._plain(200, {"input_tokens": 1000, "totalTokens": 1000})
                return
            if rest.endswith(":streamGenerateContent"):
                # Google's says so by its path alone
                body["stream"] = True
            dialect = next((d for end, d in _DIALECTS.items() if f"/{rest}".endswith(end)), None)
            if dialect is None:
                self._plain(404, {"error": {"message": f"no such endpoint: {path}"}})
                return
            request = Request(name, "POST", path, dict(self.headers), body, dialect.is_side(body))
            self._answer(dialect, body, server.take(request))

        def _answer(self, dialect: Any, body: Mapping[str, Any], turn: Turn) -> None:
            turn = tuple(Say(step.make(json.dumps(body))) if isinstance(step, Tell) else step for step in turn)
            first = turn[0]
            if isinstance(first, Fail):
                more = {} if first.retry_after is None else {"retry-after": str(first.retry_after)}
                self._plain(first.status, dialect.error(first), more)
            elif first == Hang("before"):
                server.hang()
            elif body.get("stream"):
                self._stream(dialect, body, turn)
            elif isinstance(turn[-1], Cut | Hang):
                if isinstance(turn[-1], Hang):
                    server.hang()
                self._break()
            else:
                self._plain(200, dialect.whole(body, turn))

        def _stream(self, dialect: Any, body: Mapping[str, Any], turn: Turn) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            kept = tuple(step for step in turn if not isinstance(step, Hang))
            events: Sequence[bytes] = list(dialect.stream(body, kept))
            unfinished = isinstance(turn[-1], Cut | Hang)
            for event in events[: -dialect.CLOSING] if unfinished else events:
                self._chunk(event)
            if isinstance(turn[-1], Hang):
                server.hang()
            if unfinished:
                self._break()
            else:
                self._chunk(b"")

        def _break(self) -> None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

        def _chunk(self, data: bytes) -> None:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            self.wfile.flush()

        def _plain(self, status: int, body: Any, more: Mapping[str, str] | None = None) -> None:
            data = b"" if body is None else json.dumps(body).encode()
            self.send_response(status)
            for key, value in {"Content-Type": "application/json", **(more or {})}.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    return Handler


def served() -> Iterator[ModelServer]:
    """For a fixture: a server that ends with the test."""
    with ModelServer() as server:
        yield server
