import os
from pathlib import Path

import pytest

from agentpkg.core.errors import BadInput
from agentpkg.git.provision import Provided, provide
from agentpkg.git.worktrees import provided
from tests.git.support import Package, package
from tests.support.repos import ScratchFactory, git, write


@pytest.fixture
def own(scratch: ScratchFactory) -> Package:
    own = package(scratch({"tracked": "t\n", "src/a": "a\n"}))
    write(
        own.repo.work_tree,
        {
            ".env": 'TOKEN=abcdefgh12\nexport KEY="quoted value"\nSHORT=abc\n# NOTE\n',
            "conf/local/x.json": '{\n  "password": "hunter2hunter2",\n  "n": 1\n}\n',
            "node_modules/m/index.js": "x",
        },
    )
    (own.repo.work_tree / ".env").chmod(0o600)
    return own


def test_files_and_folders_are_copied_and_linked(own: Package) -> None:
    done = provide(own.repo, own.worktree, [".env", "conf/", "none"], ["./node_modules", "gone"])
    assert done == Provided(
        (".env", "conf/local/x.json"), ("node_modules",), ("none", "gone"),
        frozenset({"abcdefgh12", "quoted value", "hunter2hunter2"}),
    )  # fmt: skip
    assert (own.worktree / ".env").stat().st_mode & 0o777 == 0o600
    assert os.readlink(own.worktree / "node_modules") == str(own.repo.work_tree / "node_modules")
    assert provided(own.repo, own.worktree) == (".env", "conf/local/x.json", "node_modules")
    assert "hunter2" not in repr(done)


def test_repeating_it_changes_nothing_that_is_there(own: Package) -> None:
    provide(own.repo, own.worktree, [".env"], ["node_modules"])
    (own.worktree / ".env").write_text("mine")
    again = provide(own.repo, own.worktree, [".env", "tracked"], ["node_modules", "tracked"])
    assert (own.worktree / ".env").read_text() == "mine"
    assert again.linked == ("node_modules",)
    assert git(own.worktree, "status", "--porcelain", "tracked") == ""


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", ".git/config", "sub/.GIT/x", "", ".", "~/x"])
def test_paths_out_of_the_work_tree_are_refused(own: Package, name: str) -> None:
    with pytest.raises(BadInput):
        provide(own.repo, own.worktree, [name])
    with pytest.raises(BadInput):
        provide(own.repo, own.worktree, (), [name])


def test_links_are_not_followed_on_either_side(own: Package, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("KEY=secretsecret")
    (own.repo.work_tree / "way").symlink_to(tmp_path / "outside")
    (own.repo.work_tree / "one").symlink_to(tmp_path / "outside" / "secret")
    (own.repo.work_tree / "conf" / "link").symlink_to(tmp_path / "outside" / "secret")
    for name in ("way/secret", "one", "way"):
        with pytest.raises(BadInput, match="link"):
            provide(own.repo, own.worktree, [name])
    provide(own.repo, own.worktree, ["conf"])
    assert not (own.worktree / "conf" / "link").exists()
    (own.worktree / "src" / "a").unlink()
    (own.worktree / "src").rmdir()
    (own.worktree / "src").symlink_to(tmp_path / "outside")
    (own.repo.work_tree / "src" / "new").write_text("x")
    with pytest.raises(BadInput, match="link"):
        provide(own.repo, own.worktree, ["src/new"])
    assert sorted(os.listdir(tmp_path / "outside")) == ["secret"]


def test_a_pipe_is_refused_and_not_read(own: Package) -> None:
    os.mkfifo(own.repo.work_tree / "pipe")
    with pytest.raises(BadInput):
        provide(own.repo, own.worktree, ["pipe"])
