"""What was used, what may be, what is to be expected."""

from decimal import Decimal

import pytest

from agentpkg.core import spending
from agentpkg.core.spending import COST, TOKENS


@pytest.mark.parametrize(
    ("usage", "found"),
    [
        ({}, {}), ({"turns": 3}, {}), ({"cost_usd": "many"}, {}), ({"cost_usd": "NaN"}, {}),
        ({"input_tokens": 0, "output_tokens": 0}, {TOKENS: Decimal(0)}),
        ({"input_tokens": 10, "cached_input_tokens": 5, "output_tokens": 1}, {TOKENS: Decimal(16)}),
        ({"input_tokens": 10, "cached_input_tokens": 5, "output_tokens": 1, "total_tokens": 11}, {TOKENS: Decimal(11)}),
        ({"cost_usd": "0.1"}, {COST: Decimal("0.1")}),
        ({"input_tokens": -5, "output_tokens": 1}, {TOKENS: Decimal(1)}), ({"total_tokens": -9}, {}),
    ],
)  # fmt: skip
def test_what_is_not_told_is_not_0(usage: dict[str, object], found: dict[str, Decimal]) -> None:
    assert spending.amounts(usage) == found


def test_sessions_add_up_and_those_that_say_nothing_are_counted_apart() -> None:
    found = spending.together([{"cost_usd": "0.1"}, {"cost_usd": "0.2", "input_tokens": 4}, {}])
    assert found.amounts == {COST: Decimal("0.3"), TOKENS: Decimal(4)}
    assert found.unknown == {COST: 1, TOKENS: 2}
    assert spending.together([{}]).amounts == {}


def test_the_narrowest_budget_speaks_and_the_tightest_bounds_a_session() -> None:
    caps = {"feature": {COST: Decimal(10), TOKENS: Decimal(1000)}, "session": {COST: Decimal(2)}}
    spent = {"feature": {COST: Decimal("9.50")}}
    assert spending.over(caps, spent) is None
    assert spending.left(caps, spent) == {COST: Decimal("0.5"), TOKENS: Decimal(1000)}
    found = spending.over(caps, {"feature": {COST: Decimal("10.00")}, "session": {COST: Decimal(2)}})
    assert str(found) == "the session has used 2 of 2 USD"
    assert found is not None
    assert found.key == "budget.session.cost_usd"


def test_what_is_to_come_goes_by_estimates_where_all_have_one() -> None:
    done = {"WP01": {COST: Decimal(1)}, "WP02": {COST: Decimal(3), TOKENS: Decimal(50)}}
    assert spending.expected(done, ["WP03"], {}) == {COST: Decimal(2), TOKENS: Decimal(50)}
    hours = {"WP01": 1, "WP02": 3, "WP03": 8}
    assert spending.expected(done, ["WP03"], hours)[COST] == Decimal(8)
    assert spending.expected({}, ["WP03"], hours) == {}
    assert spending.as_json({COST: Decimal("2.5000")}) == {"tokens": None, "cost_usd": "2.5"}
