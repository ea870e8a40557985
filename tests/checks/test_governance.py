"""What a candidate needs of people, by the policy."""

import os
from pathlib import Path
from typing import Any

import pytest

from agentpkg.checks import governance, tree
from agentpkg.checks.governance import Touched, judge, under
from agentpkg.config.governance import MIGRATIONS, WORKFLOWS, Policy, parse_policy
from tests.checks.scene import scene
from tests.support.repos import ScratchFactory

ALL = (
    "actions: {merge: autonomous, dependencies: approval, migrations: approval, workflows: forbidden, scope: approval}"
)


def actions(policy: str, **more: Any) -> tuple[list[str], list[str]]:
    found = Touched(**{"paths": (), "dependencies": {}, **more})
    forbidden, needs = judge(parse_policy(policy), found)
    return [need.action for need in forbidden], [need.action for need in needs]


@pytest.mark.parametrize(
    ("policy", "touched", "expected"),
    [
        ("", {"paths": ("a",), "dependencies": {"x.toml": None}, "beyond": ("a",)}, ([], [])),
        ("", {"approval": True}, ([], ["package"])),
        ("actions: {merge: approval}", {}, ([], ["merge"])),
        ("actions: {merge: forbidden}", {}, (["merge"], [])),
        ("actions: {dependencies: approval}", {"dependencies": {"a": ["x"], "b": [], "c": None}},
         ([], ["dependencies", "dependencies"])),
        ("actions: {migrations: forbidden}", {"paths": ("app/Migrations/0001.py",)}, (["migrations"], [])),
        ("actions: {workflows: approval}", {"paths": (".github/workflows/ci.yml",)}, ([], ["workflows"])),
        ("paths: [{match: [infra/]}]", {"paths": ("infra/a", "src/a")}, ([], ["paths"])),
        ("paths: [{match: [infra/]}, {match: [infra/x], action: forbidden}]", {"paths": ("infra/x",)},
         (["paths"], ["paths"])),
        ("actions: {scope: approval}", {"beyond": ("x",)}, ([], ["scope"])),
    ],
)  # fmt: skip
def test_policy_and_changes_give_needs(policy: str, touched: dict[str, Any], expected: object) -> None:
    assert actions(policy, **touched) == expected


@pytest.mark.parametrize(
    "path", [".github", ".github/workflows", ".GitHub/Workflows/x.yml", "Jenkinsfile", "a/action.yml"]
)
def test_a_file_in_the_place_of_a_folder_is_meant_too(path: str) -> None:
    assert under(WORKFLOWS, [path, "src/a.py", "github/workflows/x"]) == [path]


def test_migrations_are_found_at_any_depth() -> None:
    hit = ["migrations/1.sql", "a/b/migrations/1.py", "db/migrate/2.rb", "alembic/versions/x.py"]
    assert under(MIGRATIONS, [*hit, "src/migrations.py", "docs/a.md"]) == hit


def test_a_candidate_is_judged_by_what_it_changes_on_the_target(scratch: ScratchFactory) -> None:
    repo = scratch({"pyproject.toml": '[project]\ndependencies = ["a"]\n', "src/a.py": "x"})
    change = {
        "pyproject.toml": '[project]\ndependencies = ["a", "evil"]\n', ".github/workflows/ci.yml": "x",
        "src/migrations/1.sql": "x", "other.txt": "x",
    }  # fmt: skip
    context = scene(
        repo, change, wp={"owned_files": ("src/**", "pyproject.toml", ".github/**")}, policy=parse_policy(ALL)
    )
    before, after = (tree.files(context.control, commit) for commit in (context.base, context.candidate))
    findings, needs = governance.check(context, before, after)
    assert [(f.name, f.status) for f in findings] == [
        ("policy: workflows", "fail"), ("policy: dependencies", "warn"), ("policy: migrations", "warn"),
        ("policy: scope", "warn"),
    ]  # fmt: skip
    assert [(need.action, need.paths) for need in needs] == [
        ("dependencies", ("pyproject.toml",)), ("migrations", ("src/migrations/1.sql",)), ("scope", ("other.txt",)),
    ]  # fmt: skip
    assert "evil" in needs[0].detail


def test_a_manifest_that_is_a_link_may_name_anything(scratch: ScratchFactory, tmp_path: Path) -> None:
    repo = scratch({"a": "x"})
    os.symlink("a", repo / "package.json")
    context = scene(repo, {"b": "x"}, policy=parse_policy("actions: {dependencies: approval}"))
    before, after = (tree.files(context.control, commit) for commit in (context.base, context.candidate))
    (need,) = governance.check(context, before, after)[1]
    assert need.detail == "package.json may name a new dependency"


def test_the_policy_is_part_of_the_definitions(scratch: ScratchFactory) -> None:
    repo = scratch({"a": "x"})
    keys = {
        scene(repo, {"b": "x"}, policy=policy).definitions.key()
        for policy in (Policy(), parse_policy(ALL), parse_policy("approval: {people: 2}"))
    }
    assert len(keys) == 3
