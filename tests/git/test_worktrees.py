import multiprocessing
import os
import subprocess
from pathlib import Path

import pytest

from agentpkg.core.errors import NotAllowed
from agentpkg.git.control import open_control
from agentpkg.git.discover import discover
from agentpkg.git.marks import Mark, read_mark, write_mark
from agentpkg.git.worktrees import Changes, changes, create, ensure_excluded, list_worktrees
from tests.git.support import BRANCH, package, plant
from tests.support.repos import ScratchFactory, commit, git


def test_a_worktree_is_a_real_one_with_a_branch_that_tracks_nothing(scratch: ScratchFactory) -> None:
    path = scratch({"src/a.py": "a\n", "run.sh": "x\n"})
    git(path, "update-ref", "refs/remotes/origin/main", "HEAD")
    config = (path / ".git" / "config").read_bytes()
    own = package(path)
    assert git(own.worktree, "rev-parse", "--abbrev-ref", "HEAD") == BRANCH
    assert git(own.worktree, "status", "--porcelain") == ""
    assert own.tip == own.base
    assert (path / ".git" / "config").read_bytes() == config
    assert [(w.path, w.branch) for w in list_worktrees(own.repo)] == [
        (path, "refs/heads/main"), (own.worktree, f"refs/heads/{BRANCH}"),
    ]  # fmt: skip


def test_planted_code_runs_in_plain_git_and_never_here(scratch: ScratchFactory, tmp_path: Path) -> None:
    path, marker = scratch({".gitattributes": "*.py filter=evil diff=evil\n", "a.py": "a\n"}), tmp_path / "marker"
    plant(path, marker)
    own = package(path)
    (own.worktree / "a.py").write_text("changed\n")
    assert changes(own.control, own.worktree, own.tip).tracked == ("a.py",)
    assert not marker.exists()
    assert (own.worktree / ".gitattributes").exists()
    subprocess.run(["git", "-C", str(path), "worktree", "add", "-q", str(tmp_path / "plain")], check=False)
    assert "planted.sh" in marker.read_text()


@pytest.mark.parametrize("name", ["with space", "ünï-✓", "new\nline", "-dash", 'quo"te', "back\\slash", "a:b"])
def test_odd_paths_work(scratch: ScratchFactory, tmp_path: Path, name: str) -> None:
    own = package(scratch({"src/a.py": "a\n"}), tmp_path / name)
    assert git(own.worktree, "status", "--porcelain") == ""
    assert list_worktrees(own.repo)[1].path == own.worktree


def test_odd_repository_paths_and_file_names_work(scratch: ScratchFactory, tmp_path: Path) -> None:
    parent = tmp_path / "par\nent: ü"
    parent.mkdir()
    scratch({"-a\nb": "1", "ü/x y": "2", '"q"': "3"}).rename(parent / "r")
    own = package(parent / "r")
    assert git(own.worktree, "status", "--porcelain") == ""
    (own.worktree / "-a\nb").unlink()
    (own.worktree / "ü" / "neu").write_text("")
    assert changes(own.control, own.worktree, own.tip) == Changes(("-a\nb",), ("ü/neu",))


def test_line_ends_are_written_as_the_users_git_would(scratch: ScratchFactory) -> None:
    path = scratch({"a.txt": "one\ntwo\n", "b.sh": "x\n", ".gitattributes": "*.sh eol=lf\n"})
    git(path, "config", "core.autocrlf", "true")
    own = package(path)
    assert (own.worktree / "a.txt").read_bytes() == b"one\r\ntwo\r\n"
    assert (own.worktree / "b.sh").read_bytes() == b"x\n"
    assert git(own.worktree, "status", "--porcelain") == ""
    assert not changes(own.control, own.worktree, own.tip, index=own.admin / "index")


