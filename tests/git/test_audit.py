import json
import multiprocessing
from pathlib import Path

import pytest

from agentpkg.git.audit import AuditGap, anchored, append_audit, read_audit
from agentpkg.git.discover import discover
from agentpkg.git.repo import GitFailed
from tests.git.support import plant
from tests.support.repos import ScratchFactory, git

SLUG = "003-auth-system"
REF = f"refs/agentpkg/audit/{SLUG}"


def lines(first: int, last: int) -> list[str]:
    return [
        json.dumps({"id": n, "hash": f"{n:064x}", "text": "ü\u2028"}, ensure_ascii=False)
        for n in range(first, last + 1)
    ]


def test_what_is_appended_is_read_back(scratch: ScratchFactory) -> None:
    repo = discover(scratch())
    assert (anchored(repo, SLUG), read_audit(repo, SLUG)) == ((0, None), [])
    assert append_audit(repo, SLUG, lines(1, 3)) == 3
    assert append_audit(repo, SLUG, lines(4, 4)) == 4
    assert append_audit(repo, SLUG, []) == 4
    assert read_audit(repo, SLUG) == lines(1, 4)
    assert anchored(repo, SLUG) == (4, f"{4:064x}")
    assert read_audit(repo, "004-other") == []
    assert git(repo.work_tree, "status", "--porcelain") == ""
    assert git(repo.work_tree, "log", "-1", "--format=%an", REF) == "agentpkg"


def test_each_commit_holds_only_its_own_segment(scratch: ScratchFactory) -> None:
    repo = discover(scratch())
    for n in range(1, 6):
        append_audit(repo, SLUG, lines(n, n))
    assert git(repo.work_tree, "show", f"{REF}:entries.jsonl") == lines(5, 5)[0]
    assert git(repo.work_tree, "ls-tree", "--name-only", REF) == "entries.jsonl"
    git(repo.work_tree, "fsck", "--strict")


def test_lines_given_again_are_skipped_and_gaps_refused(scratch: ScratchFactory) -> None:
    repo = discover(scratch())
    append_audit(repo, SLUG, lines(1, 3))
    append_audit(repo, SLUG, lines(2, 5))
    assert read_audit(repo, SLUG) == lines(1, 5)
    with pytest.raises(AuditGap):
        append_audit(repo, SLUG, lines(7, 7))
    with pytest.raises(GitFailed):
        append_audit(repo, "not a..ref", lines(1, 1))


def test_foreign_commits_on_the_ref_are_read_as_what_they_are(scratch: ScratchFactory) -> None:
    repo = discover(scratch())
    append_audit(repo, SLUG, lines(1, 2))
    git(repo.work_tree, "update-ref", REF, git(repo.work_tree, "commit-tree", "-p", REF, "-m", "x", "HEAD^{tree}"))
    assert read_audit(repo, SLUG) == lines(1, 2)
    git(repo.work_tree, "update-ref", REF, "HEAD")
    assert read_audit(repo, SLUG) == []
    assert anchored(repo, SLUG) == (0, None)


def test_a_sha256_repository_and_planted_code_change_nothing(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--object-format=sha256", "r")
    git(tmp_path / "r", "commit", "-q", "--allow-empty", "-m", "x")
    plant(tmp_path / "r", tmp_path / "marker")
    repo = discover(tmp_path / "r")
    append_audit(repo, SLUG, lines(1, 2))
    append_audit(repo, SLUG, lines(3, 3))
    assert read_audit(repo, SLUG) == lines(1, 3)
    assert not (tmp_path / "marker").exists()


def _append(path: Path) -> bool:
    try:
        append_audit(discover(path), SLUG, lines(1, 5))
    except GitFailed:
        return False
    return True


@pytest.mark.slow
def test_of_several_writers_none_writes_twice(scratch: ScratchFactory) -> None:
    path = scratch()
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        assert any(pool.map(_append, [path] * 8, chunksize=1))
    assert read_audit(discover(path), SLUG) == lines(1, 5)
