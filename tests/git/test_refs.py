from pathlib import Path

from agentpkg.git import refs
from agentpkg.git.discover import discover
from tests.support.repos import ScratchFactory, git


def test_the_tip_of_a_ref_is_what_git_says_however_it_is_kept(scratch: ScratchFactory) -> None:
    repo = discover(scratch({"a.txt": "a"}))
    top, head = repo.work_tree, git(repo.work_tree, "rev-parse", "HEAD")
    git(top, "branch", "feat/one")
    git(top, "symbolic-ref", "refs/heads/alias", "refs/heads/feat/one")
    (top / ".git" / "refs" / "heads" / "torn").write_bytes(b"")

    def tips() -> list[str | None]:
        names = ("refs/heads/feat/one", "refs/heads/alias", "refs/heads/none", "refs/heads/feat")
        return [refs.tip(repo.git, name) for name in (*names, "refs/heads/../heads/feat/one", "refs/heads/torn")]

    assert tips() == [head, head, None, None, None, None]
    (top / ".git" / "refs" / "heads" / "torn").unlink()
    git(top, "pack-refs", "--all")
    assert not Path(top / ".git" / "refs" / "heads" / "feat" / "one").exists()
    assert tips() == [head, head, None, None, None, None]
    git(top, "commit", "-q", "--allow-empty", "-m", "next")
    git(top, "branch", "-f", "feat/one")
    assert tips()[:2] == [git(top, "rev-parse", "HEAD")] * 2
