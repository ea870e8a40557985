import multiprocessing
import os
from pathlib import Path

import pytest

from agentpkg.core.errors import BadInput, Lacking
from agentpkg.git.control import open_control
from agentpkg.git.discover import discover
from agentpkg.git.finite import require_finite
from agentpkg.git.quarantine import open_quarantine
from agentpkg.git.repo import Git, GitFailed
from tests.git.support import plant
from tests.support.repos import ScratchFactory, commit, git


def test_the_control_dir_reads_the_repositorys_objects_and_no_program(scratch: ScratchFactory, tmp_path: Path) -> None:
    path = scratch()
    plant(path, tmp_path / "marker")
    git(path, "config", "core.autocrlf", "input")
    git(path, "config", "core.checkStat", "nonsense")
    repo = discover(path)
    control = open_control(repo)
    config = (repo.state / "control.git" / "config").read_text()
    assert config == "[core]\n\trepositoryformatversion = 0\n\tbare = true\n\tautocrlf = input\n\tfilemode = true\n"
    assert control.text("cat-file", "-t", git(path, "rev-parse", "HEAD")) == "commit"
    assert repo.state.stat().st_mode & 0o777 == 0o700
    assert not (tmp_path / "marker").exists()


def test_what_a_power_cut_emptied_in_a_git_dir_of_its_own_is_written_again(
    scratch: ScratchFactory, tmp_path: Path
) -> None:
    repo = discover(scratch())
    head = git(repo.work_tree, "rev-parse", "HEAD")
    made = [lambda: open_control(repo), lambda: open_quarantine(repo.common_dir, tmp_path)]
    for open_one in made:
        for name in ("HEAD", "config", "objects/info/alternates"):
            (open_one().git_dir / name).write_bytes(b"")
            assert open_one().text("rev-parse", "--is-bare-repository", f"{head}^{{commit}}") == f"true\n{head}"


def test_links_in_a_git_dir_of_its_own_lead_nothing_into_the_users(scratch: ScratchFactory, tmp_path: Path) -> None:
    repo = discover(scratch())
    before = (repo.common_dir / "config").read_bytes()
    quarantine = tmp_path / "quarantine.git"
    quarantine.symlink_to(repo.common_dir)
    head = git(repo.work_tree, "rev-parse", "HEAD")
    for planted in ("", "refs", "objects", "config"):
        if planted:
            (quarantine / planted).rename(tmp_path / f"old-{planted}")
            (quarantine / planted).symlink_to(repo.common_dir / planted)
        opened = open_quarantine(repo.common_dir, tmp_path)
        opened.run("update-ref", f"refs/session/x{planted}", head)
    assert (repo.common_dir / "config").read_bytes() == before
    assert git(repo.work_tree, "for-each-ref", "refs/session") == ""


def test_the_users_own_line_end_setting_counts_and_may_change(scratch: ScratchFactory, still_world: Path) -> None:
    repo = discover(scratch())
    with (still_world / ".gitconfig").open("a") as config:
        config.write("[core]\n\tautocrlf = true\n")
    assert open_control(repo).text("config", "core.autocrlf") == "true"
    git(repo.work_tree, "config", "core.autocrlf", "false")
    assert open_control(repo).text("config", "core.autocrlf") == "false"


def test_shallow_and_info_files_are_mirrored_each_time(scratch: ScratchFactory, tmp_path: Path) -> None:
    origin = scratch()
    commit(origin, {"b": "b"})
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{origin}", "clone")
    repo = discover(tmp_path / "clone")
    (repo.common_dir / "info" / "attributes").write_text("*.x eol=crlf\n")
    control = open_control(repo)
    assert control.text("rev-list", "--count", git(repo.work_tree, "rev-parse", "HEAD")) == "1"
    assert (control.git_dir / "info" / "attributes").read_text() == "*.x eol=crlf\n"
    git(repo.work_tree, "fetch", "-q", "--unshallow")
    (repo.common_dir / "info" / "attributes").unlink()
    control = open_control(repo)
    assert control.text("rev-list", "--count", git(repo.work_tree, "rev-parse", "HEAD")) == "2"
    assert not (control.git_dir / "info" / "attributes").exists()


def test_a_pipe_in_place_of_an_info_file_is_refused_and_not_waited_for(scratch: ScratchFactory) -> None:
    repo = discover(scratch())
    (repo.common_dir / "info").mkdir(exist_ok=True)
    os.mkfifo(repo.common_dir / "info" / "attributes")
    with pytest.raises(BadInput, match="attributes"):
        open_control(repo)


def test_sha256_repositories_and_moved_ones_work(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--object-format=sha256", "a \"b\n'\\")
    path = tmp_path / "a \"b\n'\\"
    head = commit(path, {"f": "f"})
    assert open_control(discover(path)).text("cat-file", "-t", head) == "commit"
    path.rename(tmp_path / "moved")
    assert open_control(discover(tmp_path / "moved")).text("cat-file", "-t", head) == "commit"


def test_a_filter_runs_only_if_named_and_only_from_the_users_configuration(
    scratch: ScratchFactory, still_world: Path
) -> None:
    path = scratch()
    git(path, "config", "filter.up.smudge", "tr a-z A-Z")
    repo = discover(path)
    with pytest.raises(Lacking, match="'up'"):
        open_control(repo, ["up"])
    with (still_world / ".gitconfig").open("a") as config:
        config.write('[filter "up"]\n\tsmudge = tr a-z B-ZA\n')
    head = commit(path, {".gitattributes": "* filter=up\n", "f": "abc\n"})
    out = still_world / "out"
    out.mkdir()
    for filters, text in ((), "abc\n"), (("up",), "BCD\n"):
        git_ = open_control(repo, filters).but(work_tree=out, index=still_world / f"index{len(filters)}")
        git_.run("read-tree", head)
        git_.run("checkout-index", "-f", "f")
        assert (out / "f").read_text() == text


def _open(path: Path) -> str:
    return open_control(discover(path)).text("cat-file", "-t", git(path, "rev-parse", "HEAD"))


@pytest.mark.slow
def test_eight_processes_may_make_it_at_once(scratch: ScratchFactory) -> None:
    path = scratch()
    with multiprocessing.get_context("spawn").Pool(8) as pool:
        assert pool.map(_open, [path] * 8, chunksize=1) == ["commit"] * 8
    assert [p.name for p in (path / ".git" / "agentpkg").iterdir()] == ["control.git"]


@pytest.mark.parametrize("dies", ["exec <&-; kill -9 $$", "kill -9 $$"])
def test_a_git_that_dies_while_it_is_talked_to_is_told_as_killed(scratch: ScratchFactory, dies: str) -> None:
    git = Git(scratch({"a.txt": "one\n"}) / ".git", prefix=("/bin/sh", "-c", dies))
    with pytest.raises(GitFailed, match="signal 9") as failed:
        require_finite(git, ["HEAD"])
    assert failed.value.returncode == -9
