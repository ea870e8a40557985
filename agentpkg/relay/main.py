"""The relay process: publishes the outbox, anchors the chains, owns the server, and ends when nobody needs it.

It ends under ``start.lock``, after removing its socket and a last look at the outbox; who commits later finds no
socket, waits for the lock, and starts the next relay. What it cannot publish waits in the outbox: without a server it
ends as well.
"""

import asyncio
import json
import os
import random
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentpkg.bus.access import Settings
from agentpkg.bus.subjects import Unpublishable, body, subject
from agentpkg.core.errors import AgentpkgError
from agentpkg.relay.anchors import Anchors, signer_of
from agentpkg.relay.books import Books
from agentpkg.relay.door import Door
from agentpkg.relay.link import Link
from agentpkg.relay.outbox import Outbox

if TYPE_CHECKING:
    from agentpkg.git.audit import Signer

#: seconds between two looks without a poke
TICK = 0.3
#: seconds it stays after the last thing it was needed for
LINGER = 3.0
#: seconds after the last poke in which a server that cannot be reached is tried again
PATIENCE = 6.0
#: seconds the longest hold lasts
LONGEST_HOLD = 3_600.0
#: seconds between two questions for viewers
_LOOK = 1.0
#: seconds between two commits to the audit refs
_ANCHOR_EVERY = 1.0
#: seconds before the first and before later tries after a failure
_BACK_OFF = (0.1, 2.0)
#: progress messages kept while there is no connection
_SAID = 200


def log(text: str) -> None:
    """Adds a line to ``run/relay.log``, where the process's standard error goes."""
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    sys.stderr.write(f"{moment} {os.getpid()} {text}\n")
    sys.stderr.flush()


def main(state: Path, handed: bytes) -> int:
    """Runs the relay of a state folder to its end; gives the exit code.

    Args:
        handed: JSON: ``{"settings": {…}|null, "message": {…}, "may_sign": bool}``.
    """
    try:
        told = json.loads(handed or b"{}")
        message = told.get("message") or {}
        settings = Settings.from_json(told["settings"]) if told.get("settings") else None
        door = Door.take(state, settings.digest() if settings else None, message)
        if door is not None:
            signer = signer_of(_work_tree(state), log) if told.get("may_sign") else lambda: None
            asyncio.run(Relay(state, door, settings or _own_settings(state), signer).run(message))
    except AgentpkgError as error:
        log(f"{error.message} ({error.hint})")
        return error.exit_code
    except Exception:  # the process's outermost frame: nobody else would hear of it
        log(traceback.format_exc())
        return 1
    return 0


def _own_settings(state: Path) -> Settings:
    """Those of the repository, for a starter that gave none; of a repository that cannot be read, the defaults."""
    from agentpkg.config import load

    return Settings.of(load(_work_tree(state), os.environ).settings.nats)


def _work_tree(state: Path) -> Path:
    common = state.parent
    if common.name == ".git":
        return common.parent
    from agentpkg.git.discover import discover

    try:
        return discover(common).work_tree
    except AgentpkgError:
        return common


