import json
import os
import threading
from pathlib import Path

import pytest

from agentpkg.git.control import open_control
from agentpkg.git.fingerprint import Findings, Fingerprint, compare, take
from agentpkg.git.private import leave
from agentpkg.git.removal import remove
from agentpkg.git.worktrees import create
from tests.git.support import Package, package
from tests.support.repos import ScratchFactory, commit, git


@pytest.fixture
def own(scratch: ScratchFactory) -> Package:
    own = package(scratch({"a": "a\n"}))
    git(own.repo.work_tree, "worktree", "add", "-q", str(own.repo.work_tree.parent / "users"), "-b", "users")
    own.begin()
    return own


def _found(own: Package, before: Fingerprint) -> Findings:
    return compare(before, take(own.repo, own.worktree))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("config", "[core]\n\tfsmonitor = evil\n"),
        ("config.worktree", "x"),
        ("hooks/pre-commit", "#!/bin/sh\n"),
        ("hooks/sub/x", "x"),
        ("info/attributes", "* filter=evil\n"),
        ("info/grafts", "x"),
        ("info/exclude", "*\n"),
        ("objects/info/alternates", "/elsewhere\n"),
        ("commondir", "/elsewhere\n"),
        ("worktrees/users/gitdir", "/elsewhere/.git\n"),
        ("worktrees/users/commondir", "/elsewhere\n"),
        ("worktrees/users/config.worktree", "[core]\n"),
        ("worktrees/003-auth-WP02/HEAD", "ref: refs/heads/main\n"),
        ("worktrees/003-auth-WP02/index", "x"),
        ("worktrees/003-auth-WP02/agentpkg", "x"),
        ("modules/sub/config", "x"),
        ("modules/a/b/hooks/post-checkout", "x"),
    ],
)
def test_what_makes_git_run_or_read_something_else_stops(own: Package, path: str, content: str) -> None:
    for module in ("sub", "a/b"):
        (own.repo.common_dir / "modules" / module).mkdir(parents=True)
        (own.repo.common_dir / "modules" / module / "HEAD").write_text("ref: refs/heads/main\n")
    before = take(own.repo, own.worktree)
    file = own.repo.common_dir / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    file.write_text(content)
    found = _found(own, before)
    assert len(found.stops) == 1
    assert found.stops[0].startswith(f"{path} ")


def test_modes_links_and_kinds_count(own: Package, tmp_path: Path) -> None:
    common = own.repo.common_dir
    (common / "hooks").mkdir(exist_ok=True)
    (common / "hooks" / "pre-push").write_text("x")
    (tmp_path / "script").write_text("good")
    (common / "hooks" / "linked").symlink_to(tmp_path / "script")
    before = take(own.repo, own.worktree)
    (common / "hooks" / "pre-push").chmod(0o755)
    (tmp_path / "script").write_text("evil")
    os.mkfifo(common / "config.worktree")
    assert _found(own, before).stops == (
        "config.worktree appeared", "hooks/linked changed", "hooks/pre-push changed",
    )  # fmt: skip
    (common / "hooks").rename(common / "aside")
    (common / "hooks").symlink_to(common / "aside")
    assert "hooks appeared" in _found(own, before).stops


def test_what_the_user_does_meanwhile_is_reported_only(own: Package, tmp_path: Path) -> None:
    repo = own.repo.work_tree
    before = take(own.repo, own.worktree)
    old, new = own.base, commit(repo, {"b": "b"})
    git(repo, "switch", "-q", "-c", "topic")
    git(repo, "gc", "-q")
    git(repo, "symbolic-ref", "refs/heads/alias", "refs/heads/main")
    commit(repo.parent / "users", {"c": "c"})
    git(repo, "worktree", "add", "-q", str(tmp_path / "another"))
    (own.repo.common_dir / "index.lock").write_text("")
    found = _found(own, before)
    assert found.stops == ()
    assert found.reports == (
        "HEAD changed", "index changed", "index.lock appeared", "worktrees/users/index changed",
        "worktrees/another appeared",
        "refs/heads/alias: none -> (refs/heads/main)",
        f"refs/heads/another: none -> {new[:12]}",
        f"refs/heads/main: {old[:12]} -> {new[:12]}",
        f"refs/heads/topic: none -> {new[:12]}",
        f"refs/heads/users: {old[:12]} -> {git(repo, 'rev-parse', 'users')[:12]}",
    )  # fmt: skip


def test_other_packages_that_begin_and_end_are_no_finding_but_their_refs(own: Package, tmp_path: Path) -> None:
    control = open_control(own.repo)
    create(own.repo, control, tmp_path / "x", "feat/x", own.base)
    before = take(own.repo, own.worktree)
    create(own.repo, control, tmp_path / "y", "feat/y", own.base)
    commit(tmp_path / "x", {"x": "x"})
    leave(own.repo, control, tmp_path / "x", tmp_path)
    remove(own.repo, control, tmp_path / "x", "feat/x", force=True)
    found = _found(own, before)
    assert found.stops == ()
    assert [line.split(":")[0] for line in found.reports] == [
        "worktrees/x vanished", "worktrees/y appeared", "refs/heads/feat/x", "refs/heads/feat/y",
    ]  # fmt: skip


def test_the_own_admin_dir_may_vanish_but_not_change(own: Package) -> None:
    before = take(own.repo, own.worktree)
    (own.admin / "HEAD").write_text("ref: refs/heads/other\n")
    found = _found(own, before)
    assert (found.stops, found.adrift) == (("worktrees/003-auth-WP02/HEAD changed",), False)
    # as `git worktree prune` does it, and as an agent may do it
    own.admin.rename(own.admin.parent / "renamed")
    found = _found(own, before)
    assert (found.stops, found.adrift) == ((), True)
    assert found.reports == ("worktrees/003-auth-WP02 vanished", "worktrees/renamed appeared")


def test_a_fingerprint_survives_json(own: Package) -> None:
    taken = take(own.repo, own.worktree)
    assert Fingerprint.from_json(json.loads(json.dumps(taken.as_json()))) == taken
    assert compare(taken, take(own.repo, own.worktree)) == Findings()


def test_another_worktree_that_is_half_made_is_waited_for_and_one_that_stays_so_is_seen(own: Package) -> None:
    half = own.repo.common_dir / "worktrees" / "half"
    half.mkdir()
    before = take(own.repo, own.worktree)
    (half / "gitdir").write_text("/elsewhere/.git\n")
    after = take(own.repo, own.worktree)
    # nobody finished it in time: then it counts as it is
    assert compare(before, after).stops == ("worktrees/half/gitdir changed",)
    (half / "gitdir").unlink()
    maker = threading.Timer(0.1, (half / "gitdir").write_text, ("/elsewhere/.git\n",))
    maker.start()
    assert take(own.repo, own.worktree) == after
    maker.join()
