import os
from pathlib import Path

import pytest

from agentpkg.core.errors import BadInput
from agentpkg.core.model import State
from agentpkg.features.folder import find_features, load_all, load_feature, require_good, resolve
from tests.features.support import loaded, package_text, said
from tests.support.repos import write

GOOD = {
    "003-auth/spec.md": "# Feature Specification: Auth\n\n- **FR-001**: Log in\n",
    "003-auth/plan.md": "# Plan\n\n## Decisions\n\nJWT.\n",
    "003-auth/tasks/WP01-models.md": package_text("WP01", "requirement_refs: [FR-1]\n"),
    "003-auth/tasks/WP02-login.md": package_text("WP02", "dependencies: [WP01]\n"),
}


def test_a_feature_is_read_whole(tmp_path: Path):
    feature = loaded(
        tmp_path, {**GOOD, "003-auth/meta.yaml": "title: User Auth\ntarget_branch: dev\nsince: 2026-01-01\n"}
    )
    assert (feature.id, feature.number, feature.title, feature.target_branch) == ("003-auth", "003", "User Auth", "dev")
    assert list(feature.packages) == ["WP01", "WP02"]
    assert feature.packages["WP02"].path == "features/003-auth/tasks/WP02-login.md"
    assert feature.spec.requirements["FR-1"].text == "Log in"
    assert feature.plan.sections[1][0] == "Decisions"
    assert feature.meta["since"] == "2026-01-01"
    assert (feature.problems, feature.warnings) == ((), ())
    require_good(feature)


def test_a_title_comes_from_meta_then_the_specification_then_the_name(tmp_path: Path):
    assert loaded(tmp_path, GOOD).title == "Auth"
    assert (
        loaded(tmp_path, {"004-the-other_one/tasks/WP01.md": package_text()}, "004-the-other_one").title
        == "the other one"
    )
    write(tmp_path / "features", {"003-auth/meta.json": '{"name": "N", "friendly_name": "One\\nline \\u001b[31m"}'})
    assert loaded(tmp_path, {}).title == "One line [31m"


def test_both_folders_are_looked_into_and_only_features_count(tmp_path: Path):
    write(
        tmp_path,
        {
            "features/003-auth/tasks/WP01.md": package_text(),
            "features/steps/steps.py": "",
            "features/login.feature": "",
            "features/.hidden/spec.md": "",
            "kitty-specs/002-old/spec.md": "",
        },
    )
    refs = find_features(tmp_path)
    assert [(ref.id, ref.number, ref.lenient) for ref in refs] == [("002-old", "002", True), ("003-auth", "003", False)]


def test_a_repository_without_features_has_none(tmp_path: Path):
    assert find_features(tmp_path) == []
    assert load_all(tmp_path) == []


def test_another_folder_may_be_configured(tmp_path: Path):
    write(tmp_path, {"docs/plans/001-a/tasks/WP01.md": package_text(more="owned_files: [docs/plans/x]\n")})
    [feature] = load_all(tmp_path, "docs/plans/")
    assert feature.path == "docs/plans/001-a"
    assert "always forbidden" in said(feature.warnings)


def test_names_are_resolved_among_folders_and_what_is_registered(tmp_path: Path):
    write(tmp_path / "features", GOOD)
    refs = find_features(tmp_path)
    assert resolve(refs, "auth") == "003-auth"
    assert resolve(refs, "7", ["007-gone"]) == "007-gone"


