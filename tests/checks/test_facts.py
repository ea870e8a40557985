"""Checks that look at commits and trees, and run nothing of the candidate."""

import re
from dataclasses import replace

import pytest

from agentpkg.checks import changes, deliverables, history, scope, tree
from agentpkg.checks.base import CheckSpec, CoverageSpec, Definitions, Finding, ReviewContext
from agentpkg.checks.definitions import definitions, definitions_key
from agentpkg.config import Settings, always_forbidden, parse
from agentpkg.config.governance import Policy
from agentpkg.core.model import WorkPackage
from tests.checks.scene import candidate_of, context_for, scene
from tests.support.repos import ScratchFactory, commit, git


def settings(text: str) -> Settings:
    return parse(text, "config.yaml", {}).settings


def status(findings: list[Finding], name: str) -> str:
    return found(findings, name).status


def found(findings: list[Finding], name: str) -> Finding:
    (one,) = [finding for finding in findings if finding.name == name]
    return one


def of_changes(context: ReviewContext) -> list[Finding]:
    before, after = tree.files(context.control, context.base), tree.files(context.control, context.candidate)
    return changes.check(context, before, after)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "rules", "in_scope"),
    [
        ("src/a.py", {"allowed_paths": ("src/", "tests/")}, True),
        ("lib/a.py", {"allowed_paths": ("src/", "tests/")}, False),
        ("Cargo.toml", {"allowed_paths": ("src/", "Cargo.toml")}, True),
        ("src/handlers/deep/a.py", {"owned_files": ("src/handlers/**",)}, True),
        ("src/a.py", {"owned_files": ("src/handlers/**",)}, False),
        ("src/a.py", {"owned_files": ("src/*", "!src/a.py")}, False),
        ("src/a.py", {"allowed_paths": ("src/",), "owned_files": ("tests/**",)}, False),
        ("anything", {}, True),
        ("anything", {"allowed_paths": ()}, True),
        ("src/sub dir/ä.py", {"owned_files": ("src/**/*.py",)}, True),
    ],
)
def test_a_change_is_in_scope_when_allowed_and_owned(
    scratch: ScratchFactory, path: str, rules: dict[str, tuple[str, ...]], in_scope: bool
) -> None:
    wp = {"owned_files": rules["owned_files"]} if "owned_files" in rules else {}
    more = {"allowed_paths": rules["allowed_paths"]} if "allowed_paths" in rules else {}
    context = scene(scratch(), {path: "x"}, wp=wp, **more)
    assert status(of_changes(context), "scope") == ("pass" if in_scope else "fail")


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [
        ".kittify/config.yaml", ".KITTIFY/x", "features/001/spec.md", "kitty-specs/1/spec.md", "sub/.gitattributes",
        ".gitmodules", "env_secrets/key", "deep/env_secrets/key", "src/models/user.py", "plans/1.md", ".kittify",
    ],
)  # fmt: skip
def test_forbidden_paths_cannot_be_taken_back(scratch: ScratchFactory, path: str) -> None:
    context = scene(
        scratch(), {path: "x"}, wp={"forbidden_paths": ("src/models/**", "!env_secrets/", "!.kittify")},
        forbidden_paths=("env_secrets/", "!.gitattributes"),
        always_forbidden=always_forbidden(settings("project: {features_dir: plans}\n")),
    )  # fmt: skip
    assert status(of_changes(context), "forbidden paths") == "fail"
    assert status(of_changes(replace(context, candidate=context.base)), "forbidden paths") == "pass"


def test_a_rename_out_of_scope_shows_both_names(scratch: ScratchFactory) -> None:
    repo = scratch({"lib/a.py": "x = 1\n" * 50})
    context = scene(repo, {"src/a.py": "x = 1\n" * 50}, remove=("lib/a.py",), allowed_paths=("src/",))
    assert scope.judge(context, ["src/a.py", "lib/a.py"]).not_allowed == ("lib/a.py",)
    assert "lib/a.py" in found(of_changes(context), "scope").detail


