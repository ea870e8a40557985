"""What a run waits for: the rest of packages that failed, and the hold after shared failures in a row."""

import time
from collections.abc import Container
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from agentpkg.config import Settings
from agentpkg.core import retrying
from agentpkg.core.chain import rfc3339
from agentpkg.core.model import FailureClass
from agentpkg.core.records import SessionRow
from agentpkg.engine.retries import Again


@dataclass
class Patience:
    """What a run remembers of failures beside the ledger: only what it may forget when it is killed.

    Attributes:
        again: tries after failures that were not the agent's, in a row, by package.
        breaker: the shared failures in a row over all packages.
        last: the newest session that a shared failure ended.
        reviews: how often in a row a reviewer's provider has put a package off, and until when (monotonic).
    """

    again: dict[str, int] = field(default_factory=dict)
    breaker: retrying.Breaker = field(default_factory=retrying.Breaker)
    last: SessionRow | None = None
    reviews: dict[str, tuple[int, float]] = field(default_factory=dict)
    #: what rests -> until when, by the monotonic clock
    _due: dict[str, float] = field(default_factory=dict)

    def heard(self, session: SessionRow) -> bool:
        """Takes note of the end of a session; True when the breaker has counted another shared failure."""
        before = self.breaker
        self.breaker = before.heard(session.id, session.reason_class)
        if session.reason_class is None or session.reason_class.counted:
            self.again.pop(session.wp, None)
        if self.breaker.failures <= before.failures:
            return False
        self.last = session
        return True

    def rest(self, again: Again) -> float:
        """Seconds until a further try is due."""
        if again.session not in self._due:
            self._due[again.session] = time.monotonic() + again.rest - _gone(again.ended_at, again.rest)
        return max(0.0, self._due[again.session] - time.monotonic())

    def put_off(self, wp: str, until: str, settings: Settings) -> bool:
        """Has the review of a package wait until then (RFC 3339); False when that has happened too often."""
        count = self.reviews.get(wp, (0, 0.0))[0] + 1
        rest = (datetime.fromisoformat(until) - datetime.now(UTC)).total_seconds()
        self.reviews[wp] = (count, time.monotonic() + max(0.0, rest))
        return count <= settings.run.environment_retries

    def reviewable_in(self, wp: str) -> float:
        """Seconds until the package may be reviewed."""
        return max(0.0, self.reviews.get(wp, (0, 0.0))[1] - time.monotonic())

    def hold(self, settings: Settings) -> float | None:
        """Seconds until the next session may find out whether a hold is over; None when nothing is held."""
        if not self.breaker.open(settings.run.breaker_failures) or self.last is None:
            return None
        name = f"hold {self.breaker.failures} {self.breaker.probes}"
        if name not in self._due:
            self._due[name] = time.monotonic() + self._pause(settings, self.last)
        return max(0.0, self._due[name] - time.monotonic())

    def given_up(self, settings: Settings) -> bool:
        """The run is held, and all sessions that were to find out whether that is over have failed too."""
        run = settings.run
        spent = self.breaker.probes >= run.breaker_probes and self.breaker.probing is None
        return self.breaker.open(run.breaker_failures) and spent

    def until(self, settings: Settings) -> str | None:
        """When the next session may start while the run is held; RFC 3339, None when it has given up."""
        left = self.hold(settings)
        if left is None or self.given_up(settings):
            return None
        return rfc3339(datetime.now(UTC) + timedelta(seconds=left))

    def keep(self, sessions: Container[str]) -> None:
        """Forgets when others than these rest until."""
        self._due = {name: due for name, due in self._due.items() if name in sessions or name.startswith("hold ")}

    def _pause(self, settings: Settings, last: SessionRow) -> float:
        cause = last.reason_class or FailureClass.ENVIRONMENT
        return retrying.wait(settings.run.backoff, self.breaker.probes + 1, cause, retrying.chance_of(last.id))


def _gone(ended_at: str | None, rest: float) -> float:
    """How much of a rest is over by the wall clock, which may have been set: never more than all, never less than 0."""
    if ended_at is None:
        return rest
    try:
        gone = (datetime.now(UTC) - datetime.fromisoformat(ended_at)).total_seconds()
    except ValueError:
        return rest
    return min(max(gone, 0.0), rest)
