"""Runs a launch to its end: feeds its reader, keeps its log, applies limits, and leaves nothing of it alive."""

import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agentpkg.core.records import SessionEvent
from agentpkg.harnesses.base import (
    Ask,
    Asking,
    Counting,
    Decided,
    Finishing,
    Hearing,
    Launch,
    Reader,
    Reply,
    Stream,
    StreamEnd,
)
from agentpkg.proc import Child, Load, Meter, Process, reap_adopted, tasks
from agentpkg.sessions.asking import Nobody, People
from agentpkg.sessions.limits import Breach, Limit, Usage, WallTime
from agentpkg.sessions.log import Redactor, SessionLog
from agentpkg.sessions.stream import Lines, together

#: seconds between two looks at limits and wishes to stop
_LOOK = 0.1

#: seconds between two measurements of what its processes take
_MEASURE = 0.5

#: limits on time alone
_TIME = ("timeout", "silence")

#: so many tasks more on the machine are measured at once: a fork storm doubles in less than the time between
_STORM = 100


@dataclass(frozen=True, slots=True)
class Ended:
    """How an agent's process ended.

    Attributes:
        exit_code: a signal's number, negative, when that ended it; None when it could not be ended.
        stop: why it had to stop (``timeout``, a limit's reason, or what ``should_stop`` gave), else None.
        said: what was used and what is allowed, where a limit stopped it.
        killed: it did not end by itself within the grace.
        end: what its stream said of the end, redacted.
        output: bytes it wrote.
        dropped: characters of overlong lines, and log records, that were not kept.
        survivors: pids of its tree that could not be killed.
        seconds: how long it ran.
    """

    exit_code: int | None
    stop: str | None
    said: str
    killed: bool
    end: StreamEnd
    output: int
    dropped: int
    survivors: tuple[int, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a supervisor does while the agent runs; all are called in the runner's own thread, and should be quick.

    Attributes:
        started: called once with the agent's pid.
        recorded: called with every record as it was written to the log.
        tick: called about every ``tick_seconds``.
        should_stop: asked several times a second; a text stops the session and is its reason.
        looked: called several times a second with what the session takes, and why it is being stopped, if it is.
        group: the process group that is asked to stop, where it is not the started process's own.
        told: asked several times a second for new instructions to the agent.
        people: whom it may ask; while it waits for them it is not silent.
    """

    started: Callable[[int], None] = lambda pid: None
    recorded: Callable[[Mapping[str, Any]], None] = lambda record: None
    tick: Callable[[], None] = lambda: None
    should_stop: Callable[[], str | None] = lambda: None
    group: Callable[[], int | None] = lambda: None
    told: Callable[[], Iterable[str]] = tuple
    tick_seconds: float = 1.0
    looked: Callable[[Usage, str | None], None] = lambda usage, stop: None
    people: People = field(default_factory=Nobody)


def run(
    launch: Launch, reader: Reader, *, cwd: Path, env: Mapping[str, str], mark: str, log: SessionLog,
    redactor: Redactor, timeout: float, grace: float, limits: Sequence[Limit] = (),
    hooks: Hooks | None = None, adopted: bool = False, keep: Sequence[int] = (),
    starting: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Ended:  # fmt: skip
    """Runs an agent; nothing of it lives afterwards, also when this raises.

    Args:
        launch: what its harness wants run, wrapped by the isolation if there is one.
        reader: its harness's reader, new.
        cwd: the worktree.
        env: the whole environment; ``launch.env`` is laid over it.
        mark: ``NAME=VALUE`` that ``env`` holds and by which strays are found.
        log: where what it says goes.
        redactor: takes the secrets out of it; one stream each is made from it.
        timeout: seconds it may take.
        grace: seconds between being asked to stop (SIGINT, at half of it SIGTERM) and being killed.
        limits: more bounds.
        hooks: what else to do meanwhile.
        adopted: the caller is a subreaper that runs nothing else: all its descendants belong to the agent.
        keep: descriptors of the caller's that the process gets too.
        starting: entered for the moment of the start; what it raises keeps the agent from being started.

    Raises:
        Lacking: when it cannot be started.
    """
    full = {**env, **launch.env}
    stdin = None if launch.stdin is None else launch.stdin.encode("utf-8", "surrogateescape")
    with starting():
        child = Child(launch.argv, env=full, cwd=cwd, stdin=stdin, keep_stdin=launch.keep_stdin, keep=keep)
    session = _Session(child, reader, log, redactor, grace, hooks or Hooks(), _Gauge(child, adopted))
    bounds = [WallTime(timeout), *limits]
    survivors: list[Process] = []
    try:
        session.hooks.started(child.pid)
        session.watch(bounds)
    finally:
        survivors = child.kill(mark, adopted=adopted)
        session.take(child.drain())
        session.finish()
        child.close()
    session.look_back(bounds)
    return session.ended(tuple(process.pid for process in survivors))


class _Gauge:
    """What the agent's processes take, measured no more often than is worth it."""

    def __init__(self, child: Child, adopted: bool) -> None:
        self._child = child
        self._meter = Meter(lambda: child.tree(adopted=adopted))
        self._next = 0.0
        self._tasks = 0
        self.last = Load()

    def load(self, now: float) -> Load:
        """The newest measurement."""
        if now >= self._next or tasks() > self._tasks + _STORM:
            self.last = self._meter.read()
            reap_adopted(self.last.members)
            self._next, self._tasks = now + _MEASURE, tasks()
        return self.last


class _Session:
    """One run in progress."""

    def __init__(
        self, child: Child, reader: Reader, log: SessionLog, redactor: Redactor, grace: float, hooks: Hooks,
        gauge: _Gauge,
    ) -> None:  # fmt: skip
        self.child, self.reader, self.log, self.hooks, self.grace = child, reader, log, hooks, grace
        self.redactor, self.gauge = redactor, gauge
        self.lines: dict[Stream, Lines] = {name: Lines(redactor.fresh()) for name in ("stdout", "stderr")}
        self.started = self.heard = time.monotonic()
        self.next_tick = self.next_look = self.started
        self.output = 0
        self.stop: Breach | None = None
        self.killed = False
        self.asked: list[tuple[float, int]] = []
        self.done_since: float | None = None
        self.overdue = False

    def watch(self, limits: Sequence[Limit]) -> None:
        """Reads until the agent's process has ended, or has used up its grace."""
        while self.child.exit_code is None:
            self.take(self.child.pump(_LOOK))
            now = time.monotonic()
            if now >= self.next_tick:
                self.next_tick = now + self.hooks.tick_seconds
                self.hooks.tick()
            if now >= self.next_look:
                self.next_look = now + _LOOK
                if self.stop is None:
                    self._instruct()
                    self._hear_people(now)
                self._look(limits, now)
            if (self.stop is not None and self._ask(now)) or self._lingers(now):
                # it may have ended while it was waited for
                self.killed = self.child.exit_code is None
                return

    def _lingers(self, now: float) -> bool:
        """Whether an agent that has nothing more to do stays for too long."""
        if not isinstance(self.reader, Finishing) or not self.reader.finished:
            self.done_since = None
            return False
        self.done_since = now if self.done_since is None else self.done_since
        return self.overdue or now - self.done_since >= self.reader.linger

    def look_back(self, limits: Sequence[Limit]) -> None:
        """The last look at the limits, when all of it is dead: what was used between two looks counts too."""
        if self.stop is None:
            self.stop = _first(limits, self._usage(self.gauge.last, ended=True))

    def _instruct(self) -> None:
        for text in self.hooks.told():
            reply = self.reader.instruct(text) if isinstance(self.reader, Hearing) else None
            if reply is not None:
                self._reply(reply)
            how = "" if reply is not None else "kept for the next try: "
            self._record([SessionEvent("told", self.redactor.redact(how + text))])

    def _ask_people(self, ask: Ask) -> None:
        name = self.hooks.people.ask(ask)
        data = {"question": name, "tool": ask.tool} if name else {"tool": ask.tool}
        self._record([SessionEvent("permission", f"{name or 'asked'}: {ask.text}: {ask.why}", data)])

    def _hear_people(self, now: float) -> None:
        people = self.hooks.people
        for decided in people.decided():
            self._record([SessionEvent("permission", f"{decided.ask.text}: {decided.reason}",
                                       {"decision": "allowed" if decided.allowed else "refused"})])  # fmt: skip
            self._answer(decided)
        if people.waiting:
            self.heard = now

    def _answer(self, decided: Decided) -> None:
        for found in self.reader.decided(decided) if isinstance(self.reader, Asking) else ():
            if isinstance(found, Reply):
                self._reply(found)
            else:
                self._record([found])

    def _look(self, limits: Sequence[Limit], now: float) -> None:
        usage = self._usage(self.gauge.load(now))
        if self.stop is None:
            wish = self.hooks.should_stop()
            found = Breach(wish, "") if wish else _first(limits, usage)
            # what has done its work in time is not late because it stays
            self.overdue = self.done_since is not None and found is not None and found.reason in _TIME
            if found is not None and not self.overdue:
                self.stop = found
                self._begin_to_stop(found, now)
        self.hooks.looked(usage, self.stop.reason if self.stop else None)

    def _usage(self, load: Load, ended: bool = False) -> Usage:
        used = self.reader.used if isinstance(self.reader, Counting) else {}
        return Usage(self.started, time.monotonic(), self.heard, self.child.pid, self.output, load, ended, used)

    def _begin_to_stop(self, stop: Breach, now: float) -> None:
        self.asked = [(now, signal.SIGINT), (now + self.grace / 2, signal.SIGTERM), (now + self.grace, 0)]
        if stop.urgent:
            self.asked = [(now, 0)]
        self._record([SessionEvent("notice", f"asked to stop: {stop}")])

    def _ask(self, now: float) -> bool:
        """Sends the signals that are due; True when asking is over."""
        while self.asked and self.asked[0][0] <= now:
            _, number = self.asked.pop(0)
            if not self.asked:
                return True
            self.child.signal(number, self.hooks.group())
        return False

    def take(self, chunks: Sequence[tuple[str, bytes]]) -> None:
        """Understands what was read."""
        for name, chunk in chunks:
            stream: Stream = "stderr" if name == "stderr" else "stdout"
            self.output += len(chunk)
            self.heard = time.monotonic()
            self._understand(stream, self.lines[stream].feed(chunk))

    def _understand(self, stream: Stream, lines: Sequence[str]) -> None:
        events: list[SessionEvent] = []
        for line in lines:
            for found in self.reader.feed(stream, line):
                if isinstance(found, Reply):
                    self._reply(found)
                elif isinstance(found, Ask):
                    self._ask_people(found)
                else:
                    events.append(found)
        self._record(together(events))

    def _reply(self, reply: Reply) -> None:
        self.child.write(reply.data)
        if reply.close:
            self.child.close_stdin()

    def _record(self, events: Sequence[SessionEvent]) -> None:
        for record in self.log.append(*events) if events else ():
            self.hooks.recorded(record)

    def finish(self) -> None:
        """Understands what the streams still held back."""
        for stream, lines in self.lines.items():
            self._understand(stream, lines.close())
        if self._dropped():
            self._record([SessionEvent("notice", f"{self._dropped()} characters of overlong lines left out")])

    def _dropped(self) -> int:
        return sum(lines.dropped for lines in self.lines.values())

    def ended(self, survivors: tuple[int, ...]) -> Ended:
        """The facts."""
        code = self.child.exit_code
        end = self.reader.end(-signal.SIGKILL if code is None else code)
        safe = replace(
            end, text=self.redactor.redact(end.text), usage=self.redactor.redact_value(end.usage),
            denials=tuple(self.redactor.redact(one) for one in end.denials),
        )  # fmt: skip
        return Ended(
            exit_code=code, stop=self.stop.reason if self.stop else None, said=self.stop.said if self.stop else "",
            killed=self.killed, end=safe, output=self.output, dropped=self._dropped() + self.log.lost,
            survivors=survivors, seconds=time.monotonic() - self.started,
        )  # fmt: skip


def _first(limits: Sequence[Limit], usage: Usage) -> Breach | None:
    """The first limit that is exceeded; all are asked, since some measure while they are."""
    return next((breach for breach in [limit.exceeded(usage) for limit in limits] if breach is not None), None)


def session_mark(session: str) -> str:
    """The entry of the environment that every process of a session carries."""
    return f"AGENTPKG_SESSION={session}"