def test_a_change_of_mode_counts(scratch: ScratchFactory) -> None:
    repo = scratch({"lib/a.sh": "true\n"})
    git(repo, "checkout", "-q", "-b", "feat/x-WP01")
    git(repo, "update-index", "--chmod=+x", "lib/a.sh")
    git(repo, "commit", "-qm", "feat(WP01): run")
    context = context_for(repo, git(repo, "rev-parse", "main"), git(repo, "rev-parse", "HEAD"), allowed_paths=("src/",))
    assert status(of_changes(context), "scope") == "fail"


def test_files_over_the_limit_fail_unless_they_were_larger_before(scratch: ScratchFactory) -> None:
    repo = scratch({"old.bin": "x" * 500})
    context = scene(repo, {"old.bin": "y" * 400, "new.bin": "x" * 101, "ok": "x" * 100}, max_file_size=100)
    found_size = found(of_changes(context), "file size")
    assert (found_size.status, found_size.detail) == ("fail", "over 100 bytes: new.bin (101 bytes)")


def test_a_submodule_fails(scratch: ScratchFactory) -> None:
    repo = scratch()
    base = git(repo, "rev-parse", "main")
    git(repo, "checkout", "-q", "-b", "feat/x-WP01")
    git(repo, "update-index", "--add", "--cacheinfo", f"160000,{base},vendored")
    git(repo, "commit", "-qm", "feat(WP01): vendor")
    findings = of_changes(context_for(repo, base, git(repo, "rev-parse", "HEAD")))
    assert status(findings, "submodules") == "fail"


def test_a_repository_among_the_files_fails_unless_the_package_names_it(scratch: ScratchFactory) -> None:
    bare = {
        "fixtures/x.git/HEAD": "ref: refs/heads/main\n", "fixtures/x.git/Objects/a": "", "fixtures/x.git/refs/a": "",
        "other/HEAD": "x", "other/refs": "no folder", "linked/HEAD": "x", "linked/commondir": "../x",
    }  # fmt: skip
    told = found(of_changes(scene(scratch(), bare)), "repositories")
    assert told.status == "fail"
    assert told.data == {"folders": ["fixtures/x.git", "linked"]}
    owner = scene(scratch(), bare, wp={"owned_files": ("fixtures/x.git/**", "linked", "other/**")})
    assert not [one for one in of_changes(owner) if one.name == "repositories"]


def test_the_worktree_is_clean_or_tells(scratch: ScratchFactory) -> None:
    context = scene(scratch(), {"a": "1"})
    for tracked, untracked, wanted in (
        (("src/a.py",), ("b",), "fail"), ((), ("notes.txt",), "warn"), ((), (), "pass"), (None, (), "skip"),
    ):  # fmt: skip
        changed = replace(context, tracked_changes=tracked, untracked=untracked)
        assert status(of_changes(changed), "worktree") == wanted


def of_deliverables(context: ReviewContext) -> list[Finding]:
    return deliverables.check(context, tree.files(context.control, context.candidate))


def test_deliverables_exist_in_the_candidate(scratch: ScratchFactory) -> None:
    repo = scratch({"there.txt": "1\n2\n3"})
    git(repo, "checkout", "-q", "-b", "feat/x-WP01")
    (repo / "link").symlink_to("there.txt")
    (repo / "dangling").symlink_to("/etc/passwd")
    head = commit(repo, {"pkg/a.py": "", "pkg/b.py": "x\n", "blob.bin": "\0\1"}, "feat(WP01): all")
    wanted = ("there.txt", "./pkg/a.py", "pkg/", "pkg/*.py", "link", "dangling", "missing.py", "blob.bin", "*.rs")
    context = context_for(repo, git(repo, "rev-parse", "main"), head, wp={"deliverables": wanted})
    told = {finding.name: (finding.status, finding.detail) for finding in of_deliverables(context)}
    assert told == {
        "there.txt": ("pass", "3 lines"),
        "./pkg/a.py": ("pass", "0 lines"),
        "pkg/": ("pass", "2 files"),
        "pkg/*.py": ("pass", "2 files"),
        "link": ("pass", "3 lines"),
        "dangling": ("fail", "a link that leads nowhere in the candidate"),
        "missing.py": ("fail", "missing"),
        "blob.bin": ("pass", "2 bytes, binary"),
        "*.rs": ("fail", "nothing matches"),
        "deliverables": ("fail", "6 of 9 present"),
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("message", "good"),
    [
        ("feat(WP01): login", True),
        ("feat(WP01): login\n\nlong story", True),
        ("feat(WP02): login", False),
        ("feat(WP01):", False),
        ("wip\n\nfeat(WP01): login", False),
        ("Feat(WP01): login", False),
    ],
)
def test_commit_messages_follow_the_convention(scratch: ScratchFactory, message: str, good: bool) -> None:
    findings = history.check(scene(scratch(), {"a": "1"}, message=message))
    assert status(findings, "commit messages") == ("pass" if good else "fail")


