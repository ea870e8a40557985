"""Commands of agentpkg on a disk that is full: what they say, what they leave, and that they go on with room.

    unshare --mount python -m tests.scenarios.full_disk FOLDER births|implement|review|run|builds ROOM...

Puts a small tmpfs on FOLDER, which nobody outside of the mount namespace sees, and on it a repository, the temporary
folder and a file that leaves ROOM KiB. Fails with an AssertionError when something does not hold.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from agentpkg.core.errors import AgentpkgError
from agentpkg.core.model import FailureClass, State
from agentpkg.ledger.ledger import Ledger
from tests.ledger.support import register
from tests.support.engine_shop import FEATURE, Shop, ShopFactory
from tests.support.repos import git
from tests.support.wait import until

_SIZE = "48m"
#: seconds after which a command counts as one that waits for room
_PATIENCE = 20
_VERBS = {
    "implement": ("implement", FEATURE, "--wp", "WP01"), "review": ("review", FEATURE, "WP01", "--merge"),
    "run": ("run", FEATURE),
}  # fmt: skip


class Disk:
    """A small disk of one's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "none", str(folder)], check=True)

    def leave(self, room: int) -> None:
        """Fills the disk up to so many KiB."""
        with self._ballast.open("wb") as ballast:
            facts = os.statvfs(self.folder)
            os.posix_fallocate(ballast.fileno(), 0, facts.f_bavail * facts.f_frsize - room * 1024)

    def make_room(self) -> None:
        self._ballast.unlink()


def births(disk: Disk, room: int) -> str:
    """A ledger that is made on a full disk is whole, or is not there; with room it is made."""
    folder = disk.folder / "state"
    folder.mkdir()
    disk.leave(room)
    try:
        Ledger.open(folder / "ledger.db").close()
        said = "made"
    except AgentpkgError as error:
        said = error.code
    assert said in ("made", "disk_full", "disk_error")
    disk.make_room()
    with Ledger.open(folder / "ledger.db") as ledger:
        assert ledger.check() is None
        with ledger.write() as tx:
            register(tx, FEATURE, "WP01")
    shutil.rmtree(folder)
    return said


#: something that needs more room than there is, and takes away what it could not finish
_BUILD = "dd if=/dev/zero of=big bs=1M count=24 2>&1 || { code=$?; rm -f big; exit $code; }; rm -f big"


def builds(disk: Disk, shops: ShopFactory, room: int) -> str:
    """An agent, and then a check, that find too little room: no retry and no cycle is used up, both wait for room."""
    shop = shops(checks=f"{{name: build, run: {json.dumps(_BUILD)}}}")
    shop.agent("WP01", f'({_BUILD}) >&2 || exit 1; save src/wp01.txt "by WP01"; touch "$here/here"; wait_for go')
    disk.leave(room)
    child = start(shop, *_VERBS["run"], "--json")
    project = shop.project
    until(lambda: project.state.joinpath("ledger.db").exists() and _failures(shop), seconds=60)
    until(lambda: shop.row("WP01").state is State.BLOCKED, what="the end of the session without room")
    _waits(shop, child)
    assert [s.reason_class for s in shop.project.ledger.sessions()] == [FailureClass.ENVIRONMENT]
    assert shop.row("WP01").failures == 0
    disk.make_room()
    until((shop.tools / "here").exists, seconds=60)
    disk.leave(room)
    shop.go("go")
    until(lambda: shop.row("WP01").state is State.FOR_REVIEW, seconds=60)
    _waits(shop, child)
    assert shop.row("WP01").cycle == 1
    assert not shop.project.ledger.reviews(FEATURE, "WP01")
    disk.make_room()
    out, err = child.communicate(timeout=120)
    assert (child.returncode, shop.states()) == (0, {"WP01": State.DONE}), out + err
    assert "the run goes on when there is room" in err
    shop.check()
    return f"{len(shop.project.ledger.sessions())} sessions"


def _failures(shop: Shop) -> bool:
    ledger = shop.project.ledger_if_any
    return ledger is not None and any(s.ended_at for s in ledger.sessions())


def _waits(shop: Shop, child: "subprocess.Popen[str]") -> None:
    """The run goes on looking, and does not end."""
    cpu = [_cpu(child.pid)]
    until(lambda: child.poll() is not None or _cpu(child.pid) > cpu[0] + 5, seconds=60)
    assert child.poll() is None, child.communicate()


def _cpu(pid: int) -> int:
    """The processor time of a process, in the kernel's ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def start(shop: Shop, *words: str) -> "subprocess.Popen[str]":
    argv = [sys.executable, "-m", "agentpkg", *words, "--repo", str(shop.repo)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def command(shop: Shop, *words: str) -> "subprocess.CompletedProcess[str]":
    child = start(shop, *words)
    out, err = child.communicate(timeout=120)
    return subprocess.CompletedProcess(child.args, child.returncode, out, err)


def verb(disk: Disk, shop: Shop, name: str, room: int) -> str:
    """One command without room, and then with it."""
    if name == "review":
        assert command(shop, *_VERBS["implement"]).returncode == 0
    disk.leave(room)
    child = start(shop, *_VERBS[name])
    try:
        out, err = child.communicate(timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        # it waits for room
        _is_whole(shop)
        disk.make_room()
        out, err = child.communicate(timeout=120)
        assert child.returncode == 0, out + err
    else:
        _is_clear(child.returncode, out, err)
        # what the command has started is ended while there is no room
        shop.close()
        landed = _is_whole(shop)
        disk.make_room()
        if child.returncode and not (name == "review" and landed):
            again = command(shop, *_VERBS[name])
            assert again.returncode == 0, again.stderr
    state = State.FOR_REVIEW if name == "implement" else State.DONE
    assert shop.states() == {"WP01": state}
    assert command(shop, "events", "audit-verify").returncode == 0
    shop.check()
    git(shop.repo, "fsck", "--connectivity-only")
    assert git(shop.repo, "status", "--porcelain") == ""
    assert shop.show("src/wp01.txt", shop.row("WP01").head or "").startswith("by WP01")
    return f"exit {child.returncode}: {(err.strip().splitlines() or ['nothing said'])[-1]}"


def _is_clear(code: int, out: str, err: str) -> None:
    """An exit code of the contract, and if it is an error one line and one hint about the room."""
    said = out + err
    assert 0 <= code <= 5, said
    assert "Traceback" not in said
    assert "itself failed" not in said
    if code in (2, 3, 4, 5):
        starts = [line.partition(": ")[0] for line in said.splitlines()]
        assert (starts.count("error"), starts.count("hint")) == (1, 1), said
        assert "room" in err.rpartition("hint: ")[2], said


def _is_whole(shop: Shop) -> bool:
    """Nothing is half done in the user's checkout; gives whether the package has landed."""
    landed = git(shop.repo, "log", "--format=%(trailers:key=Work-Package,valueonly)", "main").split() == ["WP01"]
    tree = git(shop.repo, "ls-tree", "-r", "--name-only", "main", "src/").splitlines()
    assert tree == ["src/base.txt", *(["src/wp01.txt"] if landed else [])]
    return landed


def main(folder: Path, what: str, rooms: list[int]) -> None:
    disk = Disk(folder)
    (folder / "tmp").mkdir()
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder / "tmp")
    shops = ShopFactory(folder)
    try:
        for room in rooms:
            said = (
                births(disk, room) if what == "births"
                else builds(disk, shops, room) if what == "builds"
                else verb(disk, shops(), what, room)
            )  # fmt: skip
            print(f"{what} with {room} KiB: {said}", flush=True)
    finally:
        shops.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], [int(room) for room in sys.argv[3:]])
