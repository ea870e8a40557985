import pytest

from agentpkg.core.model import State
from agentpkg.features.decode import MOST_BYTES
from agentpkg.features.parse import parse_estimate, parse_work_package
from tests.features.support import package_text, parsed, said

EVERYTHING = """\
dependencies: [WP00, 002-billing/WP04, 003-auth/WP00]
deliverables: [src/login.py, tests/test_login.py]
owned_files: ["src/**", "!src/old/**"]
forbidden_paths: ["src/models/**"]
requirement_refs: [FR-1, FR-2]
acceptance:
  - python -m pytest -q
  - |
    set -e
    test -f x
secrets: [JWT_SECRET]
agent: claude-code
model: null
timeout_seconds: 3600
retries: 0
estimate: 3d
priority: 7
approval: required
lane: done
subtasks: [T001, T002]
anything_else: {kept: [1, 2]}
"""


def test_every_key_is_read():
    package = parsed(EVERYTHING).package
    assert package is not None
    assert package.dependencies == ("WP00", "002-billing/WP04")
    assert package.deliverables == ("src/login.py", "tests/test_login.py")
    assert package.owned_files == ("src/**", "!src/old/**")
    assert package.acceptance == ("python -m pytest -q", "set -e\ntest -f x")
    assert package.secrets == ("JWT_SECRET",)
    assert (package.agent, package.model) == ("claude-code", None)
    assert (package.timeout_seconds, package.retries, package.priority) == (3600, 0, 7)
    assert package.estimate_seconds == 3 * 86400
    assert (package.approval, package.lane) == ("required", State.DONE)
    assert package.body == "# Task\n"
    assert len(package.digest) == 64


def test_all_keys_but_the_first_two_are_optional():
    package = parsed().package
    assert package is not None
    assert (package.dependencies, package.secrets, package.estimate_seconds) == ((), None, None)


def test_an_empty_list_of_secrets_is_none_of_them():
    assert parsed("secrets: []\n").package.secrets == ()


@pytest.mark.parametrize(
    ("line", "value", "right"),
    [
        ("dependencies: WP02", "WP02", "should be a list"),
        ("dependencies: [wp02]", "wp02", "WP01, or 002-billing/WP04"),
        ("dependencies: [a/b/WP02]", "a/b/WP02", "should be an id"),
        ("deliverables: [/etc/passwd]", "/etc/passwd", "absolute"),
        ("deliverables: [src/../../x]", "src/../../x", "`..`"),
        ("deliverables: [.git/hooks/x]", ".git/hooks/x", "into .git"),
        ("deliverables: [sub/.GIT./config]", "sub/.GIT./config", "into .git"),
        ('owned_files: ["../**"]', "../**", "`..`"),
        ('owned_files: ["!"]', "!", "not a pattern"),
        ("owned_files: ['src\\']", "src\\", "not a pattern"),
        ("forbidden_paths: [5]", "5", "put it in quotes"),
        ("acceptance: [true]", "true", "put it in quotes"),
        ('acceptance: ["a\\0b"]', "", "control character"),
        ("secrets: [a-b]", "a-b", "letters, digits and _"),
        ("timeout_seconds: soon", "soon", "whole number"),
        ("timeout_seconds: 0", "0", "whole number from 1"),
        ("retries: true", "true", "whole number"),
        ("retries: 1.5", "1.5", "whole number"),
        ("estimate: three days", "three days", "for example 3d"),
        ("priority: P1", "P1", "whole number"),
        ("approval: maybe", "maybe", "none or required"),
        ("agent: ''", "", "leave the key out"),
        ("agent: [a]", "[a]", "should be text"),
        ("subtasks: {a: 1}", "{a: 1}", "should be a list"),
    ],
)
def test_a_wrong_value_is_named_with_its_line_and_what_is_right(line: str, value: str, right: str):
    result = parsed(line + "\n")
    assert result.package is None
    [problem] = result.problems
    assert (problem.file, problem.line) == ("features/003-auth/tasks/WP01-x.md", 4)
    assert value in problem.value
    assert right in problem.message


def test_each_item_of_a_list_has_its_own_line():
    problems = parsed("deliverables:\n  - a.py\n  - /b.py\n  - ../c.py\n").problems
    assert [(p.line, p.value) for p in problems] == [(6, "/b.py"), (7, "../c.py")]


def test_all_problems_are_reported_at_once():
    result = parsed("retries: x\npriority: y\napproval: z\n")
    assert [problem.line for problem in result.problems] == [4, 5, 6]


def test_the_id_and_the_title_are_required():
    result = parse_work_package(b"---\nlane: planned\n---\n", "tasks/WP01-x.md", "003-auth")
    assert [p.message.split("`")[1] for p in result.problems] == ["work_package_id", "title"]


def test_an_id_that_differs_from_the_file_name_is_a_problem():
    result = parse_work_package(package_text("WP02").encode(), "tasks/WP01-x.md", "003-auth")
    assert said(result.problems).startswith("tasks/WP01-x.md:2: WP02: the id differs from the file name")


@pytest.mark.parametrize("wp", ["WP1", "wp01", "'01'", "WP01a", "7"])
def test_an_id_of_another_form_is_a_problem(wp: str):
    result = parse_work_package(package_text(wp).encode(), "tasks/WP01-x.md", "003-auth")
    assert "WP and at least two digits" in said(result.problems)


def test_a_title_has_one_line_since_it_becomes_a_commit_subject():
    assert "one line" in said(parsed(title='"a\\n\\nAudit-Hash: 1"').problems)


