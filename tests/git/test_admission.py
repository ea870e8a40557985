"""What comes through the door, and what does not, with a private git dir that is as hostile as it can be."""

import os
import resource
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from agentpkg.git.admission import Admitted, Limits, NothingNew, Refused, Request, admit
from agentpkg.git.admission_policy import Guard, folded
from agentpkg.git.links import escapes
from agentpkg.secrets.finder import Finder
from tests.git.support import BRANCH, Package, package
from tests.support.repos import ScratchFactory, commit, git

SECRET = "hunter2-hunter2"
FINDER = Finder({"TOKEN": SECRET, "OTHER": "swordfish-42"})


class Session(Package):
    """A package with a session that works in its worktree."""

    s: Path
    old: str

    def commit(self, files: dict[str, str], text: str = "feat(WP02): work") -> str:
        return commit(self.worktree, files, text)

    def plumb(self, *args: str, stdin: bytes | None = None) -> str:
        return git(self.worktree, *args, stdin=stdin)

    def entry(self, path: str, mode: str, content: bytes = b"x\n") -> str:
        """Commits one entry by plumbing, whatever git itself would say to it."""
        blob = self.plumb("hash-object", "-w", "--stdin", stdin=content)
        *folders, name = path.split("/")
        tree = self.plumb("mktree", stdin=f"{mode} blob {blob}\t{name}\n".encode())
        for folder in reversed(folders[1:]):
            tree = self.plumb("mktree", stdin=f"040000 tree {tree}\t{folder}\n".encode())
        base = self.plumb("ls-tree", "HEAD")
        top = path.split("/")[0]
        kept = [line for line in base.splitlines() if line.split("\t")[1] != top]
        added = f"040000 tree {tree}\t{top}" if folders else f"{mode} blob {blob}\t{name}"
        whole = self.plumb("mktree", stdin="\n".join([*kept, added, ""]).encode())
        return self.move(self.plumb("commit-tree", whole, "-p", "HEAD", "-m", "feat(WP02): entry"))

    def move(self, sha: str) -> str:
        (self.s / "refs/heads" / BRANCH).parent.mkdir(parents=True, exist_ok=True)
        (self.s / "refs/heads" / BRANCH).write_text(sha + "\n")
        return sha

    def admit(self, *, foreign: Sequence[str] = (), limits: Limits | None = None) -> Admitted | Refused | NothingNew:
        return admit(self.repo, self.control, self.request(foreign, limits))

    def request(self, foreign: Sequence[str] = (), limits: Limits | None = None) -> Request:
        now = git(self.repo.work_tree, "rev-parse", "refs/heads/main")
        return Request(self.s, BRANCH, self.old, (self.base, now), FINDER, Guard(), tuple(foreign), limits or Limits())

    def refused(self, rule: str) -> Refused:
        """Admits, and checks that nothing of it entered the repository."""
        before = git(self.repo.work_tree, "for-each-ref"), objects(self.repo.objects)
        outcome = self.admit()
        assert isinstance(outcome, Refused), outcome
        assert rule in {f.rule for f in outcome.findings}, outcome
        assert (git(self.repo.work_tree, "for-each-ref"), objects(self.repo.objects)) == before
        return outcome

    def admitted(self) -> Admitted:
        outcome = self.admit()
        assert isinstance(outcome, Admitted), outcome
        assert self.tip == outcome.head
        git(self.repo.work_tree, "fsck", "--full", "--strict")
        return outcome


