"""The target moves and the user's checkout follows, or nothing at all happens, whatever the user has in it."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from agentpkg.core.proof import Landable, give_word
from agentpkg.git.candidate import Candidate, make
from agentpkg.git.control import open_control
from agentpkg.git.discover import Repository, discover
from agentpkg.git.identity import Identity
from agentpkg.git.landing import InTheWay, Landed, LandingPlan, Locked, Outcome, TargetMoved, land
from agentpkg.git.landing_recovery import recover
from agentpkg.git.repo import Git
from tests.support.repos import ScratchFactory, commit, git, write
from tests.support.wait import until

USER = Identity("A User", "user@example.org")


@dataclass
class World:
    repo: Repository
    control: Git
    path: Path

    def plan(self, *filters: str) -> LandingPlan:
        old, head = self.at("main"), self.at("feat")
        made = make(self.control, old, head, "merge", "Merge it\n", USER)
        assert isinstance(made, Candidate)
        what = Landable(made.commit, made.tree, old, head)
        return LandingPlan("main", give_word("f", "WP01", what, "human:me", "a test"), filters, USER)

    def land(self, *filters: str) -> Outcome:
        return land(self.repo, self.control, self.plan(*filters))

    def at(self, ref: str) -> str:
        return git(self.path, "rev-parse", f"refs/heads/{ref}")

    def state(self) -> tuple[str, str, str, dict[str, bytes]]:
        """Everything a failed landing must leave as it is."""
        return (
            self.at("main"), git(self.path, "status", "--porcelain=v2", "-uall", "--ignored"),
            git(self.path, "ls-files", "-s"), files(self.path),
        )  # fmt: skip

    def blocked(self, outcome: Outcome, *paths: str) -> None:
        assert isinstance(outcome, InTheWay), outcome
        assert outcome.paths == paths
        assert outcome.checkout == self.path

    def clean_end(self) -> None:
        """No lock, no journal, no scratch file is left; the checkout is that of the target."""
        left = [p.name for p in self.repo.state.iterdir() if p.name.startswith("control.view")]
        left += [p.name for p in (self.repo.state / "landing").glob("*")]
        left += [str(p) for p in self.repo.common_dir.rglob("*.lock") if p.parent != self.repo.state / "locks"]
        assert left == []
        git(self.path, "fsck", "--strict")


def files(root: Path) -> dict[str, bytes]:
    found = (p for p in sorted(root.rglob("*")) if ".git" not in p.parts and not p.is_dir())
    return {str(p.relative_to(root)): os.fsencode(os.readlink(p)) if p.is_symlink() else p.read_bytes() for p in found}


def world_of(path: Path) -> World:
    repo = discover(path)
    return World(repo, open_control(repo), path)


@pytest.fixture
def world(scratch: ScratchFactory) -> World:
    path = scratch(
        {"a": "a\n", "b": "b\n", "gone": "g\n", "was": "file\n", "dir/x": "x\n", "run": "#!\n", ".gitignore": "*.ign\n"}
    )
    git(path, "checkout", "-q", "-b", "feat")
    git(path, "rm", "-q", "gone", "was", "dir/x")
    git(path, "mv", "b", "renamed")
    (path / "run").chmod(0o755)
    os.symlink("a", path / "link")
    commit(path, {"a": "aa\n", "new/n": "n\n", "was/now": "folder\n", "dir": "now a file\n"}, "feat(WP02): all kinds")
    git(path, "checkout", "-q", "main")
    commit(path, {"other": "o\n", "more": "m\n"}, "user")
    return world_of(path)


def test_the_target_and_its_clean_checkout_move(world: World) -> None:
    outcome = world.land()
    assert outcome == Landed(world.at("main"), (world.path,))
    assert git(world.path, "status", "--porcelain") == ""
    assert files(world.path) == {
        ".gitignore": b"*.ign\n", "a": b"aa\n", "renamed": b"b\n", "was/now": b"folder\n", "dir": b"now a file\n",
        "new/n": b"n\n", "run": b"#!\n", "link": b"a", "other": b"o\n", "more": b"m\n",
    }  # fmt: skip
    assert os.access(world.path / "run", os.X_OK)
    assert "agentpkg: land" in git(world.path, "reflog", "-1", "main")
    world.clean_end()


def test_staged_unsaved_untracked_and_ignored_work_elsewhere_stays(world: World) -> None:
    write(world.path, {"other": "staged\n", "untracked": "u\n", "x.ign": "i\n", "staged-new": "s\n"})
    git(world.path, "add", "other", "staged-new")
    write(world.path, {"more": "unsaved\n", "other": "staged and more\n"})
    assert isinstance(world.land(), Landed)
    assert git(world.path, "status", "--porcelain", "--ignored").splitlines() == [
        " M more", "MM other", "A  staged-new", "?? untracked", "!! x.ign",
    ]  # fmt: skip
    assert git(world.path, "show", ":other") == "staged"


def test_a_repository_of_another_shape_moves_as_well(tmp_path: Path) -> None:
    origin, path = tmp_path / "origin", tmp_path / 'a: "strange" place'
    git(tmp_path, "init", "-q", "-b", "main", "--object-format=sha256", str(origin))
    commit(origin, {"a": "1\n"}, "one")
    commit(origin, {"a": "2\n"}, "two")
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{origin}", str(path))
    git(path, "checkout", "-q", "-b", "feat")
    commit(path, {"a": "3\n"}, "feat(WP02): x")
    git(path, "checkout", "-q", "main")
    world = world_of(path)
    assert isinstance(world.land(), Landed)
    assert git(path, "status", "--porcelain") == ""
    world.clean_end()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["unsaved", "staged", "same", "mode"])
def test_the_users_changes_in_a_path_that_lands_stop_everything(world: World, how: str) -> None:
    write(world.path, {"a": "aa\n" if how == "same" else "mine\n"})
    if how == "mode":
        write(world.path, {"a": "a\n"})
        (world.path / "a").chmod(0o755)
    if how == "staged":
        git(world.path, "add", "a")
    before = world.state()
    world.blocked(world.land(), "a")
    assert world.state() == before
    world.clean_end()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("made", "named"),
    [
        ("new/n", "new/n"),
        ("new", "new"),
        ("renamed/deep.ign", "renamed/deep.ign"),
        ("dir/mine.ign", "dir/mine.ign"),
        ("link", "link"),
    ],
)
def test_untracked_and_ignored_files_in_the_way_stop_everything(world: World, made: str, named: str) -> None:
    write(world.path, {made: "mine\n"})
    before = world.state()
    world.blocked(world.land(), named)
    assert world.state() == before
    world.clean_end()


def test_an_ignored_file_in_the_way_is_not_overwritten(world: World) -> None:
    with (world.path / ".git/info/exclude").open("a") as exclude:
        exclude.write("new/\n")
    write(world.path, {"new/n": "precious\n"})
    world.blocked(world.land(), "new/n")
    assert (world.path / "new/n").read_text() == "precious\n"


def test_a_link_in_place_of_a_folder_is_not_followed(world: World, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/x").write_text("x\n")
    (world.path / "dir/x").unlink()
    (world.path / "dir").rmdir()
    (world.path / "dir").symlink_to(tmp_path / "elsewhere")
    (world.path / "new").symlink_to(tmp_path / "elsewhere")
    world.blocked(world.land(), "dir", "new")
    assert [p.name for p in (tmp_path / "elsewhere").iterdir()] == ["x"]


def test_files_that_were_only_touched_are_not_in_the_way(world: World) -> None:
    os.utime(world.path / "a", (1, 1))
    assert isinstance(world.land(), Landed)
    assert git(world.path, "status", "--porcelain") == ""


def test_a_target_in_a_linked_worktree_moves_there(world: World, tmp_path: Path) -> None:
    git(world.path, "checkout", "-q", "--detach")
    linked = tmp_path / "linked tree"
    git(world.path, "worktree", "add", "-q", str(linked), "main")
    before = files(world.path)
    assert world.land() == Landed(world.at("main"), (linked,))
    assert git(linked, "status", "--porcelain") == ""
    assert (linked / "new/n").exists()
    assert files(world.path) == before


def test_a_target_that_is_not_checked_out_moves_alone(world: World) -> None:
    git(world.path, "checkout", "-q", "-b", "elsewhere")
    write(world.path, {"a": "mine\n", "new/n": "mine\n"})
    before = files(world.path)
    assert world.land() == Landed(world.at("main"))
    assert files(world.path) == before


def test_a_worktree_that_was_deleted_by_hand_does_not_matter(world: World, tmp_path: Path) -> None:
    git(world.path, "checkout", "-q", "--detach")
    git(world.path, "worktree", "add", "-q", str(tmp_path / "gone"), "main")
    subprocess.run(["rm", "-r", str(tmp_path / "gone")], check=True)
    assert world.land() == Landed(world.at("main"))


def test_a_held_index_lock_stops_everything(world: World) -> None:
    lock = world.repo.common_dir / "index.lock"
    lock.write_bytes(b"")
    plan = world.plan()
    assert land(world.repo, world.control, plan) == Locked(lock)
    assert lock.exists()
    lock.unlink()
    assert isinstance(land(world.repo, world.control, plan), Landed)


def test_a_held_ref_lock_stops_everything(world: World) -> None:
    lock = world.repo.common_dir / "refs/heads/main.lock"
    plan = world.plan()
    before = world.state()
    lock.write_bytes(b"")
    assert land(world.repo, world.control, plan) == Locked(lock)
    lock.unlink()
    assert world.state() == before
    world.clean_end()


def test_a_target_that_moved_is_told(world: World) -> None:
    plan = world.plan()
    now = commit(world.path, {"late": "l"}, "user")
    assert land(world.repo, world.control, plan) == TargetMoved(now)
    git(world.path, "checkout", "-q", "--detach")
    git(world.path, "branch", "-q", "-D", "main")
    assert land(world.repo, world.control, plan) == TargetMoved(None)


def test_what_has_landed_has_landed(world: World) -> None:
    plan = world.plan()
    assert isinstance(land(world.repo, world.control, plan), Landed)
    assert land(world.repo, world.control, plan) == Landed(plan.new)


def test_an_unfinished_merge_of_the_users_stops_it(world: World) -> None:
    git(world.path, "branch", "mine", "main~1")
    git(world.path, "merge", "-q", "--no-commit", "--no-ff", "feat")
    outcome = world.land()
    assert isinstance(outcome, InTheWay)
    assert "a merge is not finished" in outcome.why


def test_a_rebase_of_the_target_by_the_user_stops_it(world: World) -> None:
    plan = world.plan()
    env = {**os.environ, "GIT_SEQUENCE_EDITOR": "sed -i s/^pick/edit/"}
    subprocess.run(["git", "rebase", "-q", "-i", "main~1"], cwd=world.path, env=env, check=True, capture_output=True)
    outcome = land(world.repo, world.control, plan)
    assert isinstance(outcome, InTheWay)
    assert "being rebased" in outcome.why


@pytest.mark.parametrize("where", [".gitattributes", "info"])
def test_a_filter_that_nobody_named_stops_it(scratch: ScratchFactory, where: str) -> None:
    path = scratch({"a.bin": "1\n"})
    if where == "info":
        (path / ".git/info").mkdir(exist_ok=True)
        (path / ".git/info/attributes").write_text("*.bin filter=lfs\n")
    else:
        commit(path, {".gitattributes": "*.bin filter=lfs\n"}, "attributes")
    git(path, "checkout", "-q", "-b", "feat")
    commit(path, {"a.bin": "2\n", "plain": "p\n"}, "feat(WP02): x")
    git(path, "checkout", "-q", "main")
    world = world_of(path)
    world.blocked(world.land(), "a.bin")


def test_a_filter_that_is_named_runs(scratch: ScratchFactory, still_world: Path) -> None:
    with (still_world / ".gitconfig").open("a") as config:
        config.write('[filter "up"]\n\tsmudge = tr a-z A-Z\n\tclean = tr A-Z a-z\n')
    path = scratch({".gitattributes": "*.t filter=up\n"})
    git(path, "checkout", "-q", "-b", "feat")
    commit(path, {"x.t": "HELLO\n"}, "feat(WP02): x")
    git(path, "checkout", "-q", "main")
    repo = discover(path)
    world = World(repo, open_control(repo, ["up"]), path)
    assert isinstance(world.land("up"), Landed)
    assert (path / "x.t").read_text() == "HELLO\n"
    assert git(path, "status", "--porcelain") == ""


def test_line_ends_follow_the_users_configuration(scratch: ScratchFactory) -> None:
    path = scratch({"a": "1\n2\n"})
    git(path, "config", "core.autocrlf", "true")
    git(path, "rm", "-q", "--cached", "a")
    git(path, "reset", "-q", "--hard")
    git(path, "checkout", "-q", "-b", "feat")
    commit(path, {"a": "1\r\n3\r\n"}, "feat(WP02): x")
    git(path, "checkout", "-q", "main")
    world = world_of(path)
    assert isinstance(world.land(), Landed)
    assert (path / "a").read_bytes() == b"1\r\n3\r\n"
    assert git(path, "status", "--porcelain") == ""


def test_a_sparse_checkout_stays_sparse(world: World) -> None:
    git(world.path, "sparse-checkout", "set", "--no-cone", "/a", "/other")
    outcome = world.land()
    assert isinstance(outcome, Landed), outcome
    assert sorted(files(world.path)) == ["a", "other"]
    assert git(world.path, "status", "--porcelain") == ""


def test_a_split_index_is_followed(world: World) -> None:
    git(world.path, "update-index", "--split-index")
    assert isinstance(world.land(), Landed)
    assert git(world.path, "status", "--porcelain") == ""


def test_planted_code_does_not_run(world: World, tmp_path: Path) -> None:
    from tests.git.support import plant

    plan = world.plan()
    plant(world.path, tmp_path / "ran")
    (world.repo.common_dir / "info/attributes").unlink()
    assert isinstance(land(world.repo, open_control(world.repo), plan), Landed)
    assert not (tmp_path / "ran").exists()


def test_a_checkout_that_cannot_be_written_is_put_back(world: World) -> None:
    if os.geteuid() == 0:
        subprocess.run(["chattr", "+i", str(world.path / "dir")], check=False, capture_output=True)
        try:
            (world.path / "dir/probe").write_text("")
        except OSError:
            pass
        else:
            (world.path / "dir/probe").unlink()
            pytest.skip("root may write everything here")
    else:
        (world.path / "dir").chmod(0o500)
    before = files(world.path), world.at("main")
    try:
        outcome = world.land()
    finally:
        subprocess.run(["chattr", "-i", str(world.path / "dir")], check=False, capture_output=True)
        (world.path / "dir").chmod(0o755)
    assert isinstance(outcome, InTheWay | Landed)
    if isinstance(outcome, InTheWay):
        assert (files(world.path), world.at("main")) == before
        assert git(world.path, "status", "--porcelain") == ""


_KILLED = """
import os, signal, sys
from pathlib import Path
from agentpkg.core import proof
from agentpkg.git import checkouts, landing, landing_journal, repo as git_repo
from agentpkg.git.control import open_control
from agentpkg.git.discover import discover

