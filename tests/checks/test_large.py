import os
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


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder in memory where there is one: an ext4 without a journal shuns the inodes of files that were
    removed in the last minutes, and then takes seconds more, for git as for us."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


@pytest.mark.slow
def test_a_copy_of_50_000_files_is_whole_and_gone_afterwards(memory: Path) -> None:
    # what it costs is for bench/: kernels take 1 to 20 s for the same files, whoever makes them
    repo = ScratchFactory(memory)()
    tip = fill(repo)
    with copy.throw_away(context_for(repo, tip, tip)) as place:
        assert sum(1 for path in (place.root / "src").rglob("*.txt")) == FILES
        root = place.root
    assert not root.exists()
