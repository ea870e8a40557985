"""What agents have used, what they may, and what is still to be expected. Pure.

Only what an agent's program reports is counted. What it does not report is unknown, and unknown is never taken for 0.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

#: what is counted, as keys of a session's usage and of the configuration, with the unit for people
TOKENS, COST = "tokens", "cost_usd"
UNITS: Mapping[str, str] = {TOKENS: "tokens", COST: "USD"}

#: all that a model reads and writes; harnesses whose programs count cached input apart say so by these keys
_PARTS = ("input_tokens", "output_tokens", "cached_input_tokens", "cache_written_tokens")

#: of a budget, from the narrowest to the widest
SCOPES = ("session", "package", "feature")

#: for each scope the most of each unit, where there is a bound
Caps = Mapping[str, Mapping[str, Decimal]]


@dataclass(frozen=True, slots=True)
class Spent:
    """What some sessions have used together.

    Attributes:
        amounts: what is known, by unit; a unit that no session has told is missing.
        unknown: how many sessions have not told it, by unit.
    """

    amounts: Mapping[str, Decimal]
    unknown: Mapping[str, int]
    sessions: int = 0


def amounts(usage: Mapping[str, Any]) -> dict[str, Decimal]:
    """What one session's usage says of each unit."""
    # less than nothing tells nothing, and gives nothing back
    told = {key: n for key in ("total_tokens", *_PARTS) if isinstance(n := usage.get(key), int) and n >= 0}
    tokens = told.get("total_tokens", sum(told.values()) if told else None)
    found = {TOKENS: Decimal(tokens)} if tokens is not None else {}
    try:
        cost = Decimal(str(usage[COST]))
    except (KeyError, InvalidOperation):
        return found
    return {**found, COST: cost} if cost.is_finite() and cost >= 0 else found


def together(usages: Iterable[Mapping[str, Any]]) -> Spent:
    """What sessions have used together."""
    each = [amounts(usage) for usage in usages]
    known = {unit: [one[unit] for one in each if unit in one] for unit in UNITS}
    return Spent(
        {unit: sum(found, Decimal(0)) for unit, found in known.items() if found},
        {unit: len(each) - len(found) for unit, found in known.items()}, len(each),
    )  # fmt: skip


def summed(parts: Iterable[Spent]) -> Spent:
    """Several of them as one."""
    each = list(parts)
    known = {unit: [one.amounts[unit] for one in each if unit in one.amounts] for unit in UNITS}
    return Spent(
        {unit: sum(found, Decimal(0)) for unit, found in known.items() if found},
        {unit: sum(one.unknown[unit] for one in each) for unit in UNITS}, sum(one.sessions for one in each),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Over:
    """A budget that is used up.

    Attributes:
        scope: ``session``, ``package`` or ``feature``.
    """

    scope: str
    unit: str
    spent: Decimal
    cap: Decimal

    def __str__(self) -> str:
        return f"the {self.scope} has used {shown(self.spent)} of {shown(self.cap)} {UNITS[self.unit]}"

    @property
    def key(self) -> str:
        """The key of the configuration that sets it."""
        return f"budget.{self.scope}.{self.unit}"


def over(caps: Caps, spent: Mapping[str, Mapping[str, Decimal]]) -> Over | None:
    """The first budget that is used up.

    Args:
        spent: by scope and unit, as far as it is known.
    """
    for scope in SCOPES:
        for unit, cap in caps.get(scope, {}).items():
            used = spent.get(scope, {}).get(unit)
            if used is not None and used >= cap:
                return Over(scope, unit, used, cap)
    return None


def left(caps: Caps, spent: Mapping[str, Mapping[str, Decimal]]) -> dict[str, Decimal]:
    """What one more session may use of each unit that is bounded."""
    found: dict[str, Decimal] = {}
    for scope in SCOPES:
        for unit, cap in caps.get(scope, {}).items():
            rest = max(Decimal(0), cap - spent.get(scope, {}).get(unit, Decimal(0)))
            found[unit] = min(rest, found.get(unit, rest))
    return found


def expected(
    done: Mapping[str, Mapping[str, Decimal]], waiting: Sequence[str], estimates: Mapping[str, int]
) -> dict[str, Decimal]:
    """What packages will use, if they use what the finished ones did: by estimate where all have one, else by head.

    Args:
        done: what each finished package has used.
        waiting: the packages that it is asked for.
        estimates: seconds, where there are any.

    Returns:
        Only units of which something is known.
    """
    found = {}
    for unit in UNITS:
        known = [wp for wp, used in done.items() if unit in used]
        if not known:
            continue
        by_estimate = all(estimates.get(wp) for wp in (*known, *waiting))
        weight = {wp: estimates[wp] if by_estimate else 1 for wp in (*known, *waiting)}
        rate = sum(done[wp][unit] for wp in known) / Decimal(sum(weight[wp] for wp in known))
        found[unit] = _rounded(rate * sum(weight[wp] for wp in waiting), unit)
    return found


def _rounded(amount: Decimal, unit: str) -> Decimal:
    return amount.quantize(Decimal("0.0001") if unit == COST else Decimal(1))


def shown(amount: Decimal) -> str:
    """An amount as plain text, without an exponent and without zeros at its end."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def as_json(found: Mapping[str, Decimal]) -> dict[str, int | str | None]:
    """Amounts as JSON: tokens as a number, money as text; null for what is unknown."""
    tokens, cost = found.get(TOKENS), found.get(COST)
    return {TOKENS: None if tokens is None else int(tokens), COST: None if cost is None else shown(cost)}