def test_the_convention_is_the_configured_one_with_the_id_as_text(scratch: ScratchFactory) -> None:
    context = scene(scratch(), {"a": "1"}, message="[WP01] login", commit_expression=r"^\[WP01\] \w+$")
    assert status(history.check(context), "commit messages") == "pass"


def test_merges_of_the_target_are_history_and_need_no_convention(scratch: ScratchFactory) -> None:
    repo = scratch()
    git(repo, "checkout", "-q", "-b", "feat/x-WP01")
    commit(repo, {"a": "1"}, "feat(WP01): a")
    git(repo, "checkout", "-q", "main")
    base = commit(repo, {"b": "1"}, "elsewhere")
    git(repo, "checkout", "-q", "feat/x-WP01")
    git(repo, "merge", "-q", "--no-edit", "main")
    findings = history.check(context_for(repo, base, git(repo, "rev-parse", "HEAD")))
    assert {finding.status for finding in findings} == {"pass"}
    assert found(findings, "history").detail == "1 own commit, 1 merge of the target"


def test_merges_of_anything_else_fail(scratch: ScratchFactory) -> None:
    repo = scratch()
    base = git(repo, "rev-parse", "main")
    git(repo, "checkout", "-q", "-b", "other")
    commit(repo, {"b": "1"}, "feat(WP01): b")
    git(repo, "checkout", "-q", "-b", "feat/x-WP01", base)
    commit(repo, {"a": "1"}, "feat(WP01): a")
    git(repo, "merge", "-q", "--no-edit", "other")
    findings = history.check(context_for(repo, base, git(repo, "rev-parse", "HEAD")))
    assert status(findings, "history") == "fail"


def test_commits_of_strangers_fail(scratch: ScratchFactory) -> None:
    context = scene(scratch(), {"a": "1"})
    other = replace(context, identities=frozenset({"codex <codex@agentpkg.invalid>"}))
    detail = found(history.check(other), "identity").detail
    assert detail == "commits by Test User <user@example.org>, not by codex <codex@agentpkg.invalid>"


def test_a_sessions_commits_in_a_persons_name_fail_and_the_persons_own_do_not(scratch: ScratchFactory) -> None:
    context = scene(scratch(), {"a": "1"})
    agents = frozenset({"codex <codex@agentpkg.invalid>"})
    theirs = replace(context, agents=agents, identities=context.identities | agents)
    assert found(history.check(theirs), "identity").status == "pass"
    forged = replace(theirs, sessions=((context.base, context.head),))
    detail = found(history.check(forged), "identity").detail
    assert detail == "a session made commits in the name of Test User <user@example.org>"


TEXTS = (
    ("feat(WP01): \x1b[2Jx", "utf-8", "control characters"), ("feat(WP01): a\u202eb", "utf-8", "control characters"),
    ("feat(WP01): +ABs-", "UTF-7", "control characters"), ("feat(WP01): &ABs-", "UTF-7-IMAP", "cannot be read"),
    ("feat(WP01): odd \x1b", "UTF-16", "control characters"), ("feat(WP01): a\n\n+AEE-udit-hash: 0", "UTF-7", "Audit"),
    ("feat(WP01): a\n\naudit-hash: 00", "utf-8", "Audit-Hash"),
    ("feat(WP01): grüße 👩\u200d💻\n\n\tAudit-Hash is a trailer", "utf-8", ""),
)  # fmt: skip


