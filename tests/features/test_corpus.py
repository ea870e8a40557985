"""Features of other people, read as they are."""

import os
from pathlib import Path

import pytest

from agentpkg.core.diagram import text, view
from agentpkg.core.graph import in_order
from agentpkg.core.model import Feature
from agentpkg.features.folder import load_all

CORPUS = Path(__file__).parents[2].parent / "shared/corpus"

pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus is not there")


def everything() -> list[Feature]:
    return [
        feature
        for root in sorted(CORPUS.iterdir())
        if root.is_dir()
        for feature in load_all(root, agents={"claude-code"})
    ]


def test_every_feature_is_read_without_a_problem():
    features = everything()
    assert [str(problem) for feature in features for problem in feature.problems] == []
    assert len(features) == 25
    assert sum(len(feature.packages) for feature in features) == 230


def test_every_requirement_that_a_package_names_is_found():
    warnings = [str(warning) for feature in everything() for warning in feature.warnings]
    assert [warning for warning in warnings if "no such requirement" in warning] == []
    kinds = ("not configured", "always forbidden", "without `::`")
    assert [warning for warning in warnings if not any(kind in warning for kind in kinds)] == []


def test_every_specification_gives_title_and_requirements():
    for feature in everything():
        assert feature.title
        assert feature.spec.requirements
        assert feature.plan.sections


def test_every_graph_can_be_ordered_and_drawn():
    for feature in everything():
        graph = {wp: package.dependencies for wp, package in feature.packages.items()}
        assert sorted(in_order(graph)) == sorted(graph)
        assert len(text(view(feature, {})).splitlines()) >= len(graph)


def test_reading_changes_nothing():
    before = {path: os.stat(path).st_mtime_ns for path in CORPUS.rglob("*")}
    everything()
    assert {path: os.stat(path).st_mtime_ns for path in CORPUS.rglob("*")} == before
