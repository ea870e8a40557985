import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from agentpkg.core import diagram
from agentpkg.core.model import Feature, Stage, State, WorkPackage


def feature(graph: Mapping[str, Sequence[str]], title: str = "Title of {}") -> Feature:
    packages = {
        wp: WorkPackage(wp, title.format(wp), "003-auth", "x", dependencies=tuple(needs), estimate_seconds=3600)
        for wp, needs in graph.items()
    }
    return Feature("003-auth", "Auth", "features/003-auth", packages=packages)


DIAMOND = feature({"WP01": [], "WP02": ["WP01"], "WP03": ["WP01"], "WP04": ["WP02", "WP03", "002-billing/WP09"]})


def test_the_text_is_a_tree_with_each_package_once():
    drawn = diagram.text(diagram.view(DIAMOND, {"WP01": State.DONE, "WP02": State.DOING}))
    assert drawn == (
        "WP01 Title of WP01        done\n"
        "├─ WP02 Title of WP02     doing\n"
        "│  └─ WP04 Title of WP04  planned  waits for WP02, WP03, 002-billing/WP09\n"
        "└─ WP03 Title of WP03     ready\n"
        "   └╌ also → WP04\n"
        "\n"
        "1 of 4 done\n"
        "critical path: WP02 → WP04 (2h)\n"
    )


def test_a_chain_of_a_thousand_packages_is_a_column():
    graph = {f"WP{i:04}": [f"WP{i - 1:04}"] if i > 1 else [] for i in range(1, 1001)}
    lines = diagram.text(diagram.view(feature(graph), {})).splitlines()
    assert len([line for line in lines if "Title" in line]) == 1000
    assert max(len(line) - len(line.lstrip()) for line in lines) == 0


def test_deep_side_branches_are_indented_and_the_heaviest_goes_straight_down():
    graph = {f"WP{i:02}": [f"WP{i - 1:02}"] if i > 1 else [] for i in range(1, 16)}
    drawn = diagram.text(diagram.view(feature({**graph, "WP20": ["WP03"], "WP21": ["WP20"]}), {}))
    assert [line.split(" Title")[0] for line in drawn.splitlines()[2:6]] == [
        "↓ WP03",
        "  └─ WP20",
        "     ↓ WP21",
        "↓ WP04",
    ]


def test_every_package_of_a_dense_graph_is_drawn_once():
    graph = {f"WP{i:02}": [f"WP{j:02}" for j in range(1, i)] for i in range(1, 40)}
    drawn = diagram.text(diagram.view(feature(graph), {}))
    assert [drawn.count(f" Title of {wp} ") for wp in graph] == [1] * len(graph)


def test_a_cancelled_dependency_is_named_as_such():
    drawn = diagram.text(diagram.view(DIAMOND, {"WP01": State.CANCELLED}))
    assert "waits for WP01 (cancelled)" in drawn
    assert "0 of 4 done, 1 cancelled" in drawn


def test_done_packages_of_other_features_block_nothing():
    states = dict.fromkeys(("WP01", "WP02", "WP03"), State.DONE)
    assert diagram.view(DIAMOND, states, {"002-billing/WP09"}).nodes[-1].ready
    assert diagram.view(DIAMOND, states).nodes[-1].blocked_by == ("002-billing/WP09",)


def test_an_empty_feature_says_so():
    assert diagram.text(diagram.view(feature({}), {})) == "no work packages\n"


def test_mermaid_names_states_edges_and_escapes_titles():
    drawn = diagram.mermaid(diagram.view(feature({"WP01": ["002-b/WP01"]}, 'Say "hi" <b>'), {}))
    assert drawn.splitlines()[:4] == [
        "flowchart TD",
        '    WP01["WP01 Say #34;hi#34; #60;b#62;"]:::planned',
        '    F002_b_WP01["002-b/WP01"]:::other',
        "    F002_b_WP01 --> WP01",
    ]


def test_dot_quotes_and_shows_the_critical_path():
    drawn = diagram.dot(diagram.view(feature({"WP01": [], "WP02": ["WP01"]}, 'a "b" \\'), {}))
    assert '"WP01" [label="WP01 a \\"b\\" \\\\\\nready"' in drawn
    assert '"WP01" -> "WP02" [penwidth=3];' in drawn


def test_the_plain_values_are_json():
    values = json.loads(json.dumps(diagram.as_json(diagram.view(DIAMOND, {"WP01": State.DONE}))))
    assert values["edges"][0] == {"from": "WP01", "to": "WP02"}
    assert values["nodes"][0]["state"] == "done"
    assert values["nodes"][1] == {
        "id": "WP02",
        "title": "Title of WP02",
        "state": "planned",
        "ready": True,
        "dependencies": ["WP01"],
        "blocked_by": [],
        "dependents": ["WP04"],
        "estimate_seconds": 3600,
        "stage": None,
    }
    assert values["critical_path"] == ["WP02", "WP04"]
    assert values["estimate_seconds"] == 7200


def test_durations_have_two_units_at_most():
    assert [diagram.duration(n) for n in (0, 59, 3600, 5400, 432_000, 90_061)] == [
        "0s",
        "59s",
        "1h",
        "1h 30m",
        "5d",
        "1d 1h",
    ]


def test_stages_are_drawn_around_their_packages_and_named_in_the_values():
    staged = replace(DIAMOND, stages=(Stage("one", ("WP01",)), Stage("two", ("WP02", "WP03"), needs=("one",))))
    drawn = diagram.view(staged, {"WP01": State.DONE}, waits={"WP02", "WP03"})
    assert [(node["stage"], node["ready"]) for node in diagram.as_json(drawn)["nodes"]] == [
        ("one", False), ("two", False), ("two", False), (None, False),
    ]  # fmt: skip
    assert drawn.critical_path == ("WP02", "WP04")
    assert "planned  (two)" in diagram.text(drawn)
    assert 'subgraph stage_two["two"]' in diagram.mermaid(drawn)
    assert diagram.mermaid(drawn).count("    end\n") == 2
    assert 'subgraph "cluster two" {' in diagram.dot(drawn)
