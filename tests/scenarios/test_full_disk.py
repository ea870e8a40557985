"""The scenario of the full disk, where a disk of one's own can be had."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

#: into a mount namespace of one's own; as another user than root this takes a user namespace as well
_ALONE = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]


def full_disk(folder: Path, what: str, *rooms: int) -> list[str]:
    """What each command said last with so many KiB of room."""
    mount = ["sh", "-c", f"mount -t tmpfs -o size=1m none {folder}"]
    if shutil.which("unshare") is None or subprocess.run([*_ALONE, *mount], capture_output=True).returncode:
        pytest.skip("no mount namespace to be had")
    argv = [*_ALONE, sys.executable, "-m", "tests.scenarios.full_disk", str(folder), what, *map(str, rooms)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=600, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_a_ledger_made_on_a_full_disk_is_whole_or_not_there(tmp_path: Path) -> None:
    said = full_disk(tmp_path, "births", *range(0, 320, 20))
    assert "disk_full" in said[0]
    assert "made" in said[-1]


@pytest.mark.slow
def test_agents_and_checks_that_find_no_room_are_waited_for(tmp_path: Path) -> None:
    assert full_disk(tmp_path, "builds", 12 << 10) == [f"builds with {12 << 10} KiB: 2 sessions"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("verb", "rooms"),
    [
        ("run", (100, 1000)),
        # room for the session, but not for its review, which is waited for
        pytest.param("run", (700,), marks=pytest.mark.exhaustive),
        pytest.param("implement", (160, 400), marks=pytest.mark.exhaustive),
        pytest.param("review", (32, 128), marks=pytest.mark.exhaustive),
    ],
)
def test_a_command_without_room_says_so_and_goes_on_with_room(
    tmp_path: Path, verb: str, rooms: tuple[int, ...]
) -> None:
    full_disk(tmp_path, verb, *rooms)
