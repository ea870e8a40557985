"""The project's own configuration, constitution and template, as its own development uses them."""

from pathlib import Path

import pytest

from agentpkg.config import load, load_constitution
from agentpkg.core.errors import BadInput
from agentpkg.core.model import Feature, WorkPackage
from agentpkg.prompts import PromptContext, build

ROOT = Path(__file__).parents[2]


def test_the_projects_own_configuration_is_good() -> None:
    loaded = load(ROOT, {})
    assert loaded.settings.project.name == "agentpkg"
    assert [check.name for check in loaded.settings.review.checks] == ["tests", "lint", "types"]
    assert loaded.warnings == ()


def test_the_projects_own_constitution_and_template_make_its_prompts() -> None:
    constitution = load_constitution(ROOT)
    assert constitution is not None
    context = PromptContext(
        feature=Feature(id="001-x", title="X", path="features/001-x"),
        package=WorkPackage(id="WP01", title="Thing", feature="001-x", path="p", body="Do it."),
        settings=load(ROOT, {}).settings,
        branch="feat/001-x-WP01",
        target="main",
        timeout_seconds=3600,
        constitution=constitution.text,
    )
    prompt = build(context, ROOT / ".kittify/templates").prompt
    assert "#### Behaviour" in prompt
    assert "Style by example" in prompt
    assert "- Project: agentpkg" in prompt


def test_a_constitution_may_lie_in_memory_or_be_missing_but_not_be_unreadable(tmp_path: Path) -> None:
    assert load_constitution(tmp_path) is None
    (tmp_path / ".kittify/memory").mkdir(parents=True)
    (tmp_path / ".kittify/memory/constitution.md").write_text("# C\n")
    found = load_constitution(tmp_path)
    assert found is not None
    assert (found.path, found.text) == (".kittify/memory/constitution.md", "# C\n")
    (tmp_path / ".kittify/constitution.md").write_bytes(b"\xff")
    with pytest.raises(BadInput, match=r"\.kittify/constitution\.md cannot be read"):
        load_constitution(tmp_path)
