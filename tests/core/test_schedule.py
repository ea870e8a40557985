from agentpkg.core.graph import Length
from agentpkg.core.schedule import Candidate, choose, forecast

CHAIN = {"WP01": [], "WP02": ["WP01"], "WP03": ["WP02"]}
WIDE = {"WP01": [], "WP02": [], "WP03": []}


def test_priority_comes_before_the_longest_path():
    ready = [Candidate("WP01", 0, Length(100, 9)), Candidate("WP02", 5, Length(1, 1))]
    assert choose(ready, 0, 1) == ["WP02"]


def test_the_longest_remaining_path_starts_first():
    ready = [Candidate("WP01", 0, Length(1, 9)), Candidate("WP02", 0, Length(100, 1))]
    assert choose(ready, 0, 2) == ["WP02", "WP01"]


def test_without_estimates_the_longest_chain_starts_first():
    assert choose([Candidate("WP01", 0, Length(0, 1)), Candidate("WP02", 0, Length(0, 4))], 0, 1) == ["WP02"]


def test_equals_start_in_the_order_of_their_names():
    assert choose([Candidate("WP02"), Candidate("WP01")], 0, 2) == ["WP01", "WP02"]


def test_only_free_slots_are_filled():
    ready = [Candidate("WP01"), Candidate("WP02")]
    assert choose(ready, 3, 4) == ["WP01"]
    assert choose(ready, 4, 4) == []
    assert choose(ready, 6, 4) == []


def test_a_chain_takes_the_sum_however_many_may_run():
    assert forecast(CHAIN, dict.fromkeys(CHAIN, 60), set(), jobs=8) == 180


def test_a_wide_layer_takes_as_many_rounds_as_it_needs():
    assert forecast(WIDE, dict.fromkeys(WIDE, 60), set(), jobs=2) == 120
    assert forecast(WIDE, dict.fromkeys(WIDE, 60), set(), jobs=3) == 60


def test_finished_packages_take_no_time():
    assert forecast(CHAIN, dict.fromkeys(CHAIN, 60), {"WP01"}, jobs=1) == 120


def test_nothing_left_takes_no_time():
    assert forecast({}, {}, set(), jobs=4) == 0
