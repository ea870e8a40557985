import os
import resource
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentpkg.checks import copy
from tests.checks.scene import context_for
from tests.support.repos import ScratchFactory, git

FILES = 50_000


def fill(repo: Path) -> str:
    """A commit of many files on main, made by fast-import."""
    names = "".join(f"M 100644 :1 src/d{n // 100}/f{n}.txt\n" for n in range(FILES))
    who = "Test User <user@example.org> 1700000000 +0000"
    stream = f"blob\nmark :1\ndata 5\nhello\ncommit refs/heads/main\ncommitter {who}\ndata 3\nbig\nfrom main\n{names}\n"
    git(repo, "fast-import", "--quiet", stdin=stream.encode())
    return git(repo, "rev-parse", "main")


def worked() -> float:
    """Seconds of processor time so far, of this process and those it waited for: what runs beside it does not count."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder in memory where there is one. An ext4 without a journal shuns the inodes of files that were
    removed in the last minutes (``recently_deleted`` in its ialloc.c): half a millisecond for each new file."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


@pytest.mark.slow
def test_a_copy_of_50_000_files_costs_about_what_a_worktree_does(memory: Path) -> None:
    repo = ScratchFactory(memory)()
    tip = fill(repo)
    context = context_for(repo, tip, tip)
    begun = worked()
    subprocess.run(["git", "-C", repo, "worktree", "add", "-q", "--detach", memory / "wt", tip], check=True)
    plain = worked() - begun
    begun = worked()
    with copy.throw_away(context) as place:
        ours = worked() - begun
        assert sum(1 for path in (place.root / "src").rglob("*.txt")) == FILES
        root = place.root
    assert not root.exists()
    assert ours < 2 * plain + 1, f"{ours:.2f} s, git worktree add {plain:.2f} s"
