"""Packages that own the same files: which patterns meet, and who goes first."""

import pytest

from agentpkg.core import diagram
from agentpkg.core.globs import candidates, common_path
from agentpkg.core.model import Feature, Stage, State, WorkPackage
from agentpkg.core.overlap import behind
from agentpkg.core.patterns import Patterns


def package(wp: str, owned: str, needs: str = "", priority: int = 0) -> WorkPackage:
    return WorkPackage(
        wp, wp, "003-auth", "x", dependencies=tuple(needs.split()), owned_files=tuple(owned.split()), priority=priority
    )


def feature(*packages: WorkPackage, stages: tuple[Stage, ...] = ()) -> Feature:
    return Feature("003-auth", "Auth", "x", packages={one.id: one for one in packages}, stages=stages)


def first(found: Feature) -> dict[str, list[str]]:
    return {wp: [one.wp for one in those] for wp, those in behind(found).items()}


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ("src/**/*.py", "src/a*/**", True),
        ("src/**", "src/a/", True),
        ("tests/", "tests/test_a.py", True),
        ("*.py", "src/b*", True),
        ("src/a", "src/a/deep/b.c", True),
        ("a/**/b", "a/b", True),
        ("src/handlers/**", "src/handlers", True),
        ("[!a]x.py", "[bq]x.py", True),
        ("a\\*b", "a*b", True),
        ("**", "ä.txt", True),
        ("src/wp01*", "src/wp02*", False),
        ("src/a.py", "src/ab.py", False),
        ("src/*.py", "src/*.rs", False),
        ("src/?", "src/ab.c", False),
        ("src/[ab].c", "src/c.c", False),
        ("a/b", "b/a", False),
        ("docs", "Makefile", True),
        ("conf.d", "readme.md", True),
        ("one.py", "two.py", False),
        ("*.py", "notes.md", False),
        ("a" * 5000, "a*", False),
    ],
)
def test_patterns_meet_where_a_path_exists_that_both_match(one: str, other: str, meet: bool) -> None:
    found = common_path(one, other)
    assert (found is not None, common_path(other, one) is not None) == (meet, meet)
    if found is not None:
        assert found in Patterns([one])
        assert found in Patterns([other])
        assert len(candidates([one, other])) == 1


def test_who_owns_the_same_files_goes_one_after_the_other_by_priority_and_id() -> None:
    found = feature(
        package("WP01", "src/** !src/vendor/**"), package("WP02", "src/login.py", priority=5),
        package("WP03", "docs/** src/login*"), package("WP04", "src/vendor/x.c"), package("WP05", ""),
        package("WP06", "docs/a.md", needs="WP03"),
    )  # fmt: skip
    assert first(found) == {"WP01": ["WP02"], "WP03": ["WP02", "WP01"]}
    [why] = behind(found)["WP01"]
    assert why.reason == "it owns src/login.py, this one src/**: both may change src/login.py"


def test_the_order_never_runs_against_dependencies_or_stages() -> None:
    chain = feature(package("WP01", "a", needs="WP03", priority=9), package("WP02", "a"), package("WP03", "b a"))
    assert first(chain) == {"WP01": ["WP02"], "WP03": ["WP02"]}
    stages = (Stage("one", ("WP02",)), Stage("two", ("WP01",), ("one",)))
    assert first(feature(package("WP01", "a", priority=9), package("WP02", "a"), stages=stages)) == {}
    circle = feature(package("WP01", "a", needs="WP02"), package("WP02", "a", needs="WP01"))
    assert first(circle) == {}


def test_a_graph_draws_the_order_with_its_reason_and_no_edge_past_another() -> None:
    graph = diagram.view(feature(*(package(wp, "tests/**") for wp in ("WP01", "WP02", "WP03"))), {"WP01": State.DOING})
    assert [(e["from"], e["to"]) for e in diagram.as_json(graph)["order"]] == [
        ("WP01", "WP02"), ("WP01", "WP03"), ("WP02", "WP03"),
    ]  # fmt: skip
    assert "WP03 WP03  ready  after WP02 and 1 more: both own tests/**" in diagram.text(graph)
    assert diagram.mermaid(graph).count("-. ") == 2
    assert diagram.dot(graph).count("style=dashed, label=") == 2
    over = diagram.view(feature(package("WP01", "a"), package("WP02", "a")), {"WP01": State.DONE})
    assert diagram.as_json(over)["order"] == []
