"""The quarantine repository: snapshots and what was refused, with nothing planted left in it."""

import os
import shutil
from pathlib import Path

import pytest

from agentpkg.git.quarantine import seal
from agentpkg.git.snapshots import kept_in, snapshot
from tests.git.support import BRANCH, Package, package
from tests.support.repos import ScratchFactory, commit, git, write


@pytest.fixture
def made(scratch: ScratchFactory) -> Package:
    return package(scratch({"a": "a\n", ".gitignore": "ignored\n"}))


def test_a_snapshot_keeps_tracked_and_untracked_work_and_touches_nothing(made: Package) -> None:
    private = made.begin()
    head = commit(made.worktree, {"b": "b\n"}, "feat(WP02): b")
    write(made.worktree, {"a": "changed\n", "new/c": "c\n", "ignored": "i\n"})
    os.mkfifo(made.worktree / "pipe")
    before = git(made.worktree, "status", "--porcelain"), sorted(made.repo.objects.rglob("*"))
    write(made.worktree, {"provided dir/.env": "e\n"})
    sha, paths = snapshot(made.control, private, made.worktree, head, provided=["provided dir"])
    assert sha is not None
    assert paths == 2
    shutil.rmtree(made.worktree / "provided dir")
    assert (git(made.worktree, "status", "--porcelain"), sorted(made.repo.objects.rglob("*"))) == before
    assert [(kept.label, kept.commit) for kept in kept_in(made.repo, made.session)] == [("end", sha)]
    sealed = seal(made.repo, made.session / "git", made.session)
    names = git(sealed, "--git-dir=.", "ls-tree", "-r", "--name-only", sha).splitlines()
    assert names == [".gitignore", "a", "b", "new/c"]
    assert git(sealed, "--git-dir=.", "cat-file", "blob", f"{sha}:a") == "changed"
    assert git(sealed, "--git-dir=.", "rev-parse", f"{sha}^") == head


def test_no_uncommitted_work_is_no_snapshot(made: Package) -> None:
    private = made.begin()
    assert snapshot(made.control, private, made.worktree, made.tip) == (None, 0)


def test_a_repository_inside_does_not_spoil_the_snapshot(made: Package) -> None:
    private = made.begin()
    git(made.worktree, "init", "-q", "nested")
    write(made.worktree, {"nested/x": "x", "kept": "k"})
    sha = snapshot(made.control, private, made.worktree, made.tip).commit
    assert sha is not None
    quarantine = made.session / "quarantine.git"
    assert "kept" in git(quarantine, "--git-dir=.", "ls-tree", "-r", "--name-only", sha)


def test_a_damaged_index_does_not_spoil_the_snapshot(made: Package) -> None:
    private = made.begin()
    write(made.worktree, {"a": "changed\n"})
    (private / "worktrees" / made.admin.name / "index").write_bytes(b"DIRC nonsense")
    assert snapshot(made.control, private, made.worktree, made.tip).paths == 1


def test_no_filter_runs_for_a_snapshot(made: Package, tmp_path: Path) -> None:
    private = made.begin()
    with (private / "config").open("a") as config:
        config.write(f'[filter "x"]\n\tclean = touch {tmp_path}/ran\n')
    write(made.worktree, {".gitattributes": "* filter=x\n", "n": "n"})
    assert snapshot(made.control, private, made.worktree, made.tip).paths == 2
    assert not (tmp_path / "ran").exists()


def test_sealing_keeps_objects_and_refs_and_drops_everything_else(made: Package) -> None:
    private = made.begin()
    kept = commit(made.worktree, {"b": "b\n"}, "feat(WP02): b")
    git(made.worktree, "branch", "mine")
    git(made.worktree, "pack-refs", "--all")
    # which no git would make: the name of one is a folder of the other
    with (private / "packed-refs").open("a") as packed:
        packed.write(f"{kept} refs/heads/mine/too\n")
    write(made.worktree, {"a": "stashed\n"})
    git(made.worktree, "stash", "-q")
    (private / "hooks/post-checkout").write_text("evil")
    (private / "objects/pack/link").symlink_to("/etc/passwd")
    (private / "refs/heads/bad").symlink_to("/etc/passwd")
    os.mkfifo(private / "refs/heads/pipe")
    sealed = seal(made.repo, made.session / "git", made.session)
    assert seal(made.repo, made.session / "git", made.session) == sealed
    assert not private.exists()
    refs = git(sealed, "--git-dir=.", "for-each-ref", "--format=%(refname)").splitlines()
    heads = [f"refs/session/heads/{name}" for name in (BRANCH, "mine", "mine/too")]
    assert refs == [*heads, "refs/session/stash"]
    assert git(sealed, "--git-dir=.", "cat-file", "-t", kept) == "commit"
    assert not (sealed / "hooks").exists()
    assert not list(sealed.rglob("link"))
