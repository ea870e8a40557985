from pathlib import Path

import pytest

from agentpkg.core.commandline import forbidden_command
from agentpkg.core.scope import Scope

SCOPE = Scope(
    owned=("src/auth/**", "tests/**"), allowed=("src/", "tests/"),
    forbidden=(("/.kittify/", ".gitattributes"), ("env_secrets/",), ("tests/golden/",)), commands=("cargo test",),
)  # fmt: skip


@pytest.mark.parametrize("path", ["src/auth/login.py", "tests/test_a.py", "src/auth/deep/er.py"])
def test_what_is_allowed_and_owned_may_be_changed(tmp_path: Path, path: str) -> None:
    assert SCOPE.refuse_change(str(tmp_path), path) is None
    assert SCOPE.refuse_change(str(tmp_path), str(tmp_path / path)) is None


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("docs/x.md", "out of scope"), ("src/models.py", "owns only"), ("tests/golden/a", "forbidden"),
        (".kittify/config.yaml", "forbidden"), ("../x", "outside"), ("/etc/passwd", "outside"), (".git", "git's own"),
        (".GIT/config", "git's own"), ("tests/.GITATTRIBUTES", "forbidden"), ("", "outside"),
        ("src/auth/../../../x", "outside"), ("src/auth/../models.py", "out of scope"),
    ],
)  # fmt: skip
def test_everything_else_is_refused_with_the_reason(tmp_path: Path, path: str, word: str) -> None:
    assert word in (SCOPE.refuse_change(str(tmp_path), path) or "")


def test_a_link_is_judged_by_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "auth").symlink_to("/etc")
    assert "outside" in (SCOPE.refuse_change(str(tmp_path), "src/auth/passwd") or "")


def test_without_lists_everything_below_the_worktree_may_be_changed(tmp_path: Path) -> None:
    assert Scope().refuse_change(str(tmp_path), "any/where") is None


def test_a_scope_survives_json() -> None:
    assert Scope.from_json(SCOPE.as_json()) == SCOPE


@pytest.mark.parametrize(
    "line",
    [
        "cargo test", "cargo test --all", "cd x && cargo test", "RUST_LOG=1 cargo  test", "/usr/bin/cargo test",
        "true;cargo test", "echo a | cargo test", "bash -c 'cargo test'", "sh -lc \"cd a; cargo test -q\"",
        "echo $(cargo test)", "if cargo test; then echo; fi", "env A=1 cargo test", "sudo -E cargo test",
        "(cargo test)", "echo `cargo test`", "git status\ncargo test", 'echo "$(cargo test)"', "cargo test>log",
        "cargo \\\n  test",
    ],
)  # fmt: skip
def test_a_forbidden_command_is_found_wherever_it_stands(line: str) -> None:
    assert forbidden_command(line, ["cargo test"]) == "cargo test"


@pytest.mark.parametrize("line", ["cargo build", "echo cargo test", "git commit -m 'cargo test'", "", "'", "cargo"])
def test_other_commands_are_let_through(line: str) -> None:
    assert forbidden_command(line, ["cargo test", ""]) is None