def test_every_problem_of_every_file_is_reported_at_once(tmp_path: Path):
    feature = loaded(
        tmp_path,
        {
            "003-auth/tasks/WP01-a.md": package_text("WP01", "dependencies: [WP03]\nretries: x\n"),
            "003-auth/tasks/WP01-b.md": package_text("WP01"),
            "003-auth/tasks/WP02-c.md": package_text("WP04", "deliverables: [/etc/x]\n"),
            "003-auth/tasks/WP03-d.md": package_text("WP03", "dependencies: [WP01, WP09, 009-x/WP01]\n"),
            "003-auth/meta.yaml": "target_branch: a..b\n",
        },
    )
    lines = said(feature.problems)
    for expected in (
        "WP01-a.md:4: WP01 -> WP03 -> WP01: a cycle: WP01 depends on WP03 (features/003-auth/tasks/WP01-a.md:4), ",
        "WP01-a.md:5: x: `retries`",
        "WP01-b.md:2: WP01: a duplicate id, first in features/003-auth/tasks/WP01-a.md:2",
        "WP02-c.md:2: WP04: the id differs",
        "WP02-c.md:4: /etc/x: unsafe path",
        "WP03-d.md:4: WP09: a dependency on a work package that is missing; 003-auth has WP01, WP03, WP04",
        "WP03-d.md:4: 009-x/WP01: a dependency on a feature that is missing",
        "meta.yaml:1: a..b: `target_branch`",
    ):
        assert expected in lines
    assert len(feature.problems) == 8
    with pytest.raises(BadInput, match="003-auth has 8 problems") as caught:
        require_good(feature)
    assert [set(problem) for problem in caught.value.details["problems"]] == [{"file", "line", "value", "message"}] * 8


def test_a_dependency_on_a_bad_file_is_not_reported_as_missing(tmp_path: Path):
    feature = loaded(tmp_path, {**GOOD, "003-auth/tasks/WP01-models.md": "no front matter"})
    assert [problem.file for problem in feature.problems] == ["features/003-auth/tasks/WP01-models.md"]
    assert list(feature.packages) == ["WP02"]


def test_a_registered_package_whose_file_vanished_may_still_be_depended_on(tmp_path: Path):
    files = {"003-auth/tasks/WP02.md": package_text("WP02", "dependencies: [WP01, 002-gone/WP01]\n")}
    assert len(loaded(tmp_path, files).problems) == 2
    assert not loaded(tmp_path, files, registered={"003-auth": {"WP01"}, "002-gone": {"WP01"}}).problems


def test_one_bad_feature_never_hides_the_others(tmp_path: Path):
    write(tmp_path / "features", {**GOOD, "004-bad/tasks/WP01.md": "x", "004-bad/spec.md": ""})
    assert [(f.id, bool(f.problems)) for f in load_all(tmp_path)] == [("003-auth", False), ("004-bad", True)]


def test_dependencies_across_features_are_checked(tmp_path: Path):
    other = {"002-billing/tasks/WP04.md": package_text("WP04")}
    write(tmp_path / "features", other)
    more = "dependencies: [002-billing/WP04, 002-billing/WP05, billing/WP04]\n"
    feature = loaded(tmp_path, {"003-auth/tasks/WP01.md": package_text("WP01", more)})
    assert [(p.value, p.message.split("; ")[1]) for p in feature.problems] == [
        ("002-billing/WP05", "002-billing has WP04"),
        ("billing/WP04", "is 002-billing meant?"),
    ]


def test_a_cycle_across_features_is_reported_in_each(tmp_path: Path):
    write(
        tmp_path / "features",
        {
            "001-a/tasks/WP01.md": package_text("WP01", "dependencies: [002-b/WP02]\n"),
            "002-b/tasks/WP01.md": package_text("WP01", "dependencies: [001-a/WP01]\n"),
            "002-b/tasks/WP02.md": package_text("WP02", "dependencies: [WP01]\n"),
            "003-c/tasks/WP01.md": package_text("WP01", "dependencies: [001-a/WP01]\n"),
        },
    )
    cycles = {feature.id: [problem.value for problem in feature.problems] for feature in load_all(tmp_path)}
    assert cycles == {
        "001-a": ["WP01 -> 002-b/WP02 -> 002-b/WP01 -> WP01"],
        "002-b": ["WP02 -> WP01 -> 001-a/WP01 -> WP02"],
        "003-c": [],
    }


