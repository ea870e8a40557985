"""What is left of a review whose process is told to stop, or is killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agentpkg.checks import copy
from agentpkg.core.errors import Interrupted
from tests.checks.scene import context_for
from tests.support.repos import ScratchFactory, commit, git
from tests.support.wait import until

PROGRAM = """
import sys
from pathlib import Path
from agentpkg.checks.pipeline import run_all
from tests.checks.scene import checks, context_for, store
repo, base, head, pids = Path(sys.argv[1]), *sys.argv[2:]
hang = f"echo $$ >> {pids}; (setsid sh -c 'echo $$ >> {pids}; exec sleep 300' &); sleep 300"
run_all(context_for(repo, base, head, checks=checks(hang, hang)), store(Path(sys.argv[1]).parent))
"""


@pytest.fixture
def running(scratch: ScratchFactory, tmp_path: Path) -> tuple["subprocess.Popen[bytes]", list[int]]:
    """A review in a process of its own, and the four processes of its two checks."""
    repo, pids = scratch(), tmp_path / "pids"
    base = git(repo, "rev-parse", "main")
    head = commit(repo, {"a": "1"}, "feat(WP01): a")
    here = Path(__file__).parent.parent.parent
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(repo), base, head, str(pids)], cwd=here, stderr=subprocess.PIPE
    )
    until(lambda: pids.exists() and len(pids.read_text().split()) == 4)
    return process, [int(pid) for pid in pids.read_text().split()]


def copies() -> list[Path]:
    return list(Path(os.environ["TMPDIR"]).glob(f"{copy.PREFIX}*"))


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_an_interrupted_review_takes_its_checks_and_copies_along(
    running: tuple["subprocess.Popen[bytes]", list[int]],
) -> None:
    process, pids = running
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert b"KeyboardInterrupt" in said
    assert not [pid for pid in pids if runs(pid)]
    assert not copies()


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_the_next_review_removes_what_a_killed_one_left(
    running: tuple["subprocess.Popen[bytes]", list[int]],
) -> None:
    process, pids = running
    process.kill()
    process.communicate(timeout=30)
    assert len(copies()) == 2
    copy.sweep(Path(os.environ["TMPDIR"]))
    assert not [pid for pid in pids if runs(pid)]
    assert not copies()


def test_a_copy_that_nobody_wants_any_more_is_given_up_while_it_is_made(scratch: ScratchFactory) -> None:
    repo = scratch({f"src/{n}": "x" for n in range(20)})
    tip = commit(repo, {"only": str(repo)}, "feat: only here")
    context = context_for(repo, tip, tip)
    folder, begun = copy.place(context.outside), list[Path]()

    def cancelled() -> bool:
        heads = folder.glob(f"{copy.PREFIX}*/copy/.git/HEAD")
        begun.extend(path for path in heads if path.read_text().strip() == context.candidate)
        return True

    with pytest.raises(Interrupted), copy.throw_away(context, cancelled=cancelled):
        pytest.fail("the copy was made to its end")
    assert begun
    assert not [path for path in begun if path.exists()]