class Relay:
    """One run of the process."""

    def __init__(
        self, state: Path, door: Door, settings: Settings, signer: "Callable[[], Signer | None]" = lambda: None
    ) -> None:
        self._door = door
        self._settings = settings
        self._books = Books(state, "outbox")
        self._anchor_books = Books(state, "anchors")
        self._link = Link(state, settings, _work_tree(state))
        self._outbox = Outbox(self._books, self._link, settings.prefix, log)
        self._anchors = Anchors(state, self._anchor_books, log, signer)
        self._anchoring: asyncio.Task[None] | None = None
        self._unanchored = False
        self._wake = asyncio.Event()
        self._said: list[tuple[str, dict[str, Any]]] = []
        self._asked: list[str] = []
        self._answered: list[str] = []
        self._problem: str | None = None
        self._yielding = False
        self._closed = False
        self._version: int | None = None
        self._told: dict[str, Any] = {}
        self._poked = self._needed = time.monotonic()
        self._held = self._retry = self._look = self._anchored = 0.0
        self._failures = 0

    async def run(self, first: dict[str, Any]) -> None:
        """Until nobody needs it. ``first`` is the starter's message."""
        self._open()
        self._hear([first])
        displaced = False
        try:
            while not (displaced := self._door.displaced()):
                await self._tick()
                if self._idle() and not await self._wanted_by_viewers() and await self._end():
                    return
                await self._pause()
            log("the repository was moved or removed")
        finally:
            await self._clean_up(displaced)

    def _open(self) -> None:
        asyncio.get_running_loop().add_reader(self._door.open(), self._on_datagrams)
        self._tell()

    def _on_datagrams(self) -> None:
        self._hear(self._door.messages())

    async def _pause(self) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), TICK)
        except TimeoutError:
            pass
        self._wake.clear()

    # ----------------------------------------------------------------- what it is told

    def _hear(self, messages: list[dict[str, Any]]) -> None:
        for message in messages:
            if "progress" in message:
                self._hear_progress(message["progress"])
            else:
                self._hear_need(message)
        self._wake.set()

    def _hear_need(self, message: dict[str, Any]) -> None:
        self._poked = self._needed = time.monotonic()
        self._retry = 0.0
        self._failures = 0
        self._yielding |= bool(message.get("yield"))
        seconds = message.get("hold")
        if isinstance(seconds, int | float):
            self._held = max(self._held, self._poked + min(seconds, LONGEST_HOLD))
        if isinstance(message.get("ask"), str):
            self._asked.append(message["ask"])

    def _hear_progress(self, said: Any) -> None:
        self._needed = time.monotonic()
        match said:
            case [str(name), dict(payload)] if len(self._said) < _SAID:
                self._said.append((name, payload))

    # ----------------------------------------------------------------- what it does

    async def _tick(self) -> None:
        await self._look_at_ledger()
        self._start_anchoring()
        if time.monotonic() >= self._retry and not self._yielding:
            await self._serve()

    async def _look_at_ledger(self) -> None:
        """Whether somebody has committed since the last look; that is a need."""
        try:
            version = await self._books.ask(lambda ledger: ledger.data_version(), None)
        except AgentpkgError:
            # publishing meets the same error, and tells it
            return
        if version != self._version:
            self._version = version
            self._unanchored = True
            self._needed = time.monotonic()

    async def _serve(self) -> None:
        """Publishes, answers and passes on; a failure is told, and tried again later."""
        from agentpkg.bus.nats import BusDown

        try:
            # a server that is kept for others must be well, too
            if self._asked or time.monotonic() < self._held or self._link.server or await self._outbox.waiting():
                await self._link.ready()
                self._tell()
                await self._outbox.repeat_if_new()
            await self._outbox.publish()
            await self._pass_on()
        except (BusDown, AgentpkgError, OSError) as error:
            self._failed(error)
        else:
            self._failures = 0
            self._say(None)
        self._answered = [*self._answered, *self._asked][-50:]
        self._asked = []
        self._tell()

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        low, high = _BACK_OFF
        pause = min(high, low * 2**self._failures) * random.uniform(0.5, 1.0)
        self._retry = time.monotonic() + pause
        self._said.clear()
        self._say(error.message if isinstance(error, AgentpkgError) else f"no NATS server: {error}")

    async def _pass_on(self) -> None:
        from agentpkg.bus.nats import Message

        said, self._said = self._said, []
        for name, payload in said:
            try:
                message = Message(subject(self._settings.prefix, name), str(payload.get("id")), body(payload))
            except Unpublishable:
                continue
            await (await self._link.ready()).say(message)

    def _start_anchoring(self) -> None:
        if self._unanchored and not self._is_anchoring() and time.monotonic() >= self._anchored + _ANCHOR_EVERY:
            self._unanchored = False
            self._anchored = time.monotonic()
            self._anchoring = asyncio.create_task(self._anchor())

    def _is_anchoring(self) -> bool:
        return self._anchoring is not None and not self._anchoring.done()

    async def _anchor(self) -> None:
        try:
            await self._anchors.append()
        except (AgentpkgError, OSError) as error:
            log(f"audit refs: {error}")

    # ----------------------------------------------------------------- what it says

    def _say(self, problem: str | None) -> None:
        if problem and problem != self._problem:
            log(problem)
        self._problem = problem

    def _tell(self) -> None:
        status = self._status()
        if status != self._told:
            self._door.tell(status)
            self._told = status

    def _status(self) -> dict[str, Any]:
        server = self._link.server
        return {
            "pid": os.getpid(),
            "socket": str(self._door.path),
            "settings": self._settings.digest(),
            "url": server.url if server else None,
            "viewer": str(server.viewer.credentials) if server else None,
            "coordinator": str(server.coordinator.credentials) if server else None,
            "inbox": server.coordinator.inbox if server else None,
            "problem": self._problem,
            "answered": self._answered,
        }

    # ----------------------------------------------------------------- the end

    def _idle(self) -> bool:
        now = time.monotonic()
        if self._yielding:
            return True
        if self._unanchored or self._is_anchoring():
            return False
        if self._problem is not None:
            # for what cannot be done nobody need wait long, not even for a hold; but to find a server deaf takes as
            # long as the patience lasts, and only the next try starts it anew
            return self._failures > 1 and now > self._poked + PATIENCE
        return now > max(self._needed + LINGER, self._held)

    async def _wanted_by_viewers(self) -> bool:
        if self._yielding or self._problem is not None:
            return False
        now = time.monotonic()
        if now < self._look + _LOOK:
            return True
        self._look = now
        if await self._link.viewers():
            self._needed = now
            return True
        return False

    async def _end(self) -> bool:
        """Ends unless somebody came at the last moment."""
        with self._door.last() as mine:
            if not mine:
                return False
            rest = self._close_door()
            if not self._yielding and (rest or await self._something_left()):
                self._open()
                self._hear(rest)
                return False
            await self._clean_up(False)
            return True

    async def _something_left(self) -> bool:
        if self._problem is not None:
            return False
        try:
            return await self._outbox.waiting()
        except AgentpkgError:
            return False

    def _close_door(self) -> list[dict[str, Any]]:
        if self._door.socket is not None:
            asyncio.get_running_loop().remove_reader(self._door.socket)
        return self._door.close()

    async def _clean_up(self, displaced: bool) -> None:
        if self._closed:
            return
        self._closed = True
        self._close_door()
        await self._link.close()
        if self._anchoring is not None:
            await asyncio.wait([self._anchoring])
        self._books.close()
        self._anchor_books.close()
        self._door.leave(displaced)
