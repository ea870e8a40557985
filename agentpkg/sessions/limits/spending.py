"""A bound on what agents spend: of one session, of its package, of its feature, whichever is used up first."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from agentpkg.core import spending
from agentpkg.sessions.limits.base import Breach, Usage

#: seconds between two looks at the others
_LOOK = 2.0

Amounts = Mapping[str, Decimal]


@dataclass
class Spending:
    """What may be spent.

    Args:
        caps: gives them by scope and unit, as they are now.
        others: what was used without this session, by scope.
    """

    caps: Callable[[], spending.Caps]
    others: Callable[[], Mapping[str, Amounts]]
    _next: float = 0.0

    def exceeded(self, usage: Usage) -> Breach | None:
        """``budget`` when one is used up while the agent works; what it has finished by then is kept all the same."""
        if usage.ended or usage.now < self._next:
            return None
        self._next = usage.now + _LOOK
        caps = self.caps()
        if not caps:
            return None
        own = spending.amounts(usage.used)
        spent = {"session": own, **{scope: _sum(own, known) for scope, known in self.others().items()}}
        found = spending.over(caps, spent)
        return Breach("budget", str(found)) if found is not None else None


def _sum(one: Amounts, other: Amounts) -> dict[str, Decimal]:
    return {unit: one.get(unit, Decimal(0)) + other.get(unit, Decimal(0)) for unit in {*one, *other}}