def test_sha256_and_shallow_repositories_have_worktrees(scratch: ScratchFactory, tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "main", "--object-format=sha256", "new")
    commit(tmp_path / "new", {"a": "a"})
    assert git(package(tmp_path / "new").worktree, "status", "--porcelain") == ""
    origin = scratch()
    commit(origin, {"b": "b"})
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{origin}", "shallow")
    own = package(tmp_path / "shallow")
    assert git(own.worktree, "log", "--oneline").count("\n") == 0
    assert git(own.worktree, "status", "--porcelain") == ""


def _make(path: Path, number: int) -> str:
    repo = discover(path)
    control = open_control(repo)
    ensure_excluded(repo, "/.worktrees/")
    worktree = path / ".worktrees" / f"w{number}"
    create(repo, control, worktree, f"feat/w{number}", git(path, "rev-parse", "main"))
    return git(worktree, "status", "--porcelain", "--branch")


@pytest.mark.slow
def test_eight_processes_make_worktrees_at_once(scratch: ScratchFactory) -> None:
    path = scratch({f"d{n % 7}/f{n}": str(n) for n in range(200)})
    with multiprocessing.get_context("spawn").Pool(8) as pool:
        got = pool.starmap(_make, [(path, n) for n in range(24)], chunksize=1)
    assert got == [f"## feat/w{n}" for n in range(24)]
    assert git(path, "status", "--porcelain") == ""
    assert (path / ".git" / "info" / "exclude").read_text().splitlines().count("/.worktrees/") == 1
    assert len(list_worktrees(discover(path))) == 25


@pytest.mark.slow
def test_eight_processes_make_the_same_worktree_and_one_does(scratch: ScratchFactory) -> None:
    path = scratch({f"f{n}": str(n) for n in range(200)})
    with multiprocessing.get_context("spawn").Pool(8) as pool:
        assert pool.starmap(_make, [(path, 1)] * 8, chunksize=1) == ["## feat/w1"] * 8


def test_a_further_call_takes_up_what_is_there(scratch: ScratchFactory) -> None:
    own = package(scratch({"a": "a\n"}))
    (own.worktree / "a").write_text("unsaved\n")
    tip = commit(own.worktree, {"b": "b"})
    (own.worktree / "c").write_text("more\n")
    assert create(own.repo, own.control, own.worktree, BRANCH, own.base) == own.admin
    assert (own.tip, (own.worktree / "c").read_text()) == (tip, "more\n")


def test_a_branch_without_a_worktree_is_continued(scratch: ScratchFactory) -> None:
    own = package(scratch())
    tip = commit(own.worktree, {"b": "b"})
    git(own.repo.work_tree, "worktree", "remove", str(own.worktree))
    create(own.repo, own.control, own.worktree, BRANCH, own.base)
    assert git(own.worktree, "rev-parse", "HEAD") == tip
    assert (own.worktree / "b").exists()


def test_what_is_half_made_is_made_anew(scratch: ScratchFactory, tmp_path: Path) -> None:
    own = package(scratch({"a": "a", "b": "b"}))
    write_mark(own.admin, Mark(BRANCH, made=False))
    (own.worktree / "a").unlink()
    create(own.repo, own.control, own.worktree, BRANCH, own.base)
    assert git(own.worktree, "status", "--porcelain") == ""
    assert read_mark(own.admin) == Mark(BRANCH, made=True)
    # stopped right after git made the admin dir
    git(own.repo.work_tree, "worktree", "add", "-q", "--no-checkout", "-b", "x", str(tmp_path / "x"))
    create(own.repo, own.control, tmp_path / "x", "x", own.base)
    assert git(tmp_path / "x", "status", "--porcelain") == ""


@pytest.mark.parametrize("how", ["same path", "other path"])
def test_a_worktree_whose_folder_vanished_is_made_anew(scratch: ScratchFactory, tmp_path: Path, how: str) -> None:
    own = package(scratch())
    subprocess.run(["rm", "-rf", str(own.worktree)], check=True)
    path = own.worktree if how == "same path" else tmp_path / "elsewhere"
    create(own.repo, own.control, path, BRANCH, own.base)
    assert git(path, "status", "--porcelain") == ""


