"""``worktree.setup`` of a session: its commands run within the session's walls and bounds, before the agent."""

import shlex
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from agentpkg.engine.supervising.bounds import Bounds
from agentpkg.engine.supervising.inside import Inside
from agentpkg.engine.supervising.plan import SessionPlan
from agentpkg.proc import Child, Meter
from agentpkg.proc import run as run_process
from agentpkg.sessions.limits import Breach, Limit, Usage

#: seconds that each command may take
_SECONDS = 1800.0

#: seconds between two measurements of what it takes
_MEASURE = 0.5


@dataclass(frozen=True)
class SettingUp:
    """The set-up of one session.

    Attributes:
        note: puts a line of some kind into the session's log.
        wanted: why the session is to stop, if it is.
        starting: entered for the moment of each start.
    """

    plan: SessionPlan
    inside: Inside
    bounds: Bounds
    note: Callable[[str, str], None]
    wanted: Callable[[], str | None]
    starting: Callable[[], AbstractContextManager[None]]

    def trouble(self) -> str | None:
        """Runs the commands; gives what went wrong, None when all went well or the session is to stop."""
        return next((said for command in self.plan.setup if (said := self._run(command))), None)

    def _run(self, command: str) -> str | None:
        self.note("tool", f"worktree.setup: {command}")
        wrapped = self.inside.wrap(("/bin/sh", "-c", command))
        watch = _Watch(self.bounds, self.wanted, self.bounds.chosen())
        done = run_process(
            wrapped.argv, env=wrapped.env, cwd=self.plan.worktree, timeout=_SECONDS, merge=True,
            cancelled=watch.is_to_stop, starting=self.starting, started=watch.begin, keep=wrapped.keep,
        )  # fmt: skip
        output = done.stdout.decode("utf-8", "replace")
        self.bounds.rooms.hear(output)
        if trouble := self.inside.trouble(wrapped, done.exit_code, output):
            return trouble
        self.note("output", output[-4000:])
        name = f"worktree.setup ({shlex.quote(command)})"
        if watch.breach is not None:
            return f"{name} was stopped: {watch.breach}"
        if done.exit_code == 0:
            return None
        last = output.strip().splitlines()[-1:] or ["it said nothing"]
        return f"{name} ended with {done.exit_code}: {last[0][:300]}"


@dataclass
class _Watch:
    """Looks at one command while it runs."""

    bounds: Bounds
    wanted: Callable[[], str | None]
    limits: list[Limit]
    breach: Breach | None = None
    _child: Child | None = None
    _meter: Meter | None = None
    _next: float = 0.0
    _begun: float = field(default_factory=time.monotonic)

    def begin(self, child: Child) -> None:
        self._child, self._meter = child, Meter(lambda: child.tree(adopted=True))

    def is_to_stop(self) -> bool:
        self.bounds.heart.beat("setup")
        if self.wanted() is not None:
            return True
        now = time.monotonic()
        if now >= self._next and self._child is not None and self._meter is not None:
            self._next = now + _MEASURE
            self.bounds.rooms.look()
            # it may be silent for as long as it likes
            usage = Usage(self._begun, now, now, self._child.pid, 0, self._meter.read())
            self.breach = next((breach for limit in self.limits if (breach := limit.exceeded(usage))), None)
        return self.breach is not None