def test_two_folders_of_one_name_are_a_problem_of_both(tmp_path: Path):
    write(tmp_path, {"features/001-a/spec.md": "", "kitty-specs/001-a/spec.md": ""})
    assert [said(feature.problems) for feature in load_all(tmp_path)] == [
        "features/001-a: 001-a: the same name as kitty-specs/001-a; rename one of them",
        "kitty-specs/001-a: 001-a: the same name as features/001-a; rename one of them",
    ]


@pytest.mark.parametrize("name", ["a b", "a.b", "x" * 65, "-a", "ä"])
def test_a_name_that_events_cannot_carry_is_a_problem(tmp_path: Path, name: str):
    write(tmp_path / "features", {f"{name}/spec.md": ""})
    assert "at most 64 letters" in said(load_all(tmp_path)[0].problems)


def test_a_name_that_is_not_text_is_shown_escaped(tmp_path: Path):
    folder = os.fsencode(tmp_path) + b"/features/\xff"
    os.makedirs(folder)
    Path(os.fsdecode(folder), "spec.md").write_text("")
    assert load_all(tmp_path)[0].path == "features/\\xff"


def test_other_files_in_tasks_are_left_alone(tmp_path: Path):
    others = {
        "README.md": "",
        ".gitkeep": "",
        "WP10-behavioral/review-cycle-1.md": "",
        "notes.txt": "",
        "WP01.json": "{}",
    }
    feature = loaded(tmp_path, {**GOOD, **{f"003-auth/tasks/{name}": text for name, text in others.items()}})
    assert (list(feature.packages), feature.problems, feature.warnings) == (["WP01", "WP02"], (), ())


def test_a_file_that_only_nearly_has_the_name_of_a_package_is_a_warning(tmp_path: Path):
    feature = loaded(tmp_path, {**GOOD, "003-auth/tasks/wp03-x.md": "", "003-auth/tasks/WP-notes.md": ""})
    assert not feature.problems
    assert [w.file.rpartition("/")[2] for w in feature.warnings] == ["WP-notes.md", "wp03-x.md"]


def test_links_may_stay_inside_but_not_leave_the_repository(tmp_path: Path):
    root, outside = tmp_path / "repo", tmp_path / "outside.md"
    outside.write_text(package_text("WP03"))
    write(root / "features", {**GOOD, "shared.md": package_text("WP04")})
    tasks = root / "features/003-auth/tasks"
    (tasks / "WP03-out.md").symlink_to(outside)
    (tasks / "WP04-in.md").symlink_to("../../shared.md")
    (tasks / "WP05-gone.md").symlink_to("nowhere")
    feature = loaded(root, {})
    assert list(feature.packages) == ["WP01", "WP02", "WP04"]
    assert [p.message.split(";")[0].split(":")[0] for p in feature.problems] == [
        "a link out of the repository",
        "cannot be read",
    ]


def test_pipes_and_folders_in_place_of_files_do_not_block(tmp_path: Path):
    write(tmp_path / "features", GOOD)
    tasks = tmp_path / "features/003-auth/tasks"
    os.mkfifo(tasks / "WP03-pipe.md")
    (tasks / "WP04-folder.md").mkdir()
    assert ["not a regular file" in p.message for p in loaded(tmp_path, {}).problems] == [True, True]


def test_oversize_and_broken_documents_are_problems(tmp_path: Path):
    feature = loaded(tmp_path, {**GOOD, "003-auth/spec.md": "x" * (1 << 20) + "y", "003-auth/meta.json": '{"a": 1,\n]'})
    (tmp_path / "features/003-auth/plan.md").write_bytes(b"\n\xff")
    again = loaded(tmp_path, {})
    assert [str(p).split(": ")[0].rpartition("/")[2] for p in again.problems] == [
        "meta.json:2",
        "plan.md:2",
        "spec.md:1",
    ]
    assert feature.problems