def test_what_is_the_users_is_never_taken(scratch: ScratchFactory, tmp_path: Path) -> None:
    path = scratch()
    repo, base = discover(path), git(path, "rev-parse", "HEAD")
    control = open_control(repo)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    with pytest.raises(NotAllowed, match="in the way"):
        create(repo, control, tmp_path / "full", BRANCH, base)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(NotAllowed, match="in the way"):
        create(repo, control, tmp_path / "link", BRANCH, base)
    git(path, "switch", "-q", "-c", BRANCH)
    with pytest.raises(NotAllowed, match="checked out at"):
        create(repo, control, tmp_path / "wt", BRANCH, base)
    git(path, "switch", "-q", "main")
    git(path, "branch", "-D", BRANCH)
    git(path, "branch", "feat")
    with pytest.raises(NotAllowed, match="cannot be made") as refused:
        create(repo, control, tmp_path / "wt", BRANCH, base)
    assert "branch_prefix" in refused.value.hint
    assert (tmp_path / "full" / "mine").read_text() == "mine"


def test_another_branch_checked_out_in_the_worktree_is_told(scratch: ScratchFactory) -> None:
    own = package(scratch())
    git(own.worktree, "switch", "-q", "-c", "my-own")
    with pytest.raises(NotAllowed, match="refs/heads/my-own"):
        create(own.repo, own.control, own.worktree, BRANCH, own.base)


def test_changes_tell_tracked_from_untracked_and_honour_all_ignore_files(
    scratch: ScratchFactory, tmp_path: Path
) -> None:
    own = package(scratch({".gitignore": "*.o\n", "a": "a\n", "b": "b\n", "c": "c\n"}))
    (own.repo.common_dir / "info" / "exclude").write_text("*.tmp\n")
    control = open_control(own.repo)
    (tmp_path / "mine").write_text("*.log\n")
    for name in ("x.o", "x.tmp", "x.log", "new", ".env"):
        (own.worktree / name).write_text("")
    (own.worktree / "folder").mkdir()
    (own.worktree / "folder" / "y").write_text("")
    (own.worktree / "a").write_text("changed\n")
    (own.worktree / "b").unlink()
    os.utime(own.worktree / "c", (1, 1))
    found = changes(
        control, own.worktree, own.tip, index=own.admin / "index", provided=[".env"], excludes=tmp_path / "mine"
    )
    assert found == Changes(("a", "b"), ("folder/", "new"))


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
def test_flags_in_an_index_hide_no_change(scratch: ScratchFactory, flag: str) -> None:
    own = package(scratch({"a": "a\n"}))
    git(own.worktree, "update-index", flag, "a")
    (own.worktree / "a").write_text("changed\n")
    assert changes(own.control, own.worktree, own.tip, index=own.admin / "index").tracked == ("a",)


def test_a_pipe_where_git_would_wait_is_told_at_once(scratch: ScratchFactory) -> None:
    own = package(scratch({"src/a": "a\n"}))
    os.mkfifo(own.worktree / "src" / ".gitignore")
    assert changes(own.control, own.worktree, own.tip) == Changes(("src/.gitignore",))


def test_the_exclude_file_keeps_what_is_in_it(scratch: ScratchFactory) -> None:
    repo = discover(scratch())
    file = repo.common_dir / "info" / "exclude"
    file.write_text("mine")
    for _ in range(2):
        ensure_excluded(repo, "/.worktrees/")
    assert file.read_text() == "mine\n/.worktrees/\n"


def test_the_main_worktree_is_known_where_the_git_dir_lies_elsewhere(scratch: ScratchFactory, tmp_path: Path) -> None:
    work_tree = scratch()
    git(work_tree, "init", "-q", "--separate-git-dir", str(tmp_path / "elsewhere.git"))
    assert list_worktrees(discover(work_tree))[0].path == work_tree
