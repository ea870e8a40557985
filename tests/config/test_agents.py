"""Which agent and which settings a package gets."""

import dataclasses

import pytest

from agentpkg.config import Effective, agent_named, effective, expand, known_agents, parse
from agentpkg.config.placeholders import unknown
from agentpkg.core.errors import BadInput
from agentpkg.core.model import Feature, WorkPackage

TEXT = """
project: {target_branch: develop}
agent: {harness: mine, retries: 1, environment: {A: one, B: two}}
agents:
  mine: {harness: command, command: [x, "{prompt_path}"], model: small, timeout_seconds: 600, environment: {B: own}}
  other: {harness: command, command: [other]}
  codex: {model: large}
"""
PACKAGE = WorkPackage(id="WP01", title="T", feature="001-x", path="p")
FEATURE = Feature(id="001-x", title="X", path="features/001-x")


def holds(
    package: WorkPackage = PACKAGE,
    feature: Feature = FEATURE,
    environ: dict[str, str] | None = None,
    flags: dict[str, object] | None = None,
) -> Effective:
    return effective(parse(TEXT, "c.yaml", environ or {}, flags), feature, package)


def test_an_agent_has_its_own_settings_over_the_common_ones() -> None:
    agent = agent_named(parse(TEXT, "c.yaml", {}).settings, None)
    assert (agent.name, agent.harness, agent.model) == ("mine", "command", "small")
    assert agent.environment == {"A": "one", "B": "own"}


def test_built_in_agents_need_no_entry_and_can_be_changed_by_one() -> None:
    settings = parse(TEXT, "c.yaml", {}).settings
    assert agent_named(settings, "claude-code").harness == "claude-code"
    assert (agent_named(settings, "codex").harness, agent_named(settings, "codex").model) == ("codex", "large")
    assert known_agents(settings) == ("mine", "other", "codex", "claude-code", "gemini", "opencode", "aider")


def test_a_packages_tags_choose_its_agent_unless_it_names_one() -> None:
    text = TEXT.replace("agent: {", "agent: {tags: {docs: other, ui: codex}, ")
    for changes, name in (({"tags": ("api",)}, "mine"), ({"tags": ("ui", "docs")}, "codex"),
                          ({"tags": ("docs",), "agent": "codex"}, "codex")):  # fmt: skip
        package = dataclasses.replace(PACKAGE, **changes)
        assert effective(parse(text, "c.yaml", {}), FEATURE, package).agent == name
    with pytest.raises(BadInput, match=r"agent.tags.docs: .*no such agent"):
        parse(text.replace("docs: other", "docs: othr"), "c.yaml", {})


def test_an_unknown_agent_is_an_error_with_the_nearest_name_and_none_at_all_another() -> None:
    with pytest.raises(BadInput, match="did you mean `codex`") as caught:
        agent_named(parse(TEXT, "c.yaml", {}).settings, "codx")
    assert caught.value.code == "unknown_agent"
    with pytest.raises(BadInput) as caught:
        agent_named(parse("", "c.yaml", {}).settings, None)
    assert caught.value.code == "no_agent"


def test_precedence_is_flag_environment_package_meta_agent_configuration_default() -> None:
    assert holds().timeout_seconds == 600
    assert holds().retries == 1
    meta = dataclasses.replace(FEATURE, meta={"timeout_seconds": 500, "agent": "other"}, target_branch="release")
    assert holds(feature=meta).timeout_seconds == 500
    assert (holds(feature=meta).agent, holds(feature=meta).target_branch) == ("other", "release")
    package = dataclasses.replace(PACKAGE, timeout_seconds=400, agent="codex", retries=0)
    assert holds(package, meta).timeout_seconds == 400
    assert (holds(package, meta).agent, holds(package, meta).retries) == ("codex", 0)
    environ = {"AGENTPKG_AGENT_TIMEOUT_SECONDS": "300", "AGENTPKG_PROJECT_TARGET_BRANCH": "env"}
    assert holds(package, meta, environ).timeout_seconds == 300
    assert holds(package, meta, environ).target_branch == "env"
    flags: dict[str, object] = {"agent.timeout_seconds": 200, "agent.harness": "mine"}
    assert holds(package, meta, environ, flags).timeout_seconds == 200
    assert holds(package, meta, environ, flags).agent == "mine"


def test_each_effective_value_tells_its_origin() -> None:
    package = dataclasses.replace(PACKAGE, model="huge")
    assert holds(package).model == "huge"
    assert dict(holds(package).origins) == {
        "agent": "c.yaml:3",
        "model": "work package file",
        "timeout_seconds": "c.yaml:5",
        "retries": "c.yaml:3",
        "target_branch": "c.yaml:2",
    }


def test_where_leniency_holds_an_unknown_agent_gives_way_to_the_default() -> None:
    package = dataclasses.replace(PACKAGE, agent="claude:opus:reviewer")
    assert holds(package, dataclasses.replace(FEATURE, lenient=True)).agent == "mine"
    assert holds(package).agent == "claude:opus:reviewer"


def test_meta_keys_of_other_tools_do_no_harm() -> None:
    feature = dataclasses.replace(
        FEATURE, meta={"timeout_seconds": "long", "agent": ["x"], "retries": True, "model": ""}
    )
    assert holds(feature=feature) == holds()


def test_placeholders_are_replaced_once_and_foreign_braces_stay() -> None:
    values = {"prompt_path": "/p/{wp}", "wp": "WP01"}
    assert expand("--f={prompt_path} ${HOME} {{.Names}} {1,2} {{wp}} {wp}", values) == (
        "--f=/p/{wp} ${HOME} {{.Names}} {1,2} {wp} WP01"
    )
    assert unknown("{prompt_path} {nope} ${home} {{print}}") == ["nope"]