def test_json_nested_without_end_is_a_problem(tmp_path: Path):
    feature = loaded(tmp_path, {**GOOD, "003-auth/meta.json": '{"a": ' + "[" * 100_000})
    assert "not readable JSON" in said(feature.problems)


def test_meta_values_have_their_line(tmp_path: Path):
    feature = loaded(
        tmp_path, {**GOOD, "003-auth/meta.json": '{\n  "a": {"target_branch": 1},\n  "target_branch": "x y"\n}'}
    )
    assert "meta.json:3: x y: `target_branch`" in said(feature.problems)


def test_a_requirement_that_the_specification_lacks_is_a_warning(tmp_path: Path):
    feature = loaded(
        tmp_path, {**GOOD, "003-auth/tasks/WP01-models.md": package_text("WP01", "requirement_refs: [FR-1, FR-9]\n")}
    )
    assert said(feature.warnings) == "features/003-auth/tasks/WP01-models.md:4: FR-9: no such requirement in spec.md"


def test_a_feature_without_packages_or_specification_is_a_warning(tmp_path: Path):
    assert "no work packages yet" in said(loaded(tmp_path, {"003-auth/plan.md": ""}).warnings)
    assert "missing: prompts" in said(loaded(tmp_path, {"003-auth/plan.md": ""}).warnings)


def test_warnings_that_many_files_share_are_one(tmp_path: Path):
    files = {f"001-a/tasks/WP0{i}.md": package_text(f"WP0{i}", f"agent: ghost{i}\n") for i in range(1, 7)}
    write(tmp_path / "kitty-specs", {**files, "001-a/spec.md": ""})
    [feature] = load_all(tmp_path, agents=["claude-code"])
    [warning] = feature.warnings
    assert warning.value == "ghost1, ghost2, ghost3 and 3 more"
    assert warning.message.endswith("the default is used (also in WP02, WP03, WP04, WP05, WP06)")


def test_older_layouts_keep_the_lane_in_the_folder(tmp_path: Path):
    write(
        tmp_path / "kitty-specs/001-a",
        {
            "spec.md": "",
            "tasks/done/WP01-x.md": package_text("WP01"),
            "tasks/planned/WP02-x.md": package_text("WP02", "lane: done\n"),
            "tasks/doing/WP03-x.md": package_text("WP03"),
        },
    )
    [feature] = load_all(tmp_path)
    assert {wp: package.lane for wp, package in feature.packages.items()} == {
        "WP01": State.DONE, "WP02": State.DONE, "WP03": State.PLANNED,
    }  # fmt: skip


def test_loading_one_feature_reads_no_other_that_it_does_not_need(tmp_path: Path):
    write(tmp_path / "features", GOOD)
    os.makedirs(tmp_path / "features/009-unrelated/tasks")
    os.mkfifo(tmp_path / "features/009-unrelated/spec.md")
    ref = find_features(tmp_path)[0]
    assert not load_feature(ref, tmp_path).problems


def test_files_that_give_no_package_are_counted(tmp_path: Path):
    feature = loaded(
        tmp_path,
        {**GOOD, "003-auth/tasks/WP03-x.md": "no front matter\n", "003-auth/tasks/WP01-twin.md": package_text("WP01")},
    )
    os.mkfifo(tmp_path / "features/003-auth/tasks/WP04-pipe.md")
    again = loaded(tmp_path, {})
    twin = "features/003-auth/tasks/WP01-twin.md"
    assert set(again.packages) | set(again.unread) >= {"WP01", "WP02", "WP03", "WP04"}
    assert len({*again.packages, *again.unread}) == 5
    assert len({*feature.packages, *feature.unread}) == 4
    assert any(problem.file.endswith("WP04-pipe.md") and problem.line == 1 for problem in again.problems)
    assert twin in again.unread or "features/003-auth/tasks/WP01-models.md" in again.unread
