import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from agentpkg.core.errors import BadInput, Busy
from agentpkg.files import lock, read_bounded, remove_tree, temporary_folder, write_atomic
from tests.support.wait import until

HOLDER = """
import sys
from pathlib import Path
from agentpkg.files import lock
with lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_written_file_has_its_mode_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a", b"one", 0o640)
    write_atomic(tmp_path / "a", "zw\u00f6lf\udcff", sync=True)
    assert (tmp_path / "a").read_bytes() == "zw\u00f6lf".encode() + b"\xff"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["a"]


def test_writing_replaces_a_link_and_leaves_what_it_names(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("mine")
    (tmp_path / "link").symlink_to("real")
    write_atomic(tmp_path / "link", b"new")
    assert (tmp_path / "real").read_text() == "mine"
    assert not (tmp_path / "link").is_symlink()


def test_a_failed_write_keeps_the_old_file_and_no_rest(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        write_atomic(tmp_path / "folder", b"new")
    assert os.listdir(tmp_path) == ["folder"]


def test_a_held_lock_is_busy_and_free_after_its_holder_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "repo.lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(Busy, match="the repository is held"), lock(path, 0.05, what="the repository"):
            pass
        holder.kill()
    with lock(path, 5):
        pass


def test_shared_holders_let_each_other_in(tmp_path: Path) -> None:
    one, other = lock(tmp_path / "l", 0, shared=True), lock(tmp_path / "l", 0, shared=True)
    with one, other, pytest.raises(Busy), lock(tmp_path / "l", 0):
        pass


def test_reading_stops_at_the_limit(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100)
    assert read_bounded(tmp_path / "a", 100) == b"x" * 100
    with pytest.raises(BadInput, match="larger than 99"):
        read_bounded(tmp_path / "a", 99)
    with pytest.raises(FileNotFoundError):
        read_bounded(tmp_path / "b", 99)


def test_reading_takes_plain_files_alone(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "a").write_text("x")
    (tmp_path / "link").symlink_to("a")
    for name in ("pipe", "link", "."):
        with pytest.raises(BadInput):
            read_bounded(tmp_path / name, 10)
    assert read_bounded(tmp_path / "link", 10, follow=True) == b"x"


def test_removing_follows_no_link_and_opens_closed_folders(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "keep").write_text("x")
    tree = tmp_path / "tree"
    (tree / "closed" / "inner").mkdir(parents=True)
    (tree / "closed" / "inner" / "f").write_text("x")
    (tree / "link").symlink_to(tmp_path / "outside")
    os.mkfifo(tree / "pipe")
    (tree / "closed" / "inner").chmod(0o500)
    (tree / "closed").chmod(0)
    assert remove_tree(tree) == []
    assert not tree.exists()
    assert (tmp_path / "outside" / "keep").exists()
    assert remove_tree(tree) == []
    assert remove_tree(tmp_path / "none" / "deeper") == []


def test_removing_a_link_leaves_its_target(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert remove_tree(tmp_path / "link") == []
    assert (tmp_path / "real").is_dir()


@pytest.mark.slow
def test_removing_takes_folders_deeper_than_any_path_or_stack(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    here = os.open(tree, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d" * 20, dir_fd=here)
        child = os.open("d" * 20, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = child
    os.close(here)
    assert remove_tree(tree) == []
    assert until(lambda: not tree.exists())


def test_a_lock_is_free_at_the_end_of_its_block_whoever_still_has_its_descriptor(tmp_path: Path) -> None:
    """A process that another thread starts has all descriptors until it has become a program."""
    with lock(tmp_path / "lock") as handle:
        copy = os.dup(handle)
    with lock(tmp_path / "lock", timeout=0):
        pass
    os.close(copy)


def test_the_folder_for_temporary_files_needs_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert temporary_folder() == str(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "missing"))
    monkeypatch.setenv("TEMP", str(tmp_path))
    assert temporary_folder() == str(tmp_path)
    assert list(tmp_path.iterdir()) == []
