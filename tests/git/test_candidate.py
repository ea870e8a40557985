"""Candidates: merge, squash, rebase, conflicts, and nothing of it in the repository."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agentpkg.core.patterns import Patterns
from agentpkg.git import diff
from agentpkg.git.candidate import Candidate, Conflict, Strategy, make, message
from agentpkg.git.control import open_control
from agentpkg.git.discover import Repository, discover
from agentpkg.git.identity import Identity
from agentpkg.git.repo import Git
from agentpkg.git.surface import public_surface
from tests.git.support import plant
from tests.support.repos import ScratchFactory, commit, git

USER = Identity("A User", "user@example.org")
NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
TEXT = message(
    feature="003-auth",
    wp="WP02",
    title="Login\nEndpoint",
    agent="replay",
    session="sess_01",
    cycle=2,
    audit_hash="f" * 64,
)


@dataclass
class World:
    repo: Repository
    control: Git
    path: Path

    def make(self, strategy: Strategy = "merge") -> Candidate | Conflict:
        return make(self.control, self.at("main"), self.at("feat"), strategy, TEXT, USER, NOW)

    def good(self, strategy: Strategy = "merge") -> Candidate:
        made = self.make(strategy)
        assert isinstance(made, Candidate), made
        return made

    def at(self, ref: str) -> str:
        return git(self.path, "rev-parse", ref)

    def show(self, spec: str) -> str:
        return self.control.text("cat-file", "blob", spec)


@pytest.fixture
def world(scratch: ScratchFactory) -> World:
    path = scratch({"a": "1\n2\n3\n4\n5\n6\n7\n8\n9\n", "b": "b\n"})
    git(path, "checkout", "-q", "-b", "feat")
    commit(path, {"a": "one\n2\n3\n4\n5\n6\n7\n8\n9\n"}, "feat(WP02): one")
    commit(path, {"c": "c\n"}, "feat(WP02): two\n\nAudit-Hash: forged")
    git(path, "checkout", "-q", "main")
    commit(path, {"a": "1\n2\n3\n4\n5\n6\n7\n8\nnine\n"}, "user")
    repo = discover(path)
    return World(repo, open_control(repo), path)


def test_the_message_has_the_subject_and_all_trailers() -> None:
    subject, _, trailers = TEXT.partition("\n\n")
    assert subject == "Merge 003-auth WP02: Login Endpoint"
    assert trailers.splitlines() == [
        "Feature: 003-auth", "Work-Package: WP02", "Agent: replay", "Session: sess_01", "Review-Cycle: 2",
        f"Audit-Hash: {'f' * 64}",
    ]  # fmt: skip


def test_a_merge_has_both_parents_and_both_changes(world: World) -> None:
    made = world.good()
    [commit_] = diff.read_commits(world.control, [made.commit])
    assert commit_.parents == (world.at("main"), world.at("feat"))
    assert (commit_.author, commit_.committer) == ("A User <user@example.org>",) * 2
    assert commit_.message == TEXT
    assert world.show(f"{made.commit}:a") == "one\n2\n3\n4\n5\n6\n7\n8\nnine"
    assert not made.changes_nothing


def test_a_squash_has_the_target_as_its_only_parent(world: World) -> None:
    made = world.good("squash")
    [commit_] = diff.read_commits(world.control, [made.commit])
    assert commit_.parents == (world.at("main"),)
    assert made.tree == world.good().tree


def test_a_rebase_keeps_commits_and_authors_and_ends_with_the_trailers(world: World) -> None:
    made = world.good("rebase")
    assert made.tree == world.good().tree
    first, last = diff.commits(world.control, made.commit, world.at("main"))
    assert first.subject == "feat(WP02): one"
    assert first.author == "Test User <user@example.org>"
    assert last.committer == "A User <user@example.org>"
    assert last.message == "feat(WP02): two\n\n" + TEXT.partition("\n\n")[2]


def test_a_rebase_on_an_unmoved_target_keeps_all_but_the_last_commit(world: World) -> None:
    git(world.path, "reset", "-q", "--hard", "main~1")
    made = world.good("rebase")
    first, _ = diff.commits(world.control, made.commit, world.at("main"))
    assert first.sha == world.at("feat~1")


def test_a_rebase_leaves_merges_of_the_target_out(world: World) -> None:
    git(world.path, "checkout", "-q", "feat")
    git(world.path, "merge", "-q", "--no-ff", "-m", "merge", "main")
    commit(world.path, {"d": "d\n"}, "feat(WP02): three")
    git(world.path, "checkout", "-q", "main")
    commit(world.path, {"e": "e\n"}, "user")
    made = world.good("rebase")
    assert [c.subject for c in diff.commits(world.control, made.commit, world.at("main"))] == [
        "feat(WP02): one", "feat(WP02): two", "feat(WP02): three",
    ]  # fmt: skip
    assert made.tree == world.good().tree


@pytest.mark.parametrize("strategy", ["merge", "squash", "rebase"])
def test_a_conflict_names_the_paths(world: World, strategy: Strategy) -> None:
    commit(world.path, {"a": "uno\n2\n3\n4\n5\n6\n7\n8\n9\n", "c": "another\n"}, "user")
    made = world.make(strategy)
    assert isinstance(made, Conflict)
    assert made.paths == (("a",) if strategy == "rebase" else ("a", "c"))
    assert "CONFLICT (content): Merge conflict in a" in made.details
    assert (made.commit is not None) == (strategy == "rebase")


@pytest.mark.parametrize("strategy", ["merge", "squash", "rebase"])
def test_lines_that_both_sides_add_at_one_place_are_kept_where_that_is_wished(world: World, strategy: Strategy) -> None:
    commit(world.path, {"log": "one\ntwo\n"}, "user")
    git(world.path, "checkout", "-q", "-B", "feat")
    commit(world.path, {"log": "one\ntwo\nof the branch\n"}, "feat(WP02): log")
    git(world.path, "checkout", "-q", "main")
    commit(world.path, {"log": "one\ntwo\nof the target\n"}, "user")

    def made(*union: str) -> Candidate | Conflict:
        return make(world.control, world.at("main"), world.at("feat"), strategy, TEXT, USER, NOW, Patterns(union))

    assert isinstance(made("*.md"), Conflict)
    found = made("log")
    assert isinstance(found, Candidate)
    assert (found.united, world.show(f"{found.commit}:log")) == (("log",), "one\ntwo\nof the target\nof the branch")
    # one side has changed what was there: that is no list that both have added to
    commit(world.path, {"log": "one\n2\nof the target\n"}, "user")
    assert isinstance(made("log"), Conflict)


def test_a_deletion_against_a_change_is_a_conflict(world: World) -> None:
    git(world.path, "rm", "-q", "a")
    commit(world.path, {}, "user")
    made = world.make()
    assert isinstance(made, Conflict)
    assert made.paths == ("a",)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["merge", "squash", "rebase"])
def test_a_candidate_touches_nothing_of_the_users_and_runs_nothing(
    world: World, tmp_path: Path, strategy: Strategy
) -> None:
    (world.path / ".gitattributes").write_text("* merge=evil filter=evil diff=evil\n")
    plant(world.path, tmp_path / "ran")
    control = open_control(world.repo)
    before = sorted((world.path / ".git/objects").rglob("*")), git(world.path, "for-each-ref")
    made = make(control, world.at("main"), world.at("feat"), strategy, TEXT, USER, NOW)
    assert isinstance(made, Candidate)
    assert (sorted((world.path / ".git/objects").rglob("*")), git(world.path, "for-each-ref")) == before
    (tmp_path / "ran").unlink(missing_ok=True)
    make(control, world.at("main"), world.at("feat"), strategy, TEXT, USER, NOW)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("strategy", ["merge", "squash", "rebase"])
def test_the_same_inputs_give_the_same_commit(world: World, strategy: Strategy) -> None:
    assert world.make(strategy) == world.make(strategy)


@pytest.mark.parametrize("strategy", ["merge", "squash", "rebase"])
def test_what_is_on_the_target_already_changes_nothing(world: World, strategy: Strategy) -> None:
    git(world.path, "cherry-pick", "feat~1", "feat")
    assert world.good(strategy).changes_nothing


def test_changes_and_counts_between_commits_are_data(world: World) -> None:
    (world.path / "c").write_text("c")
    (world.path / "c").chmod(0o755)
    (world.path / 'nl\n"q"').write_bytes(b"\0\xff")
    git(world.path, "rm", "-q", "b")
    new = commit(
        world.path, {"d/e.py": "def hello(name: str) -> str:\n    pass\n\n\nclass _No: ...\nclass Yes:\n"}, "x"
    )
    changes = diff.changed_paths(world.control, f"{new}~1", new)
    assert [(c.status, c.path, c.mode_new, c.size) for c in changes] == [
        ("D", "b", "000000", 0), ("A", "c", "100755", 1), ("A", "d/e.py", "100644", 66), ("A", 'nl\n"q"', "100644", 2),
    ]  # fmt: skip
    assert public_surface(world.control, changes) == [("d/e.py", ["def hello(name: str) -> str", "class Yes"])]


def test_a_commit_is_read_byte_by_byte() -> None:
    raw = b"tree 1\nparent 2\nparent 3\nauthor A <> B <a@b> 12 +0100\ncommitter C <c@d> 13 -0500\n"
    raw += b"encoding latin-1\n\n\xe9\nbody\n"
    found = diff.parse_commit("x", raw)
    assert (found.parents, found.author, found.author_date) == (("2", "3"), "A <> B <a@b>", "12 +0100")
    assert (found.encoding, found.subject) == ("latin-1", "\udce9")


@pytest.mark.parametrize("strategy", ["merge", "squash", "rebase"])
def test_what_the_target_has_of_a_branch_in_other_commits_is_neither_brought_again_nor_in_conflict(
    world: World, strategy: Strategy
) -> None:
    first = world.at("feat")
    # another branch builds on the first one and changes the same line, then the first one lands squashed
    git(world.path, "checkout", "-q", "-b", "other", "main")
    commit(world.path, {"mine": "x\n"}, "feat(WP03): mine")
    git(world.path, "merge", "-q", "-m", "feat(WP03): build on it", first)
    commit(world.path, {"a": "ONE\n2\n3\n4\n5\n6\n7\n8\nnine\n"}, "feat(WP03): louder")
    git(world.path, "checkout", "-q", "main")
    git(world.path, "merge", "-q", "--squash", first)
    git(world.path, "commit", "-q", "-m", "Merge WP02")
    arguments = (world.control, world.at("main"), world.at("other"), strategy, TEXT, USER, NOW)
    assert isinstance(make(*arguments), Conflict) is (strategy != "rebase")
    made = make(*arguments, carried=[first])
    assert isinstance(made, Candidate)
    assert made.carried == (first,)
    assert world.show(f"{made.commit}:a") == "ONE\n2\n3\n4\n5\n6\n7\n8\nnine"
    assert {c.path for c in diff.changed_paths(world.control, world.at("main"), made.commit)} == {"a", "mine"}
    brought = [c.subject for c in diff.commits(world.control, made.commit, world.at("main"), first)]
    wanted = {"squash": [], "merge": ["feat(WP03): mine", "feat(WP03): build on it", "feat(WP03): louder"]}
    own = wanted.get(strategy, ["feat(WP03): mine", "feat(WP03): louder"])
    assert brought[: len(own)] == own
