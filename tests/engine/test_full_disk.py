"""A disk that fills up while sessions and a run are at work: real ones, on a small file system of their own."""

import errno
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from agentpkg.core.errors import FellShort, Lacking
from agentpkg.engine.supervising import fulldisk
from agentpkg.git.repo import GitFailed
from tests.support.repos import git

_ROOT = Path(__file__).parents[2]
_UNSHARE = ["unshare", "--user", "--map-root-user", "--mount"]
_MOUNT = 'mount -t tmpfs -o size=64m small "$1" && shift && exec "$@"'


def may_mount() -> bool:
    """A mount namespace of one's own is to be had here."""
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*_UNSHARE, "true"], capture_output=True, check=False).returncode == 0


#: ends with the states, how many sessions there were, and what the run warned of
_STORY = """
import sys, threading
from pathlib import Path
from agentpkg.engine.running.run import Run
from agentpkg.engine.running.values import Options, Stop
from agentpkg.sessions.pulse import read_pulse
from tests.support.engine_shop import ShopFactory
from tests.support.wait import until

root = Path(sys.argv[1])
factory = ShopFactory(root)
try:
    shop = factory({"WP01": [], "WP02": ["WP01"]})
    shop.agent("WP01", 'save src/wp01.txt "by WP01"; touch "$here/here"; wait_for go')
    project, warnings, stop = shop.project, [], Stop()
    run = Run(project, project.good_feature(shop.feature), Options(1), lambda e: None, stop, warnings.append)
    driven = threading.Thread(target=run.to_the_end, daemon=True)
    driven.start()
    until((shop.tools / "here").exists, seconds=60)
    (shop.tools / "almost").touch()
    with (root / "filler").open("wb", buffering=0) as filler:
        try:
            while filler.write(bytes(4096)):
                pass
        except OSError:
            pass
    (shop.tools / "almost").rename(shop.tools / "go")
    folder = shop.state / "sessions" / shop.row("WP01").session

    def ending(after):
        pulse = read_pulse(folder)
        return pulse.at if pulse is not None and pulse.phase == "ending" and pulse.at > after else None

    # a second sign while it ends: it has met the full disk, and waits
    first = until(lambda: ending(0.0), seconds=60)
    until(lambda: ending(first), seconds=60)
    (root / "filler").unlink()
    driven.join(90)
    print(*(f"{wp}={state.value}" for wp, state in shop.states().items()), len(shop.project.ledger.sessions()))
    shop.check()
finally:
    factory.close()
"""


@pytest.mark.slow
@pytest.mark.skipif(not may_mount(), reason="no mount namespace is to be had here")
def test_a_session_that_ends_on_a_full_disk_waits_for_room_and_loses_nothing(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    command = [*_UNSHARE, "sh", "-c", _MOUNT, "sh", str(small), sys.executable, "-c", _STORY, str(small)]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.stdout.split() == ["WP01=done", "WP02=done", "2"], done.stderr


def real_enospc() -> OSError:
    with pytest.raises(OSError) as raised, open("/dev/full", "wb", buffering=0) as full:
        full.write(b"x")
    return raised.value


def test_a_full_disk_is_told_from_other_errors(tmp_path: Path) -> None:
    said = b"fatal: unable to write loose object file: No space left on device\n"
    for full in (real_enospc(), GitFailed(["add"], 128, said), Lacking("x", code="disk_full")):
        assert fulldisk.is_full(full, tmp_path)
    for other in (OSError(errno.EIO, "no"), GitFailed(["add"], 128, b"fatal: no"), FellShort("x"), ValueError("x")):
        assert not fulldisk.is_full(other, tmp_path)


def test_a_ledger_that_is_away_is_waited_for_where_the_repository_still_is(tmp_path: Path) -> None:
    away = Lacking("x", code="ledger_lost")
    assert not fulldisk.passes(away, tmp_path)
    (tmp_path / "launch.json").touch()
    assert fulldisk.passes(away, tmp_path)


def test_what_a_full_disk_stops_is_tried_until_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fulldisk, "PAUSE", 0.0)
    tries: list[int] = []

    def step() -> str:
        tries.append(1)
        if len(tries) < 3:
            raise real_enospc()
        return "done"

    assert fulldisk.wait_out(step, tmp_path) == "done"
    assert len(tries) == 3


def test_a_command_on_a_full_disk_says_so_in_one_line(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    with open("/dev/full", "wb", buffering=0) as full:
        command = [sys.executable, "-m", "agentpkg", "features", "--repo", str(tmp_path)]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=_ROOT, check=False)
    assert "hint: make room" in done.stderr
    assert "agentpkg itself failed" not in done.stderr