def objects(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def begin(work_tree: Path) -> Session:
    made = package(work_tree)
    session = Session(made.repo, made.control, made.worktree, made.admin, made.base, made.session)
    session.old = session.tip
    session.s = session.begin()
    return session


@pytest.fixture
def session(scratch: ScratchFactory) -> Session:
    return begin(
        scratch(
            {"src/a.py": "a = 1\n", "README.md": "# r\n", ".kittify/config.yaml": "{}\n", "features/x/spec.md": "s"}
        )
    )


def test_ordinary_commits_enter_the_repository(session: Session) -> None:
    first = session.commit({"src/b.py": "b = 2\n"}, "feat(WP02): one\n\nbody")
    last = session.commit({"src/a.py": "a = 3\n"}, "feat(WP02): two")
    done = session.admitted()
    assert [c.sha for c in done.commits] == [first, last]
    assert [c.subject for c in done.commits] == ["feat(WP02): one", "feat(WP02): two"]
    assert done.commits[0].author == "replay <replay@agentpkg.invalid>"
    assert done.files_changed == 2
    assert not list(session.repo.objects.glob("tmp_objdir*"))


def test_a_session_without_commits_is_nothing_new(session: Session) -> None:
    assert session.admit() == NothingNew()


def test_an_admission_may_be_repeated(session: Session) -> None:
    session.commit({"src/b.py": "b = 2\n"})
    assert session.admitted() == session.admitted()


@pytest.mark.slow
def test_packed_objects_and_refs_are_read_as_well(session: Session) -> None:
    for number in range(30):
        session.commit({f"src/n{number}.py": f"n = {number}\n"})
    session.plumb("gc", "-q", "--prune=now")
    assert len(session.admitted().commits) == 30


def test_nothing_planted_in_the_private_dir_runs(session: Session, tmp_path: Path) -> None:
    session.commit({"src/b.py": "b = 2\n"})
    marker = tmp_path / "ran"
    script = tmp_path / "evil.sh"
    script.write_text(f"#!/bin/sh\ntouch {marker}\ncat\n")
    script.chmod(0o755)
    with (session.s / "config").open("a") as config:
        config.write(
            f"[core]\n\tfsmonitor = {script}\n\talternateRefsCommand = {script}\n\tpager = {script}\n"
            f'[filter "x"]\n\tclean = {script}\n\tsmudge = {script}\n[uploadpack]\n\tpackObjectsHook = {script}\n'
        )
    (session.s / "info/attributes").write_text("* filter=x\n")
    for hook in ("reference-transaction", "post-checkout", "pre-auto-gc"):
        (session.s / "hooks" / hook).symlink_to(script)
    session.admitted()
    assert not marker.exists()


def test_a_broken_configuration_of_the_private_dir_does_not_matter(session: Session) -> None:
    session.commit({"src/b.py": "b = 2\n"})
    (session.s / "config").write_text("[[[ nonsense")
    session.admitted()


@pytest.mark.parametrize("how", ["link", "fifo", "huge", "text", "gone", "folder"])
def test_a_branch_that_cannot_be_read_is_refused(session: Session, how: str) -> None:
    sha = session.commit({"src/b.py": "b = 2\n"})
    ref = session.s / "refs/heads" / BRANCH
    ref.unlink()
    (session.s / "packed-refs").unlink(missing_ok=True)
    if how == "link":
        (ref.parent / "there").write_text(sha + "\n")
        ref.symlink_to("there")
    elif how == "fifo":
        os.mkfifo(ref)
    elif how == "huge":
        ref.write_bytes(sha.encode() + b"\n" * 5_000_000)
    elif how == "text":
        ref.write_text("--upload-pack=evil\n")
    elif how == "folder":
        ref.mkdir()
    session.refused("branch")


def test_a_tip_that_does_not_exist_or_is_no_commit_is_refused(session: Session) -> None:
    session.move("1" * 40)
    session.refused("objects")
    session.move(session.plumb("hash-object", "-w", "--stdin", stdin=b"blob"))
    session.refused("objects")


@pytest.mark.parametrize("what", ["blob", "tree"])
def test_a_corrupt_or_missing_object_is_refused(session: Session, what: str) -> None:
    session.commit({"src/b.py": "b = 2\n"})
    sha = session.plumb("rev-parse", "HEAD:src/b.py" if what == "blob" else "HEAD^{tree}")
    loose = session.s / "objects" / sha[:2] / sha[2:]
    good = loose.read_bytes()
    loose.chmod(0o600)
    loose.write_bytes(good[:-4] + b"\0\0\0\0")
    session.refused("objects")
    other = session.plumb("hash-object", "-w", "--stdin", stdin=b"something else")
    loose.write_bytes((session.s / "objects" / other[:2] / other[2:]).read_bytes())
    session.refused("objects")
    loose.unlink()
    session.refused("objects")


def test_links_and_pipes_among_the_objects_are_refused(session: Session) -> None:
    session.commit({"src/b.py": "b = 2\n"})
    os.mkfifo(session.s / "objects/pack/pack-1.idx")
    session.refused("objects")
    (session.s / "objects/pack/pack-1.idx").unlink()
    (session.s / "objects/pack/pack-1.idx").symlink_to("/etc/passwd")
    session.refused("objects")
    (session.s / "objects/pack/pack-1.idx").unlink()
    session.admitted()


def test_objects_borrowed_from_elsewhere_are_refused(session: Session, scratch: ScratchFactory) -> None:
    other = scratch({"private": "of another project\n"})
    stolen = git(other, "rev-parse", "HEAD:private")
    with (session.s / "objects/info/alternates").open("a") as alternates:
        alternates.write(f"{other}/.git/objects\n")
    session.plumb("update-index", "--add", "--cacheinfo", f"100644,{stolen},src/stolen")
    session.plumb("commit", "-q", "-m", "feat(WP02): stolen")
    session.refused("objects")


def test_a_lying_commit_graph_is_not_believed(session: Session) -> None:
    session.commit({"src/b.py": "b = 2\n"})
    session.plumb("commit-graph", "write", "--reachable")
    graph = session.s / "objects/info/commit-graph"
    data = bytearray(graph.read_bytes())
    graph.chmod(0o600)
    graph.write_bytes(bytes(data[:200]) + b"\xff" * (len(data) - 200))
    session.admitted()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "rule"),
    [
        (".gitattributes", "control_file"), ("src/deep/.GitAttributes", "control_file"),
        (".gitmodules", "control_file"), ("src/.GITMODULES", "control_file"),
        (".kittify/config.yaml", "governance"), (".KITTIFY/new", "governance"),
        ("features/x/spec.md", "features"), ("Features/y/spec.md", "features"), ("kitty-specs/1/spec.md", "features"),
        ("sub/.gitattributes\u200d", "control_file"), ("features", "features"), (".kittify", "governance"),
    ],
)  # fmt: skip
def test_guarded_paths_are_refused_in_any_spelling(session: Session, path: str, rule: str) -> None:
    try:
        session.entry(path, "100644")
    except AssertionError:
        pytest.skip("git itself refuses it")
    outcome = session.admit()
    assert isinstance(outcome, Refused)
    # fsck knows some of these too, and may come first
    assert {f.rule for f in outcome.findings} & {rule, "objects"}


