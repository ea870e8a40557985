"""Remotes behind ssh and https: real git on both sides, a small server with a password, a played ssh."""

import base64
import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from agentpkg.git.control import open_control
from agentpkg.git.discover import discover
from agentpkg.git.remote import Moved, Pushed, Refused, Remote, Unreachable, open_remote
from tests.support.repos import ScratchFactory, commit, git

_PASSWORD = "correct-horse"


class _Handler(BaseHTTPRequestHandler):
    """``git http-backend`` as a CGI program, for whoever knows the password."""

    server: "Host"

    def do_GET(self) -> None:
        if self.server.hangs:
            self.server.ended.wait(30)
            return
        wanted = "Basic " + base64.b64encode(f"me:{_PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") != wanted:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        env = {
            **os.environ, "GIT_PROJECT_ROOT": str(self.server.root), "GIT_HTTP_EXPORT_ALL": "1", "PATH_INFO": path,
            "QUERY_STRING": query, "REQUEST_METHOD": self.command, "REMOTE_USER": "me",
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }  # fmt: skip
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        done = subprocess.run(["git", "http-backend"], input=body, env=env, capture_output=True, check=True)
        head, _, answer = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().splitlines())
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_GET

    def log_message(self, *args: object) -> None:
        pass


class Host(ThreadingHTTPServer):
    """Serves the bare repositories below a folder."""

    daemon_threads = True

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root = root
        self.hangs = False
        self.ended = threading.Event()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with Host(tmp_path / "served") as server:
        (tmp_path / "served").mkdir()
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.ended.set()
        server.shutdown()
        thread.join()


def served(scratch: ScratchFactory, root: Path, address: str) -> tuple[Path, Path]:
    """A repository, and the bare one that its ``origin`` is."""
    repo = scratch({"a": "1"})
    bare = root / "x.git"
    git(repo, "clone", "-q", "--bare", ".", str(bare))
    git(bare, "config", "http.receivepack", "true")
    git(repo, "remote", "add", "origin", address)
    return repo, bare


def opened(repo: Path) -> Remote:
    found = discover(repo)
    return open_remote(found, open_control(found), "origin")


def exercised(repo: Path, bare: Path) -> None:
    """Everything that is asked of a remote: its tip, its objects, a push that lands, one too late, one refused."""
    remote, first = opened(repo), git(bare, "rev-parse", "main")
    assert (remote.tip("main"), remote.tip("other")) == (first, None)
    mine = commit(repo, {"a": "2"}, "mine")
    assert remote.push("main", mine, first) == Pushed()
    assert git(bare, "rev-parse", "main") == mine
    assert remote.push("main", commit(repo, {"a": "3"}, "more"), first) == Moved()
    hook = bare / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho 'main is protected by Ann' >&2\nexit 1\n")
    hook.chmod(0o755)
    refused = remote.push("main", git(repo, "rev-parse", "main"), mine)
    assert isinstance(refused, Refused)
    assert "main is protected by Ann" in refused.reason
    assert git(bare, "rev-parse", "main") == mine


def configured(monkeypatch: pytest.MonkeyPatch, home: Path, text: str) -> None:
    """The user's own configuration."""
    home.mkdir(exist_ok=True)
    (home / "config").write_text(f"[user]\n name = Test User\n email = user@example.org\n{text}")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / "config"))


def test_a_remote_behind_a_password_and_what_is_told_without_it(
    scratch: ScratchFactory, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = f"127.0.0.1:{host.server_port}"
    repo, bare = served(scratch, host.root, f"http://{where}/x.git")
    home = tmp_path / "home"
    with pytest.raises(Unreachable, match="asks for a password, and no credential helper has one") as missing:
        opened(repo).tip("main")
    assert "credential.helper" in missing.value.hint
    # of several helpers each is asked; what they are called with no list of processes shows
    configured(
        monkeypatch, home, f"[credential]\n helper = store --file={home}/none\n helper = store --file={home}/kept\n"
    )
    (home / "kept").write_text(f"http://me:{_PASSWORD}@{where}\n")
    assert not [word for word in opened(repo).git.argv(["x"]) if "store" in word]
    exercised(repo, bare)
    header = base64.b64encode(f"me:{_PASSWORD}".encode()).decode()
    configured(monkeypatch, home, f'[http "http://{where}/"]\n extraHeader = Authorization: Basic {header}\n')
    assert opened(repo).tip("main") == git(bare, "rev-parse", "main")
    assert header not in " ".join(opened(repo).git.argv(["x"]))
    configured(monkeypatch, home, "")
    git(repo, "remote", "set-url", "origin", f"http://me:wrong-secret@{where}/x.git")
    with pytest.raises(Unreachable, match="does not take the credentials") as wrong:
        opened(repo).tip("main")
    host.hangs = True
    with pytest.raises(Unreachable, match=r"did not answer within 0\.5 s") as silent:
        replace(opened(repo), ask=0.5).tip("main")
    git(repo, "remote", "set-url", "origin", "http://me:wrong-secret@127.0.0.1:1/x.git")
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1") as nobody:
        opened(repo).tip("main")
    for told in (missing, wrong, silent, nobody):
        assert "secret" not in f"{told.value.message} {told.value.hint} {told.value.details}"


def test_a_remote_behind_ssh_and_what_ssh_says_where_it_fails(
    scratch: ScratchFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo, bare = served(scratch, tmp_path, f"ssh://me@host.invalid{tmp_path}/x.git")
    ssh = tmp_path / "ssh"
    ssh.write_text('#!/bin/sh\nfor last; do :; done\nexec sh -c "$last"\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(ssh))
    exercised(repo, bare)
    for said, meant in (
        ("me@host.invalid: Permission denied (publickey).", "it takes none of the ssh keys"),
        ("Host key verification failed.", "ssh does not know its host"),
        ("ssh: Could not resolve hostname host.invalid", "Could not resolve hostname host.invalid"),
    ):
        ssh.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 255\n")
        with pytest.raises(Unreachable, match=meant):
            opened(repo).tip("main")
