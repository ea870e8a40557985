"""``.kittify/governance.yaml``: what it may say, and how everything wrong with it is told."""

from pathlib import Path

import pytest

from agentpkg.config.governance import Policy, load_policy, parse_policy
from agentpkg.core.errors import BadInput


def problems(text: str) -> list[tuple[int, str]]:
    with pytest.raises(BadInput) as refused:
        parse_policy(text)
    assert (refused.value.exit_code, refused.value.code) == (2, "bad_policy")
    return [(one["line"], one["message"]) for one in refused.value.details["problems"]]


def test_without_a_file_nothing_waits_and_the_scope_is_firm(tmp_path: Path) -> None:
    policy = load_policy(tmp_path)
    assert policy == Policy() == parse_policy("") == parse_policy("actions:\npaths:\n")
    assert (policy.actions.merge, policy.actions.scope, policy.approval.people) == ("autonomous", "forbidden", 1)


def test_everything_a_policy_can_say() -> None:
    policy = parse_policy("""\
actions: {merge: approval, dependencies: forbidden, migrations: approval, workflows: forbidden, scope: approval}
paths:
  - {match: ["infra/**"], name: infrastructure}
  - {match: [LICENSE], action: forbidden}
patterns: {migrations: ["db/*.sql"]}
approval: {people: 2, approvers: [ada, bob], exclude_dispatcher: true, deadline_seconds: 60, binds: change}
""")
    assert [(rule.match, rule.action) for rule in policy.paths] == [
        (("infra/**",), "approval"),
        (("LICENSE",), "forbidden"),
    ]
    assert policy.patterns.migrations == ("db/*.sql",)
    assert "/.github/workflows" in policy.patterns.workflows
    assert (policy.approval.people, policy.approval.deadline_seconds) == (2, 60)


def test_all_that_is_wrong_is_told_at_once_with_its_line() -> None:
    found = problems(
        "actions:\n  merg: approval\n  scope: maybe\npaths:\n  - match: []\n  - match: ['../x']\nspending: approval\n"
        "approval:\n  people: 0\n  deadline_seconds: soon\n"
    )
    assert [line for line, _ in found] == [2, 3, 5, 6, 7, 9, 10]
    texts = " | ".join(text for _, text in found)
    assert "actions.merg: unknown key; did you mean `merge`?" in texts
    assert "should be one of autonomous, approval, forbidden" in texts
    assert "paths.0.match: should not be empty" in texts
    assert "inside the repository" in texts
    assert "at least 1" in texts


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("approval:\n  people: 3\n  approvers: [ada, bob]\n", 2, "more than there are approvers"),
        ("actions: {merge: approval\n", 2, "not valid YAML"),
        ("- merge\n", 1, "key: value"),
        ("actions: {merge: approval}\nactions: {}\n", 2, "given twice"),
    ],
)
def test_what_no_single_key_can_tell(text: str, line: int, said: str) -> None:
    ((at, message),) = problems(text)
    assert at == line
    assert said in message


@pytest.mark.parametrize("data", [b"\xff", b"#" * (1 << 20) + b"##"])
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / ".kittify").mkdir()
    (tmp_path / ".kittify" / "governance.yaml").write_bytes(data)
    with pytest.raises(BadInput, match=r"governance\.yaml:1"):
        load_policy(tmp_path)