def test_a_guarded_path_changed_and_changed_back_is_refused(session: Session) -> None:
    sha = session.commit({".kittify/config.yaml": "evil: 1\n"})
    session.commit({".kittify/config.yaml": "{}\n"})
    [first, *_] = session.refused("governance").findings
    assert (first.commit, first.path) == (sha, ".kittify/config.yaml")


def test_an_empty_guarded_folder_is_refused(session: Session) -> None:
    empty = session.plumb("mktree", stdin=b"")
    lines = session.plumb("ls-tree", "HEAD") + f"\n040000 tree {empty}\t.Kittify\n"
    tree = session.plumb("mktree", stdin=lines.encode())
    session.move(session.plumb("commit-tree", tree, "-p", "HEAD", "-m", "m"))
    session.refused("governance")


def test_deleting_a_guarded_file_is_refused(session: Session) -> None:
    session.plumb("rm", "-q", "features/x/spec.md")
    session.commit({})
    session.refused("features")


def test_a_gitlink_is_refused(session: Session) -> None:
    session.plumb("update-index", "--add", "--cacheinfo", f"160000,{session.base},sub")
    session.plumb("commit", "-q", "-m", "feat(WP02): sub")
    session.refused("gitlink")


@pytest.mark.slow
@pytest.mark.parametrize(
    "target",
    [
        "/etc/passwd",
        "..",
        "../..",
        "../../x",
        "a/../../../x",
        ".git/config",
        "../.GIT/hooks",
        "../src/../../x",
        "x" * 5000,
    ],
)
def test_links_that_escape_are_refused(session: Session, target: str) -> None:
    if target == "..":
        target = "../.."
    session.entry("src/link", "120000", target.encode())
    assert isinstance(session.admit(), Refused)


def test_a_link_that_escapes_through_a_folder_that_is_a_link_is_refused(session: Session) -> None:
    session.worktree.joinpath("a/b/c").mkdir(parents=True)
    os.symlink("../../..", session.worktree / "a/b/c/root")
    os.symlink("a/b/c/root/../x", session.worktree / "out")
    session.commit({})
    outcome = session.refused("link")
    assert outcome.findings[0].path == "out"


