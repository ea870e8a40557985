from agentpkg.core.graph import (
    Length,
    critical_path,
    cycles,
    dependents,
    full_name,
    in_order,
    local_name,
    open_dependencies,
    ready,
    remaining_paths,
)
from agentpkg.core.model import State

DIAMOND = {"WP01": [], "WP02": ["WP01"], "WP03": ["WP01"], "WP04": ["WP02", "WP03"]}


def test_a_graph_without_circles_has_no_cycles():
    assert cycles(DIAMOND) == []


def test_a_cycle_is_a_path_along_its_dependencies():
    assert cycles({"WP01": ["WP03"], "WP02": ["WP01"], "WP03": ["WP02"]}) == [["WP01", "WP03", "WP02", "WP01"]]


def test_a_package_that_depends_on_itself_is_a_cycle():
    assert cycles({"WP01": ["WP01"]}) == [["WP01", "WP01"]]


def test_cycles_that_share_a_package_are_all_named():
    found = cycles({"WP01": ["WP02", "WP03"], "WP02": ["WP01"], "WP03": ["WP01"]})
    assert sorted(found) == [["WP01", "WP02", "WP01"], ["WP01", "WP03", "WP01"]]


def test_breaking_the_named_cycles_leaves_none_even_in_a_complete_graph():
    names = [f"WP{i:02}" for i in range(1, 8)]
    graph = {node: [other for other in names if other != node] for node in names}
    for cycle in cycles(graph):
        assert cycle[0] == cycle[-1]
        graph[cycle[0]] = [need for need in graph[cycle[0]] if need != cycle[1]]
    assert cycles(graph) == []


def test_dependents_are_the_graph_turned_round():
    assert dependents(DIAMOND) == {"WP01": ["WP02", "WP03"], "WP02": ["WP04"], "WP03": ["WP04"], "WP04": []}


def test_dependents_of_packages_of_other_features_are_known():
    assert dependents({"WP01": ["002-billing/WP04"]})["002-billing/WP04"] == ["WP01"]


def test_only_what_is_not_done_is_open():
    assert open_dependencies("WP04", DIAMOND, {"WP02"}) == ["WP03"]


def test_planned_packages_with_every_dependency_done_are_ready():
    assert ready(DIAMOND, {}, set()) == ["WP01"]
    assert ready(DIAMOND, {"WP01": State.DONE}, {"WP01"}) == ["WP02", "WP03"]


def test_a_package_that_is_not_planned_is_not_ready():
    states = {"WP01": State.DONE, "WP02": State.BLOCKED, "WP03": State.CANCELLED}
    assert ready(DIAMOND, states, {"WP01"}) == []


def test_a_cancelled_dependency_is_not_done():
    assert ready(DIAMOND, {"WP02": State.DONE, "WP03": State.CANCELLED}, {"WP01", "WP02"}) == []


def test_the_order_puts_dependencies_first():
    assert in_order({"WP02": ["WP01"], "WP01": ["002-billing/WP04"], "WP03": []}) == ["WP01", "WP03", "WP02"]


def test_the_critical_path_is_the_longest_by_time():
    seconds = {"WP01": 10, "WP02": 1, "WP03": 5, "WP04": 2}
    assert critical_path(DIAMOND, seconds, set()) == (["WP01", "WP03", "WP04"], 17)


def test_finished_packages_are_not_on_the_critical_path():
    seconds = {"WP01": 10, "WP02": 3 * 86400, "WP03": 2 * 86400}
    chain = {"WP01": [], "WP02": ["WP01"], "WP03": ["WP02"]}
    assert critical_path(chain, seconds, {"WP01"}) == (["WP02", "WP03"], 432_000)


def test_without_estimates_the_critical_path_has_the_most_packages():
    graph = {"WP01": [], "WP02": [], "WP03": ["WP02"]}
    assert critical_path(graph, {}, set()) == (["WP02", "WP03"], 0)


def test_time_counts_before_the_number_of_packages():
    graph = {"WP01": [], "WP02": [], "WP03": ["WP02"]}
    assert critical_path(graph, {"WP01": 1}, set()) == (["WP01"], 1)


def test_nothing_left_has_an_empty_critical_path():
    assert critical_path(DIAMOND, {}, set(DIAMOND)) == ([], 0)


def test_what_waits_behind_each_package_is_measured():
    lengths = remaining_paths(DIAMOND, {"WP03": 5, "WP04": 2}, {"WP01"})
    assert lengths == {"WP02": Length(2, 2), "WP03": Length(7, 2), "WP04": Length(2, 1)}


def test_names_of_other_features_stay_as_they_are():
    assert full_name("WP01", "003-auth") == "003-auth/WP01"
    assert full_name("002-billing/WP01", "003-auth") == "002-billing/WP01"
    assert local_name("003-auth/WP01", "003-auth") == "WP01"
    assert local_name("002-billing/WP01", "003-auth") == "002-billing/WP01"
