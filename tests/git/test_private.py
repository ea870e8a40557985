import os
import subprocess
from pathlib import Path

import pytest

from agentpkg.core.errors import Lacking
from agentpkg.git.fingerprint import compare, take
from agentpkg.git.private import astray, git_dir, is_entered, leave, make_private, private_tip
from agentpkg.git.worktrees import changes, record_provided
from tests.git.support import BRANCH, Package, package, plant
from tests.support.repos import ScratchFactory, commit, git


@pytest.fixture
def own(scratch: ScratchFactory) -> Package:
    return package(scratch({"src/a.py": "a\n", "b": "b\n"}))


def _leave(own: Package) -> None:
    leave(own.repo, own.control, own.worktree, own.session)


def _all_bytes(root: Path) -> dict[str, bytes]:
    files = (Path(where) / name for where, _, names in os.walk(root) for name in names)
    return {str(f): f.read_bytes() for f in files if "agentpkg/" not in str(f.relative_to(root))}


def test_the_agent_commits_without_touching_the_repository(own: Package) -> None:
    before = _all_bytes(own.repo.common_dir)
    private = own.begin()
    assert is_entered(own.repo, own.worktree)
    assert git(own.worktree, "status", "--porcelain", "--branch") == f"## {BRANCH}"
    tip = commit(own.worktree, {"new": "x"}, "feat: new")
    assert git(own.worktree, "log", "-1", "--format=%an <%ae> %cn") == "replay <replay@agentpkg.invalid> replay"
    assert private_tip(private, BRANCH) == tip
    place = git_dir(own.repo, own.worktree, private)
    git(own.worktree, "checkout", "-q", "--detach")
    assert astray(place, BRANCH, (tip,)) is None
    commit(own.worktree, {"new": "y"}, "feat: elsewhere")
    assert astray(place, BRANCH, (tip,)) == "on a detached HEAD"
    git(own.worktree, "checkout", "-q", "-b", "mine")
    assert astray(place, BRANCH, (tip,)) == "on a branch of its own, 'mine'"
    assert _all_bytes(own.repo.common_dir) == before
    assert own.tip == own.base


@pytest.mark.slow
@pytest.mark.parametrize(
    "commands",
    [
        ["commit -q --allow-empty -m one", "commit -q --amend --allow-empty -m two", "gc -q --prune=now"],
        ["switch -q -c other", "commit -q --allow-empty -m x", "switch -q -", "merge -q --no-ff -m m other"],
        ["stash -u -q", "stash pop -q", "tag v1", "pack-refs --all", "branch -d other2"],
        ["config user.name x", "notes add -m n HEAD", "worktree add -q ../wt2", "commit -q --allow-empty -m y"],
        ["commit -q --allow-empty -m a", "rebase -q main", "reset -q --hard HEAD", "cherry-pick --allow-empty HEAD"],
    ],
)
def test_usual_git_work_stays_in_the_private_dir(own: Package, commands: list[str]) -> None:
    git(own.repo.work_tree, "tag", "v0")
    before = _all_bytes(own.repo.common_dir)
    own.begin()
    git(own.worktree, "branch", "other2")
    (own.worktree / "untracked").write_text("x")
    for command in commands:
        git(own.worktree, *command.split())
    git(own.worktree, "fsck")
    assert _all_bytes(own.repo.common_dir) == before


def test_the_private_configuration_has_nothing_of_the_users(
    scratch: ScratchFactory, tmp_path: Path, still_world: Path
) -> None:
    path = scratch({"a": "a\n"})
    plant(path, tmp_path / "marker")
    git(path, "config", "http.extraHeader", "Authorization: TOKEN")
    with (still_world / ".gitconfig").open("a") as config:
        config.write("[commit]\n\tgpgSign = true\n")
    own = package(path)
    private = own.begin()
    assert "TOKEN" not in (private / "config").read_text()
    (own.worktree / "a").write_text("b\n")
    commit(own.worktree, {"a": "b\n"})
    assert not (tmp_path / "marker").exists()
    assert os.listdir(private / "hooks") == []
    assert private.stat().st_mode & 0o077 == 0


def test_branches_tags_and_shallowness_are_there(scratch: ScratchFactory, tmp_path: Path) -> None:
    origin = scratch()
    commit(origin, {"b": "b"})
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{origin}", "clone")
    git(tmp_path / "clone", "branch", "z-other")
    git(tmp_path / "clone", "tag", "-a", "-m", "t", "v1")
    own = package(tmp_path / "clone")
    own.begin()
    assert git(own.worktree, "for-each-ref", "--format=%(refname:short) %(objecttype)") == (
        f"{BRANCH} commit\nmain commit\nz-other commit\nv1 tag"
    )
    assert git(own.worktree, "log", "--oneline").count("\n") == 0


def test_a_sha256_repository_has_private_dirs(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "main", "--object-format=sha256", "a b\nü")
    commit(tmp_path / "a b\nü", {"a": "a"})
    own = package(tmp_path / "a b\nü")
    private = own.begin()
    tip = commit(own.worktree, {"new": "x"})
    assert len(tip) == 64
    assert private_tip(private, BRANCH) == tip
    _leave(own)
    assert git(own.worktree, "status", "--porcelain") == "?? new"


def test_leaving_keeps_files_and_follows_the_branch(own: Package) -> None:
    private = own.begin()
    tip = commit(own.worktree, {"new": "x\n"})
    (own.worktree / "b").write_text("unsaved\n")
    (own.worktree / "c").write_text("more\n")
    git(own.worktree, "switch", "-q", "-c", "elsewhere")
    # admission brings the commit over
    git(own.repo.work_tree, "fetch", "-q", str(private), f"refs/heads/{BRANCH}:refs/heads/{BRANCH}", "--update-head-ok")
    for _ in range(2):
        _leave(own)
        assert not is_entered(own.repo, own.worktree)
        assert git(own.worktree, "status", "--porcelain", "--branch") == f"## {BRANCH}\n M b\n?? c"
        assert own.tip == tip


