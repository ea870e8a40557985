"""When a failed package is tried again, by whom, and when all trying stops for a while. Pure: no clock, no chance.

Two kinds of failures are kept apart. Those of the agent (its errors, its time, its limits) count against the agent's
retries. Those that are shared (the machine's, the model provider's) count against nobody: every other session would
meet them as well, so after a few in a row the run holds, and lets one session at a time find out whether they are over.
"""

import hashlib
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from agentpkg.core.model import FailureClass


class Backoff(Protocol):
    """How long to wait before another try; ``run.backoff`` of the configuration."""

    @property
    def agent(self) -> float:
        """Seconds after the first failure of an agent."""

    @property
    def environment(self) -> float:
        """Seconds after the first failure of the machine."""

    @property
    def provider(self) -> float:
        """Seconds after the first failure of the model's provider."""

    @property
    def longest(self) -> float:
        """Seconds that no wait is longer than."""

    @property
    def jitter(self) -> float:
        """The share of a wait, in percent, that chance may take off."""


def wait(policy: Backoff, attempt: int, cause: FailureClass, chance: float) -> float:
    """Seconds to wait before the next try: doubled with each one, less a random part.

    Exponential back-off with jitter, so that what failed together does not come back together (M. Brooker,
    *Exponential Backoff And Jitter*, AWS Architecture Blog, 2015: the "equal jitter" kind with a share of one's own).

    Args:
        attempt: how many tries have failed in this way, from 1.
        cause: of the last one.
        chance: from 0 to below 1.
    """
    first = {FailureClass.PROVIDER: policy.provider, FailureClass.ENVIRONMENT: policy.environment}
    # 2 to the 64th is longer than any bound, and still a number
    full = min(policy.longest, first.get(cause, policy.agent) * 2.0 ** min(max(attempt, 1) - 1, 64))
    return full * (1 - policy.jitter / 100 * chance)


def chance_of(session: str) -> float:
    """A number from 0 to below 1 that is a session's own, so that whoever asks gets the same wait."""
    return int.from_bytes(hashlib.sha256(session.encode("utf-8", "surrogatepass")).digest()[:6], "big") / 2.0**48


@dataclass(frozen=True, slots=True)
class Try:
    """One ended session of a package: who it was, and why it failed (None: it did not)."""

    agent: str
    cause: FailureClass | None


def since_planned(tries: Sequence[Try], failures: int) -> list[Try]:
    """The newest tries, back to the first of the ``failures`` that count, with the shared failures around them.

    Args:
        tries: in their order.
        failures: how many count since the package was last planned.
    """
    found: list[Try] = []
    for one in reversed(tries):
        counted = one.cause is not None and one.cause.counted
        if counted and failures == 0:
            break
        failures -= counted
        found.append(one)
    return found[::-1]


def in_a_row(tries: Sequence[Try]) -> int:
    """How many of the newest tries failed in the same way, by the agent's fault or by a shared one, as the newest."""
    last = tries[-1].cause if tries else None
    if last is None:
        return 0
    count = 0
    for one in reversed(tries):
        if one.cause is None or (one.cause.counted, one.cause.shared) != (last.counted, last.shared):
            break
        count += 1
    return count


def next_agent(line: Mapping[str, int], tries: Sequence[Try], closed: Container[str] = ()) -> str | None:
    """Who tries next: the first in line that has retries left and whose provider has not just failed.

    Args:
        line: the package's agent and its fallbacks in order, with the retries of each.
        tries: since the package was last planned, in their order.
        closed: whose provider has said that it does not serve now.

    Returns:
        None when all of them have used up their retries.
    """
    failed = Counter(one.agent for one in tries if one.cause is not None and one.cause.counted)
    left = [name for name, retries in line.items() if failed[name] <= retries]
    last = {one.agent: one.cause for one in tries}
    able = [name for name in left if last.get(name) is not FailureClass.PROVIDER and name not in closed]
    return next(iter(able or left), None)


@dataclass(frozen=True, slots=True)
class Breaker:
    """Counts shared failures in a row over all packages of a run (M. Nygard, *Release It!*: the circuit breaker).

    Attributes:
        failures: in a row.
        probes: sessions that were started to find out whether it is over.
        probing: the session that finds it out, while it runs.
    """

    failures: int = 0
    probes: int = 0
    probing: str | None = None

    def heard(self, session: str, cause: FailureClass | None) -> "Breaker":
        """After the end of a session. Only an end that says nothing of machine and provider changes nothing."""
        if cause is None or cause.counted:
            return Breaker()
        probing = None if session == self.probing else self.probing
        return replace(self, failures=self.failures + cause.shared, probing=probing)

    def probe(self, session: str) -> "Breaker":
        """After a session was started while it is open."""
        return replace(self, probes=self.probes + 1, probing=session)

    def open(self, limit: int) -> bool:
        """So many failures came in a row that starting sessions would only make more."""
        return self.failures >= limit