def test_a_key_that_stands_twice_is_a_problem():
    assert said(parsed("agent: a\nagent: b\n").problems).endswith(
        ":5: agent: the key stands twice, first in line 4; keep one"
    )


def test_broken_yaml_is_reported_once_with_its_line():
    [problem] = parsed("dependencies: [WP02\nagent: x\n").problems
    assert problem.line in (5, 6)
    assert "not valid YAML" in problem.message


def test_aliases_are_refused_before_they_expand():
    levels = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30))
    [problem] = parsed(f"a0: &a0 x\n{levels}").problems
    assert "aliases are not read" in problem.message


@pytest.mark.parametrize("depth", [50, 200_000])
def test_deep_nesting_is_a_problem_and_not_a_crash(depth: int):
    [problem] = parsed(f"x: {'[' * depth}{']' * depth}\n").problems
    # newer libyaml stops by itself before we do
    assert "levels deep" in problem.message or "nesting depth" in problem.message


def test_text_that_is_not_utf8_is_reported_with_its_line():
    result = parse_work_package(package_text().encode() + b"\nfa\xe7ade\n", "tasks/WP01-x.md", "003-auth")
    assert said(result.problems) == "tasks/WP01-x.md:8: \\xe7: not UTF-8; save the file as UTF-8"


def test_a_file_over_one_mebibyte_is_refused():
    data = package_text().encode()
    assert parse_work_package(data.ljust(MOST_BYTES), "tasks/WP01-x.md", "003-auth").package
    assert "1 MiB" in said(parse_work_package(data.ljust(MOST_BYTES + 1), "tasks/WP01-x.md", "003-auth").problems)


@pytest.mark.parametrize("text", ["", "# only prose\n", "---\ntitle: never closed\n"])
def test_a_file_without_front_matter_is_a_problem(text: str):
    assert "no front matter" in said(parse_work_package(text.encode(), "tasks/WP01-x.md", "003-auth").problems)


def test_windows_line_ends_and_a_byte_order_mark_do_no_harm():
    data = b"\xef\xbb\xbf" + package_text(more="agent: a\n").replace("\n", "\r\n").encode()
    package = parse_work_package(data, "tasks/WP01-x.md", "003-auth").package
    assert package is not None
    assert (package.agent, package.body) == ("a", "# Task\n")


def test_dates_and_unknown_tags_stay_text():
    assert not parsed("created_at: 2026-13-45\nwhat: !python/object:os.system x\n").problems


def test_any_lane_but_done_and_cancelled_is_planned():
    lanes = {
        lane: parsed(f"lane: {lane}\n") for lane in ("done", "cancelled", "planned", "doing", "for_review", "x", "5")
    }
    assert {lane: str(result.package.lane) for lane, result in lanes.items() if not result.warnings} == {
        "done": "done", "cancelled": "cancelled", "planned": "planned", "doing": "planned", "for_review": "planned",
        "x": "planned", "5": "planned",
    }  # fmt: skip


def test_a_lane_that_is_nearly_cancelled_is_planned_with_a_warning():
    result = parsed("lane: canceled\n")
    assert result.package.lane is State.PLANNED
    assert "write done or cancelled" in said(result.warnings)


def test_a_misspelt_key_is_ignored_with_a_warning():
    assert "is `dependencies` meant?" in said(parsed("dependancies: [WP02]\n").warnings)


def test_an_owned_path_that_is_always_forbidden_is_a_warning():
    result = parsed('owned_files: ["kitty-specs/x/**", .kittify/config.yaml, sub/.gitattributes, "**", "src/**"]\n')
    assert [w.value for w in result.warnings] == ["kitty-specs/x/**", ".kittify/config.yaml", "sub/.gitattributes"]


def test_a_test_id_is_kept_as_a_path_with_a_warning():
    result = parsed('owned_files: ["tests/x.py::test_a"]\n')
    assert result.package.owned_files == ("tests/x.py::test_a",)
    assert "without `::`" in said(result.warnings)


def test_an_agent_that_is_not_configured_is_a_problem_in_features():
    assert "not configured" in said(parsed("agent: ghost\n", agents=["claude-code"]).problems)
    assert not parsed("agent: claude-code\n", agents=["claude-code"]).problems


def test_kitty_specs_turn_an_unknown_agent_into_the_default_with_a_warning():
    result = parsed("agent: ghost\n", lenient=True, agents=["claude-code"])
    assert result.package.agent is None
    assert "the default is used" in said(result.warnings)


@pytest.mark.parametrize(("given", "priority"), [("P0", 9), ('"P1"', 8), ("P9", 0), ("4", 4), ("''", 0)])
def test_kitty_specs_priorities(given: str, priority: int):
    assert parsed(f"priority: {given}\n", lenient=True).package.priority == priority


def test_kitty_specs_take_empty_text_for_null():
    package = parsed(
        "agent: ''\nmodel: ''\ntimeout_seconds: ''\ndependencies: ''\nsubtasks: ['', T1]\n", lenient=True
    ).package
    assert (package.agent, package.model, package.timeout_seconds, package.subtasks) == (None, None, None, ("T1",))


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("3d", 259_200),
        ("1w", 604_800),
        ("90m", 5400),
        ("1.5h", 5400),
        ("1d 4h", 100_800),
        ("30s", 30),
        (60, 60),
        ("0h", 0),
    ],
)
def test_estimates(given: object, seconds: int):
    assert parse_estimate(given) == seconds


@pytest.mark.parametrize("given", ["", "3", "d", "3 days", "-1d", "1h-", -5, True, None, 1.5, "9" * 40 + "w", "٣d"])
def test_what_is_no_estimate(given: object):
    assert parse_estimate(given) is None