def test_a_link_that_was_good_and_now_escapes_is_refused(scratch: ScratchFactory) -> None:
    repo = scratch({"a/b/c/keep": ""})
    os.symlink("a/b/c/../../../README", repo / "good")
    commit(repo, {"README": "r"}, "links")
    session = begin(repo)
    session.plumb("rm", "-rq", "a")
    os.symlink("src", session.worktree / "a")
    os.symlink("..", session.worktree / "deep")
    session.worktree.joinpath("src/b").mkdir(parents=True)
    os.symlink("..", session.worktree / "src/b/c")
    session.commit({})
    session.refused("link")


def test_honest_links_enter(session: Session) -> None:
    os.symlink("a.py", session.worktree / "src/alias.py")
    os.symlink("../README.md", session.worktree / "src/readme")
    os.symlink("src", session.worktree / "lib")
    session.commit({})
    session.admitted()


@pytest.mark.slow
@pytest.mark.parametrize("where", ["blob", "message", "name", "author", "link", "history"])
def test_a_secret_is_refused_and_named_but_not_told(session: Session, where: str) -> None:
    if where == "blob":
        session.commit({"src/s.py": f"token = '{SECRET}'\n"})
    elif where == "message":
        # as git shows it; its bytes are other ones
        said = session.worktree.parent / "said"
        said.write_bytes(f"feat(WP02): {SECRET}\n".encode("cp500"))
        session.plumb("-c", "i18n.commitEncoding=IBM500", "commit", "-q", "--allow-empty", "-F", str(said))
    elif where == "name":
        session.commit({f"src/{SECRET}.py": "x"})
    elif where == "author":
        session.commit({"src/s.py": "x"})
        session.plumb("commit", "-q", "--amend", "--no-edit", f"--author={SECRET} <a@b>")
    elif where == "link":
        os.symlink(SECRET, session.worktree / "src/link")
        session.commit({})
    else:
        session.commit({"src/s.py": SECRET})
        session.commit({"src/s.py": "gone"})
    outcome = session.refused("secret")
    assert "TOKEN" in str(outcome)
    assert SECRET not in repr(outcome)


def test_a_secret_in_a_large_file_across_the_border_of_two_reads_is_found(session: Session) -> None:
    session.commit({"src/big": "x" * ((8 << 20) - 5) + SECRET + "y" * 100})
    session.refused("secret")


def test_a_secret_the_parent_has_does_not_refuse_but_another_one_does(scratch: ScratchFactory) -> None:
    session = begin(scratch({"env": f"A={SECRET}\nB=1\n"}))
    session.commit({"env": f"A={SECRET}\nB=2\n"})
    session.plumb("mv", "env", "moved")
    session.commit({"moved": f"A={SECRET}\nB=3\n"})
    session.commit({"copy": f"A={SECRET}\nB=3\n"})
    session.admitted()
    session.old = session.tip
    session.commit({"moved": f"A={SECRET}\nB=swordfish-42\n"})
    assert "OTHER" in str(session.refused("secret"))


def test_rewritten_history_is_refused(session: Session) -> None:
    session.commit({"src/b.py": "b = 2\n"})
    session.admitted()
    session.old = session.tip
    session.plumb("commit", "-q", "--amend", "-m", "feat(WP02): another")
    session.refused("history")
    session.plumb("reset", "-q", "--hard", session.base)
    session.refused("history")


def test_a_merge_of_the_target_enters_and_brings_the_targets_own_changes(session: Session) -> None:
    session.commit({"src/b.py": "b = 2\n"})
    user = session.repo.work_tree
    moved = commit(
        user, {".kittify/config.yaml": "new: 1\n", ".gitattributes": "* text\n", "features/x/spec.md": "t"}, "u"
    )
    session.plumb("merge", "-q", "--no-ff", "-m", "feat(WP02): merge", moved)
    done = session.admitted()
    assert len(done.commits) == 2


def test_a_fast_forward_to_the_target_has_no_commits_of_its_own(session: Session) -> None:
    moved = commit(session.repo.work_tree, {"src/c.py": "c"}, "u")
    session.plumb("merge", "-q", "--ff-only", moved)
    done = session.admitted()
    assert (done.head, done.commits) == (moved, ())


