import os
from pathlib import Path

import pytest

from agentpkg.git.removal import Kept, Removed, remove
from agentpkg.git.worktrees import record_provided
from tests.git.support import BRANCH, Package, package
from tests.support.repos import ScratchFactory, commit, git


@pytest.fixture
def own(scratch: ScratchFactory) -> Package:
    return package(scratch({"a": "a\n", ".gitignore": "*.o\n"}))


def _remove(own: Package, *landed: str, force: bool = False) -> Removed | Kept:
    return remove(own.repo, own.control, own.worktree, BRANCH, landed or (own.base,), force=force)


def test_a_landed_package_goes_with_worktree_and_branch(own: Package) -> None:
    tip = commit(own.worktree, {"b": "b"})
    git(own.repo.work_tree, "merge", "-q", "--no-ff", "-m", "land", BRANCH)
    config = (own.repo.common_dir / "config").read_bytes()
    (own.worktree / "x.o").write_text("built")
    target = git(own.repo.work_tree, "rev-parse", "main")
    assert _remove(own, target) == Removed(own.worktree, BRANCH)
    assert not own.worktree.exists()
    assert git(own.repo.work_tree, "branch", "--list", "feat/*") == ""
    assert git(own.repo.work_tree, "worktree", "list", "--porcelain").count("worktree ") == 1
    assert (own.repo.common_dir / "config").read_bytes() == config
    assert git(own.repo.work_tree, "cat-file", "-t", tip) == "commit"
    assert _remove(own, target) == Removed(own.worktree, None)


def test_a_squashed_branch_goes_when_its_tip_is_named_as_landed(own: Package) -> None:
    tip = commit(own.worktree, {"b": "b"})
    assert isinstance(_remove(own), Kept)
    assert _remove(own, own.base, tip) == Removed(own.worktree, BRANCH)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [("a", "changed", "not committed"), ("new", "x", "not committed"), (None, "", "have not landed")],
)
def test_what_would_be_lost_keeps_it(own: Package, name: str | None, text: str, reason: str) -> None:
    if name is None:
        commit(own.worktree, {"b": "b"})
    else:
        (own.worktree / name).write_text(text)
    kept = _remove(own)
    assert isinstance(kept, Kept)
    assert reason in kept.reason
    assert kept.paths == (name or own.tip,)
    assert own.worktree.exists()
    assert _remove(own, force=True) == Removed(own.worktree, BRANCH)


def test_other_commits_in_the_worktree_keep_it(own: Package) -> None:
    git(own.worktree, "checkout", "-q", "--detach")
    commit(own.worktree, {"b": "b"})
    kept = _remove(own)
    assert isinstance(kept, Kept)
    assert "HEAD" in kept.reason


def test_a_running_session_and_a_lock_keep_it_even_from_force(own: Package) -> None:
    git(own.repo.work_tree, "worktree", "lock", "--reason", "on a stick", str(own.worktree))
    assert _remove(own, force=True) == Kept(own.worktree, "it is locked: on a stick")
    git(own.repo.work_tree, "worktree", "unlock", str(own.worktree))
    own.begin()
    kept = _remove(own, force=True)
    assert isinstance(kept, Kept)
    assert "session" in kept.reason


def test_what_is_no_worktree_of_the_repository_is_kept(own: Package, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    kept = remove(own.repo, own.control, tmp_path / "mine", "none", force=True)
    assert kept == Kept(tmp_path / "mine", "it is no worktree of this repository")
    own.worktree.rename(tmp_path / "moved")
    own.worktree.symlink_to(tmp_path / "moved")
    assert isinstance(_remove(own, force=True), Kept)
    assert (tmp_path / "moved" / "a").exists()


def test_a_vanished_folder_is_no_obstacle(own: Package, tmp_path: Path) -> None:
    own.worktree.rename(tmp_path / "gone")
    assert _remove(own) == Removed(own.worktree, BRANCH)


def test_closed_folders_deep_ones_and_links_are_removed_and_not_followed(own: Package, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "f").write_text("stays")
    (own.worktree / "link.o").symlink_to(tmp_path / "outside")
    deep = own.worktree / "x.o"
    for _ in range(100):
        deep /= "d" * 20
    os.makedirs(deep)
    deep.parent.chmod(0)
    assert _remove(own) == Removed(own.worktree, BRANCH)
    assert (tmp_path / "outside" / "f").read_text() == "stays"


def test_provided_files_are_no_loss(own: Package) -> None:
    (own.worktree / ".env").write_text("SECRET=1")
    (own.worktree / "node_modules").symlink_to(own.repo.work_tree)
    record_provided(own.repo, own.worktree, [".env", "node_modules"])
    assert _remove(own) == Removed(own.worktree, BRANCH)
    assert (own.repo.work_tree / "a").exists()


def test_a_branch_that_the_user_has_checked_out_stays(own: Package) -> None:
    git(own.repo.work_tree, "worktree", "remove", str(own.worktree))
    git(own.repo.work_tree, "switch", "-q", BRANCH)
    assert _remove(own) == Removed(own.worktree, None)
    assert git(own.repo.work_tree, "branch", "--show-current") == BRANCH