where, path, old, new, head, tree = sys.argv[1:]
def die(*_a, **_k):
    os.kill(os.getpid(), signal.SIGKILL)
if where == "locked":
    landing._prepared = die
elif where == "prepared":
    checkouts.follow = die
elif where == "half":
    def half(git, o, n):
        for name, data in (("a", "aa\\n"), ("new/n", "")):
            at = Path(path, name)
            at.parent.mkdir(exist_ok=True)
            at.unlink(missing_ok=True)
            at.write_text(data)
        Path(path, "gone").unlink()
        Path(path, "run").unlink()
        die()
    checkouts.follow = half
elif where == "followed":
    landing._Commit.__call__ = die
elif where == "committed":
    real = os.replace
    os.replace = lambda a, b: die() if str(b).endswith("index") else real(a, b)
elif where == "replaced":
    landing_journal.Journal.close = die
repo = discover(Path(path))
what = proof.Landable(new, tree, old, head)
plan = landing.LandingPlan("main", proof.give_word("f", "WP01", what, "human:me", "test"))
landing.land(repo, open_control(repo), plan)
"""


def killed(world: World, where: str) -> LandingPlan:
    plan = world.plan()
    told = [plan.old, plan.new, plan.warrant.candidate.head, plan.warrant.candidate.tree]
    argv = [sys.executable, "-c", _KILLED, where, str(world.path), *told]
    done = subprocess.run(argv, check=False, cwd=Path(__file__).parents[2], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    until(lambda: not (world.repo.common_dir / "refs/heads/main.lock").exists())
    return plan


@pytest.mark.slow
@pytest.mark.parametrize("where", ["locked", "prepared", "half", "followed"])
def test_a_landing_killed_before_the_target_moved_is_undone(world: World, where: str) -> None:
    write(world.path, {"more": "unsaved\n", "untracked": "u\n"})
    git(world.path, "add", "-N", "untracked")
    before = world.state()
    plan = killed(world, where)
    [done] = recover(world.repo, world.control)
    assert (done.how, done.kept) == ("undone", ())
    assert world.state() == before
    world.clean_end()
    assert recover(world.repo, world.control) == []
    assert isinstance(land(world.repo, world.control, plan), Landed)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["committed", "replaced"])
def test_a_landing_killed_after_the_target_moved_is_finished(world: World, where: str) -> None:
    write(world.path, {"more": "staged\n"})
    git(world.path, "add", "more")
    plan = killed(world, where)
    assert world.at("main") == plan.new
    [done] = recover(world.repo, world.control)
    assert done.how == "finished"
    assert git(world.path, "status", "--porcelain") == "M  more"
    world.clean_end()


def test_a_journal_that_nobody_can_read_is_told_of_once(world: World) -> None:
    folder = world.repo.make_state() / "landing"
    folder.mkdir()
    (folder / "one.json").write_bytes(b"")
    assert recover(world.repo, world.control) == []
    assert [path.name for path in folder.iterdir()] == ["one.damaged"]


def test_what_the_user_wrote_since_a_crash_stays(world: World) -> None:
    killed(world, "half")
    write(world.path, {"a": "mine since\n"})
    [done] = recover(world.repo, world.control)
    assert (done.how, done.kept) == ("undone", ("a",))
    assert (world.path / "a").read_text() == "mine since\n"
    assert (world.path / "gone").read_text() == "g\n"


def test_a_target_that_the_user_moved_since_a_crash_is_left_alone(world: World) -> None:
    killed(world, "half")
    (world.repo.common_dir / "index.lock").unlink()
    git(world.path, "reset", "-q", "--hard")
    now = commit(world.path, {"late": "l"}, "user")
    [done] = recover(world.repo, world.control)
    assert done.how == "left"
    assert world.at("main") == now
    world.clean_end()