def test_an_evil_merge_is_refused(session: Session) -> None:
    session.commit({"src/b.py": "b = 2\n"})
    moved = commit(session.repo.work_tree, {"src/c.py": "c"}, "u")
    session.plumb("merge", "-q", "--no-ff", "--no-commit", moved)
    session.commit({".kittify/config.yaml": "evil: 1\n"})
    session.refused("governance")


def test_a_merge_that_takes_back_the_targets_rules_is_refused(session: Session) -> None:
    session.commit({"src/b.py": "b = 2\n"})
    moved = commit(session.repo.work_tree, {".kittify/config.yaml": "stricter: 1\n"}, "u")
    session.plumb("merge", "-q", "-s", "ours", "-m", "feat(WP02): merge", moved)
    session.refused("governance")


def test_a_merge_of_anything_but_the_target_is_refused(session: Session) -> None:
    session.commit({"src/b.py": "b = 2\n"})
    session.plumb("checkout", "-q", "-b", "side", session.base)
    session.commit({"src/side.py": "s"})
    session.plumb("checkout", "-q", BRANCH)
    session.plumb("merge", "-q", "--no-ff", "-m", "feat(WP02): merge", "side")
    session.refused("history")


def test_another_packages_commits_are_refused(session: Session) -> None:
    user = session.repo.work_tree
    git(user, "checkout", "-q", "-b", "feat/003-auth-WP01")
    commit(user, {"src/one.py": "1"}, "feat(WP01): one")
    theirs = commit(user, {"src/two.py": "2"}, "feat(WP01): two")
    git(user, "checkout", "-q", "main")
    session.plumb("reset", "-q", "--hard", f"{theirs}~1")
    session.commit({"src/b.py": "b = 2\n"})
    session.refused("foreign_commit")


def test_commits_of_a_session_that_still_runs_are_refused(session: Session) -> None:
    theirs = session.commit({"src/b.py": "b = 2\n"})
    session.commit({"src/c.py": "c"})
    outcome = session.admit(foreign=[theirs])
    assert isinstance(outcome, Refused)
    assert outcome.findings[0].rule == "foreign_commit"


def test_a_commit_without_a_parent_is_refused(session: Session) -> None:
    session.plumb("checkout", "-q", "--orphan", "fresh")
    root = session.commit({"src/b.py": "b"})
    session.move(session.plumb("commit-tree", "HEAD^{tree}", "-p", session.base, "-p", root, "-m", "m"))
    session.refused("history")


def test_a_branch_that_was_moved_meanwhile_is_left_alone(session: Session) -> None:
    session.commit({"src/b.py": "b = 2\n"})
    moved = commit(session.repo.work_tree, {"x": "1"}, "users")
    git(session.repo.work_tree, "update-ref", f"refs/heads/{BRANCH}", moved)
    outcome = session.admit()
    assert isinstance(outcome, Refused)
    assert outcome.findings[0].rule == "branch"
    assert session.tip == moved


def test_too_much_is_refused(session: Session) -> None:
    session.worktree.joinpath("src/noise").write_bytes(os.urandom(300_000))
    session.commit({})
    outcome = session.admit(limits=Limits(pack_bytes=100_000))
    assert isinstance(outcome, Refused)
    session.admitted()


@pytest.mark.slow
@pytest.mark.exhaustive
def test_ten_thousand_commits_enter(session: Session) -> None:
    lines = ["commit refs/heads/many"]
    for number in range(10_000):
        head = [] if number == 0 else ["commit refs/heads/many"]
        lines += [
            *head,
            "committer r <r@r> 1700000000 +0000",
            "data 2",
            "m",
            f"from {session.base}" if number == 0 else "",
        ]
        lines += [f"M 100644 inline src/f{number % 50}", f"data {len(str(number))}", str(number), ""]
    text = "\n".join(lines) + "\n"
    subprocess.run(["git", "fast-import", "--quiet"], cwd=session.worktree, input=text.encode(), check=True)
    session.move(session.plumb("rev-parse", "refs/heads/many"))
    assert len(session.admitted().commits) == 10_000


