"""What an ACP agent tells of its tokens and money: with the end of a turn, in updates, and goose in words of its own.

Amounts of money are a conversation's, so that one that goes on from an earlier try begins with what that has used.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from agentpkg.harnesses.programs import mapping, money, whole

Said = Mapping[str, Any]

_COUNTS = {"inputTokens": "input_tokens", "outputTokens": "output_tokens", "cachedReadTokens": "cached_input_tokens",
           "cachedWriteTokens": "cache_written_tokens", "thoughtTokens": "reasoning_tokens",
           # as goose spells them
           "cacheReadTokens": "cached_input_tokens", "cacheWriteTokens": "cache_written_tokens"}  # fmt: skip

#: agents that go on counting the money of a conversation, and do not say where they begin
_OF_ALL = {"OpenCode"}

#: what goose says of a whole conversation
_TOTALS = {"accumulatedInputTokens": "input_tokens", "accumulatedOutputTokens": "output_tokens"}


class Usage:
    """Of one session.

    Attributes:
        told: what it has told so far, without what the conversation had used before.
    """

    def __init__(self) -> None:
        self.told: dict[str, Any] = {}
        #: what the conversation had used before this session, by the same keys
        self._before: dict[str, Any] = {}
        self._each = False

    def begin_at(self, used: Said, agent: str) -> None:
        """Money that an earlier conversation had used, for programs that do not say so when they load it."""
        if agent in _OF_ALL:
            self._before = {name: amount for name, amount in used.items() if name.startswith("cost_")}

    def turn(self, result: Said) -> None:
        """The end of a turn; who tells of each answer has told it already."""
        usage = mapping(result.get("usage"))
        counts = {name: whole(usage.get(key)) for key, name in _COUNTS.items() if key in usage}
        quota = mapping(mapping(mapping(result.get("_meta")).get("quota")).get("token_count"))
        counts |= {key: whole(quota[key]) for key in ("input_tokens", "output_tokens") if key in quota}
        # a turn that was cut off tells nothing but zeros
        if any(counts.values()) and not self._each:
            self._add(counts)

    def update(self, update: Said, before: bool) -> None:
        """A ``usage_update``; ``before``: while an earlier conversation is loaded."""
        cost = mapping(update.get("cost"))
        if cost.get("amount") is not None:
            name = f"cost_{str(cost.get('currency') or 'usd').lower()}"
            if before:
                self._before[name] = cost["amount"]
            else:
                self.told[name] = money(Decimal(str(cost["amount"])) - Decimal(str(self._before.get(name, 0))))

    def reached(self, cap: str | None) -> bool:
        """Whether the money that it has told is all that it may spend; None: there is no bound."""
        return cap is not None and Decimal(self.told.get("cost_usd", "-1")) >= Decimal(cap)

    def of_goose(self, update: Said, before: bool) -> None:
        """What goose tells beside the protocol: of each answer at once, and of the conversation now and then."""
        if update.get("sessionUpdate") == "message_usage" and not before:
            self._each = True
            usage = mapping(update.get("usage"))
            self._add({name: whole(usage.get(key)) for key, name in _COUNTS.items() if whole(usage.get(key))})
            if usage.get("cost") is not None:
                self.told["cost_usd"] = money(Decimal(self.told.get("cost_usd", "0")) + Decimal(str(usage["cost"])))
        for key, name in _TOTALS.items():
            if key in update:
                # the first comes before anything is asked; answers that it threw away are in the sum alone
                more = whole(update[key]) - self._before.setdefault(name, whole(update[key]))
                self._add({name: more - whole(self.told.get(name))} if more > whole(self.told.get(name)) else {})

    def _add(self, counts: Mapping[str, int]) -> None:
        for name, count in counts.items():
            self.told[name] = whole(self.told.get(name)) + count