@pytest.mark.parametrize("how", ["folder", "link", "missing", "pipe", "other"])
def test_leaving_puts_a_rewritten_git_file_right(own: Package, scratch: ScratchFactory, how: str) -> None:
    own.begin()
    dot_git = own.worktree / ".git"
    dot_git.unlink()
    if how == "folder":
        git(own.worktree, "init", "-q")
        commit(own.worktree, {"work": "kept"})
    elif how == "link":
        dot_git.symlink_to(scratch() / ".git")
    elif how == "pipe":
        os.mkfifo(dot_git)
    elif how == "other":
        dot_git.write_text(f"gitdir: {scratch() / '.git'}\n")
    _leave(own)
    assert git(own.worktree, "rev-parse", "--absolute-git-dir") == str(own.admin)
    aside = [p for p in own.session.iterdir() if p.name.startswith("found-in-worktree")]
    assert len(aside) == (1 if how == "folder" else 0)
    assert all((p / "objects").is_dir() for p in aside)


def test_leaving_runs_nothing_that_was_planted(own: Package, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    private = own.begin()
    plant(own.repo.work_tree, marker)
    (private / "config").write_text((own.repo.common_dir / "config").read_text())
    (own.worktree / ".gitattributes").write_text("* filter=evil diff=evil\n")
    (own.worktree / "b").write_text("x\n")
    _leave(own)
    found = changes(own.control, own.worktree, own.tip, index=own.admin / "index")
    assert (found.tracked, found.untracked) == (("b",), (".gitattributes",))
    assert not marker.exists()


def test_leaving_a_lost_worktree_is_told(own: Package) -> None:
    own.begin()
    subprocess.run(["rm", "-rf", str(own.worktree)], check=True)
    with pytest.raises(Lacking, match="no worktree of this repository any more"):
        _leave(own)


def test_a_pipe_among_the_attributes_holds_nobody(own: Package) -> None:
    own.begin()
    (own.worktree / "b").write_text("changed\n")
    os.mkfifo(own.worktree / ".gitattributes")
    _leave(own)
    assert git(own.worktree, "rev-parse", "--absolute-git-dir") == str(own.admin)


def test_provided_files_stay_out_of_the_agents_commits(own: Package) -> None:
    (own.worktree / ".env [x]").write_text("SECRET=1")
    (own.worktree / "node_modules").symlink_to(own.repo.work_tree)
    record_provided(own.repo, own.worktree, [".env [x]", "node_modules"])
    own.begin()
    commit(own.worktree, {"new": "x"})
    assert git(own.worktree, "show", "--format=", "--name-only", "HEAD") == "new"


def test_a_session_has_one_private_dir(own: Package) -> None:
    own.private()
    with pytest.raises(FileExistsError):
        own.private()
    assert sorted(os.listdir(own.session)) == ["git", "repository"]
    with pytest.raises(Lacking):
        make_private(own.repo, own.session / "x", own.repo.work_tree / "none", BRANCH, own.base, None)  # type: ignore[arg-type]


def _loose(private: Path) -> Path:
    return private / "refs" / "heads" / BRANCH


def test_the_tip_is_read_loose_and_packed(own: Package) -> None:
    private = own.begin()
    assert private_tip(private, BRANCH) == own.base
    tip = commit(own.worktree, {"x": "x"})
    assert private_tip(private, BRANCH) == tip
    git(own.worktree, "pack-refs", "--all", "--prune")
    assert not _loose(private).exists()
    assert private_tip(private, BRANCH) == tip
    assert private_tip(private, "feat/other") is None
    assert private_tip(private, "../../HEAD") is None


@pytest.mark.parametrize("content", ["ref: refs/heads/main\n", "abc\n", "", "A" * 40 + "\n", "0" * 300, "1" * 41])
def test_a_ref_that_is_no_commit_id_is_none(own: Package, content: str) -> None:
    private = own.begin()
    commit(own.worktree, {"x": "x"})
    _loose(private).write_text(content)
    assert private_tip(private, BRANCH) in (None, own.base)


@pytest.mark.parametrize("how", ["link", "pipe", "folder link", "packed pipe", "everything a link"])
def test_links_and_pipes_in_place_of_refs_are_not_followed(own: Package, tmp_path: Path, how: str) -> None:
    private = own.begin()
    (tmp_path / "stolen").mkdir()
    secret = tmp_path / "stolen" / "003-auth-WP02"
    secret.write_text("1" * 40 + "\n")
    packed = private / "packed-refs"
    if how == "packed pipe":
        packed.unlink()
        os.mkfifo(packed)
    else:
        _loose(private).parent.mkdir(exist_ok=True)
    if how == "link":
        _loose(private).symlink_to(secret)
    elif how == "pipe":
        os.mkfifo(_loose(private))
    elif how == "folder link":
        _loose(private).parent.rmdir()
        _loose(private).parent.symlink_to(tmp_path / "stolen")
    elif how == "everything a link":
        private.rename(tmp_path / "S")
        private.symlink_to(tmp_path / "S")
    assert private_tip(private, BRANCH) in (None, own.base)


def test_a_whole_session_leaves_no_finding(own: Package) -> None:
    private = own.begin()
    before = take(own.repo, own.worktree)
    commit(own.worktree, {"x": "x"})
    git(own.worktree, "gc", "-q")
    found = compare(before, take(own.repo, own.worktree))
    assert (found.stops, found.reports) == ((), ())
    assert private_tip(private, BRANCH) != own.base