def test_commits_of_a_shallow_sha256_clone_in_a_strange_place_enter(tmp_path: Path) -> None:
    origin, path = tmp_path / "origin", tmp_path / 'a: "strange" place'
    git(tmp_path, "init", "-q", "-b", "main", "--object-format=sha256", str(origin))
    commit(origin, {"a": "1\n"}, "one")
    commit(origin, {"a": "2\n"}, "two")
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{origin}", str(path))
    session = begin(path)
    session.commit({"b": "b"})
    assert len(session.admitted().commits) == 1


def test_odd_file_names_enter(session: Session) -> None:
    (session.worktree / "src" / os.fsdecode(b'\xff new\nline\t"q"')).write_text("x")
    session.commit({"src/ünï": "x", "src/ sp ace ": "x"})
    assert session.admitted().files_changed == 3


@pytest.mark.parametrize(
    ("name", "as_compared"),
    [(".GitAttributes", ".gitattributes"), (".git\u200cmodules. ", ".gitmodules"), ("a:b", "a")],
)
def test_names_are_compared_as_the_least_exact_file_system_does(name: str, as_compared: str) -> None:
    assert folded(name) == as_compared


def test_links_that_go_in_circles_do_not_hang() -> None:
    assert not escapes("a", "b", {"a": ["b"], "b": ["a"]})
    assert escapes("a", "a/a", {"a": ["a/a"]})


@pytest.mark.parametrize("left", [0, 2, 5])
def test_a_machine_that_fails_says_nothing_of_the_commits(session: Session, left: int) -> None:
    session.commit({"src/a.py": "1\n"})
    request = session.request()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    held: list[int] = []
    try:
        with suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        for _ in range(left):
            os.close(held.pop())
        refused = admit(session.repo, session.control, request)
    finally:
        for handle in held:
            os.close(handle)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert isinstance(refused, Refused)
    assert refused.by_machine, refused
    assert isinstance(session.admit(), Admitted)


def test_a_secret_in_pieces_is_refused_wherever_they_are_and_known_ones_do_not_count(session: Session) -> None:
    session.commit({"src/a.py": f"a = '{SECRET[:8]}'\n"})
    session.commit({"src/c.py": "c = 1\n"}, f"feat(WP02): {SECRET[7:]}")
    found = session.refused("secret").findings
    assert {(f.path, f.message) for f in found} == {
        ("src/a.py", "the secret TOKEN comes in pieces, of which this holds some"),
        ("", "the secret TOKEN comes in pieces, of which this holds some"),
    }
    assert SECRET[:8] not in str(found)


def test_pieces_that_two_sessions_bring_are_taken_together(session: Session) -> None:
    value = "correct-horse-battery"
    find = Finder({"TOKEN": value})

    def admit_more(files: dict[str, str]) -> Admitted | Refused | NothingNew:
        session.commit(files)
        outcome = admit(session.repo, session.control, replace(session.request(), secrets=find))
        session.old = session.tip
        return outcome

    assert isinstance(admit_more({"src/a.py": f"a = '{value[:12]}'\n"}), Admitted)
    assert isinstance(admit_more({"src/b.py": "b = 1\n"}), Admitted)
    refused = admit_more({"src/c.py": f"c = '{value[10:]}'\n"})
    assert isinstance(refused, Refused)
    assert [f.path for f in refused.findings] == ["src/c.py"]


@pytest.mark.slow
@pytest.mark.parametrize("undone", [False, True])
def test_a_tree_that_a_few_objects_make_endless_is_refused(session: Session, undone: bool) -> None:
    blob = session.plumb("hash-object", "-w", "--stdin", stdin=b"x")
    tree = session.plumb("mktree", stdin="".join(f"100644 blob {blob}\tf{n}\n" for n in range(10)).encode())
    for _ in range(8):
        tree = session.plumb("mktree", stdin="".join(f"040000 tree {tree}\td{n}\n" for n in range(10)).encode())
    before = session.plumb("rev-parse", "HEAD")
    tip = session.plumb("commit-tree", tree, "-p", "HEAD", "-m", "feat(WP02): bomb")
    if undone:
        tip = session.plumb("commit-tree", f"{before}^{{tree}}", "-p", tip, "-m", "fix(WP02): no bomb")
    session.move(tip)
    assert "more files than can be looked at" in str(session.refused("objects"))