def test_texts_that_act_on_their_reader_fail(scratch: ScratchFactory) -> None:
    context = scene(scratch(), {"a": "1"})
    outside, base = context.outside[0], context.base
    tree = git(outside, "rev-parse", f"{context.head}^{{tree}}")
    for message, encoding, said in TEXTS:
        head = git(outside, "-c", f"i18n.commitEncoding={encoding}", "commit-tree", tree, "-p", base, "-m", message)
        told = [one.detail for one in history.check(replace(context, head=head)) if one.name == "commit texts"]
        assert [said in one for one in told] == ([True] if said else []), message


def test_a_branch_without_commits_fails(scratch: ScratchFactory) -> None:
    repo = scratch()
    base = git(repo, "rev-parse", "main")
    context = context_for(repo, base, base)
    assert candidate_of(repo, base, base)
    assert status(history.check(context), "history") == "fail"
    assert status(of_changes(context), "scope") == "fail"


def test_names_that_are_no_utf8_and_controls_do_no_harm(scratch: ScratchFactory) -> None:
    repo = scratch()
    git(repo, "checkout", "-q", "-b", "feat/x-WP01")
    with open(bytes(repo) + b"/bad\xff\x1b[31m\n.py", "wb") as file:
        file.write(b"x\n")
    head = commit(repo, {}, "feat(WP01): \x1b[2J evil")
    context = context_for(repo, git(repo, "rev-parse", "main"), head, allowed_paths=("src/",))
    detail = found(of_changes(context), "scope").detail
    assert detail == r"outside allowed_paths: bad\xff [31m .py"


def test_changed_lines_are_those_of_the_candidate(scratch: ScratchFactory) -> None:
    repo = scratch({"a.py": "1\n2\n3\n4\n", "gone.py": "1\n"})
    context = scene(repo, {"a.py": "1\nnew\n2\n3\nchanged\n", "b.py": "x\ny\n"}, remove=("gone.py",))
    assert changes.changed_lines(context, ["a.py", "b.py"]) == {"a.py": {2, 5}, "b.py": {1, 2}}


def test_definitions_come_from_configuration_and_frozen_package() -> None:
    text = """
agent: {constraints: {allowed_paths: [src/], max_file_size: 5}}
review:
  checks: [{name: tests, group: test-quality, run: pytest, report: r.xml, minimum_tests: 3}]
  coverage: {report: c.xml, minimum: 85.5, per: file}
  requirements: strict
"""
    package = WorkPackage(id="WP02", title="t", feature="f", path="p", digest="d1")
    found = definitions(settings(text), Policy(), package, {"spec": "s"})
    assert found.checks[0] == CheckSpec("tests", "test-quality", "pytest", "r.xml", 3)
    assert found.coverage == CoverageSpec("c.xml", 85.5, "file")
    assert (found.requirements, found.allowed_paths, found.max_file_size) == ("strict", ("src/",), 5)
    assert re.search(found.commit_expression, "feat(WP02): x")
    assert found.always_forbidden
    key = definitions_key(settings(text), Policy(), package, {"spec": "s"})
    assert key == found.key()
    assert key != definitions_key(settings(text), Policy(), replace(package, digest="d2"), {"spec": "s"})
    assert key != definitions_key(settings(text), Policy(), package, {"spec": "t"})


def test_the_definitions_key_tells_definitions_apart() -> None:
    plain = Definitions(digests={"wp": "a", "spec": "b"})
    assert plain.key() == Definitions(digests={"spec": "b", "wp": "a"}).key()
    others = [
        replace(plain, digests={"wp": "c", "spec": "b"}), replace(plain, max_file_size=1),
        replace(plain, allowed_paths=("a",)), replace(plain, requirements="strict"), replace(plain, strategy="squash"),
    ]  # fmt: skip
    assert len({plain.key(), *(other.key() for other in others)}) == 6
