import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from agentpkg.core.errors import Lacking
from agentpkg.git.discover import discover
from tests.git.support import package
from tests.support.repos import ScratchFactory, commit, git


def test_a_repository_is_found_from_its_top_and_from_below(scratch: ScratchFactory) -> None:
    repo = scratch({"src/deep/a.py": ""})
    for start in (repo, repo / "src" / "deep", repo / ".git" / "hooks"):
        found = discover(start)
        assert (found.work_tree, found.common_dir) == (repo, repo / ".git")
        assert found.state == repo / ".git" / "agentpkg"
        assert not found.state.exists()
    assert (found.object_format, found.shallow) == ("sha1", False)


def test_a_repository_is_found_through_a_link_and_with_an_odd_name(scratch: ScratchFactory, tmp_path: Path) -> None:
    odd = tmp_path / "a b\nü" / "r'\"$(x)"
    odd.mkdir(parents=True)
    git(odd, "init", "-q")
    (tmp_path / "link").symlink_to(odd)
    assert discover(tmp_path / "link").work_tree == odd


def test_a_linked_worktree_of_the_user_leads_to_the_main_work_tree(scratch: ScratchFactory, tmp_path: Path) -> None:
    repo = scratch()
    git(repo, "worktree", "add", "-q", str(tmp_path / "else where"), "-b", "x")
    assert discover(tmp_path / "else where").work_tree == repo


def test_sha256_and_shallow_are_known(scratch: ScratchFactory, tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--object-format=sha256", "new")
    assert discover(tmp_path / "new").object_format == "sha256"
    repo = scratch()
    commit(repo, {"b": "b"})
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{repo}", "shallow")
    assert discover(tmp_path / "shallow").shallow


def test_a_submodule_is_a_repository_of_its_own(scratch: ScratchFactory) -> None:
    outer, inner = scratch(), scratch()
    git(outer, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(inner), "sub")
    found = discover(outer / "sub")
    assert (found.work_tree, found.common_dir) == (outer / "sub", outer / ".git" / "modules" / "sub")
    git(outer / "sub", "worktree", "add", "-q", str(outer.parent / "wt"))
    assert discover(outer.parent / "wt").work_tree == outer / "sub"


def test_a_package_worktree_is_found_while_a_session_has_it(scratch: ScratchFactory, tmp_path: Path) -> None:
    inside = package(scratch({"src/a.py": ""}))
    inside.begin()
    assert discover(inside.worktree / "src") == inside.repo
    outside = package(scratch({"src/a.py": ""}), tmp_path / "far away")
    outside.begin()
    assert discover(outside.worktree / "src") == outside.repo


@pytest.mark.parametrize("how", ["file", "folder", "nothing", "link", "below"])
def test_a_package_worktree_whose_git_file_was_rewritten_leads_to_its_own_repository(
    scratch: ScratchFactory, how: str
) -> None:
    own = package(scratch({"src/a.py": ""}))
    other = scratch()
    dot_git = own.worktree / ".git"
    if how != "below":
        dot_git.unlink()
    if how == "file":
        dot_git.write_text(f"gitdir: {other / '.git'}\n")
    elif how == "folder":
        git(own.worktree, "init", "-q")
    elif how == "link":
        dot_git.symlink_to(other / ".git")
    elif how == "below":
        git(own.worktree / "src", "init", "-q")
    assert discover(own.worktree / "src") == own.repo


def test_a_back_pointer_that_the_repository_does_not_confirm_is_refused(
    scratch: ScratchFactory, tmp_path: Path
) -> None:
    victim = package(scratch())
    fake = victim.repo.state / "sessions" / "sess_fake"
    (fake / "git" / "worktrees" / "x").mkdir(parents=True)
    (fake / "git" / "worktrees" / "x" / "commondir").write_text("../..\n")
    (fake / "repository").write_text(f"{victim.repo.common_dir}\n")
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    (stranger / ".git").write_text(f"gitdir: {fake}/git/worktrees/x\n")
    with pytest.raises(Lacking, match="not of this worktree"):
        discover(stranger)


def test_what_is_no_repository_is_refused_with_a_way_out(scratch: ScratchFactory, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    with pytest.raises(Lacking) as none:
        discover(tmp_path / "plain")
    assert (none.value.code, none.value.exit_code) == ("no_repository", 5)
    assert "git init" in none.value.hint
    git(tmp_path, "init", "-q", "--bare", "bare")
    git(scratch(), "push", "-q", str(tmp_path / "bare"), "main")
    with pytest.raises(Lacking) as bare:
        discover(tmp_path / "bare" / "refs")
    assert bare.value.code == "bare_repository"
    git(tmp_path / "bare", "worktree", "add", "-q", str(tmp_path / "of bare"), "main")
    with pytest.raises(Lacking, match="no main work tree"):
        discover(tmp_path / "of bare")
    broken = scratch()
    (broken / ".git" / "HEAD").write_text("nonsense\n")
    with pytest.raises(Lacking) as unreadable:
        discover(broken)
    assert unreadable.value.code == "broken_repository"


def test_a_moved_worktree_is_refused_with_gits_own_repair(scratch: ScratchFactory, tmp_path: Path) -> None:
    repo = scratch()
    git(repo, "worktree", "add", "-q", str(tmp_path / "wt"))
    (tmp_path / "wt").rename(tmp_path / "moved")
    with pytest.raises(Lacking) as moved:
        discover(tmp_path / "moved")
    assert "git worktree repair" in moved.value.hint


def test_a_partial_clone_is_refused(scratch: ScratchFactory, tmp_path: Path) -> None:
    repo = scratch()
    git(repo, "config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "-q", "--filter=blob:none", f"file://{repo}", "partial")
    with pytest.raises(Lacking) as partial:
        discover(tmp_path / "partial")
    assert (partial.value.code, partial.value.exit_code) == ("partial_clone", 5)
    git(tmp_path / "partial", "config", "--unset", "remote.origin.promisor")
    git(tmp_path / "partial", "config", "remote.origin.promisor", "false")
    git(tmp_path / "partial", "config", "--unset", "extensions.partialClone") if _partial(tmp_path) else None
    assert discover(tmp_path / "partial").work_tree == tmp_path / "partial"


def _partial(tmp_path: Path) -> bool:
    asked = ["git", "-C", str(tmp_path / "partial"), "config", "extensions.partialClone"]
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_another_users_repository_is_refused_until_the_user_trusts_it(scratch: ScratchFactory) -> None:
    repo = scratch()
    for path in (repo, repo / ".git"):
        os.chown(path, 12345, 12345)
    with pytest.raises(Lacking) as foreign:
        discover(repo)
    assert foreign.value.code == "foreign_repository"
    subprocess.run(shlex.split(foreign.value.hint.partition(": ")[2]), check=True)
    assert discover(repo).work_tree == repo


def test_an_old_git_is_refused(scratch: ScratchFactory, tmp_path: Path) -> None:
    repo = scratch()
    fake = tmp_path / "bin" / "git"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho git version 2.37.9\n")
    fake.chmod(0o755)
    code = f"from pathlib import Path; from agentpkg.git.discover import discover; discover(Path({str(repo)!r}))"
    env = {"PATH": f"{fake.parent}:/usr/bin:/bin", "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert "Lacking: git version 2.37.9 is too old" in done.stderr
