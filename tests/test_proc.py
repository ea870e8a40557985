import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentpkg.core.errors import Lacking
from agentpkg.proc import (
    Child,
    Kept,
    ProcessIdentity,
    Result,
    alive,
    carries,
    descendants,
    identity,
    kill_all,
    kill_marked,
    look,
    members,
    run,
    spawn_detached,
    table,
)
from tests.support.wait import until

ENV = {"PATH": os.environ["PATH"]}
#: unique on the machine, where other test runs may be under way
MARK_VALUE = os.urandom(8).hex()
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and subreapers")


def sh(script: str, cwd: Path, timeout: float = 20, **more: object) -> Result:
    return run(["/bin/sh", "-c", script], env=ENV, cwd=cwd, timeout=timeout, **more)  # type: ignore[arg-type]


def living(pid: int) -> bool:
    found = look(pid)
    return found is not None and not found.zombie


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(["sleep", "60"], env={**ENV, "THE_MARK": MARK_VALUE}) as process:
        yield process
        process.kill()


def test_a_result_has_both_streams_and_the_code(tmp_path: Path) -> None:
    result = sh("echo out; echo err >&2; pwd; exit 7", tmp_path)
    assert (result.exit_code, result.stdout, result.stderr) == (7, f"out\n{tmp_path}\n".encode(), b"err\n")
    assert not result.timed_out
    assert sh("echo a; echo b >&2", tmp_path, merge=True).stdout == b"a\nb\n"


def test_the_environment_is_the_given_one_and_the_mark(tmp_path: Path) -> None:
    result = run(["/usr/bin/env"], env={"A": "1"}, cwd=tmp_path, timeout=20)
    assert {line.split(b"=")[0] for line in result.stdout.splitlines()} == {b"A", b"AGENTPKG_RUN"}


def test_more_than_a_pipe_holds_goes_in_and_comes_out(tmp_path: Path) -> None:
    data = os.urandom(700_000)
    result = run(["cat"], env=ENV, cwd=tmp_path, timeout=20, stdin=data, limit=1 << 20)
    assert result.stdout == data


def test_an_unread_stdin_is_no_error(tmp_path: Path) -> None:
    assert sh("exit 0", tmp_path, stdin=b"x" * 500_000).exit_code == 0


def test_what_cannot_start_says_which_program(tmp_path: Path) -> None:
    with pytest.raises(Lacking, match="cannot start no-such-program") as caught:
        run(["no-such-program"], env=ENV, cwd=tmp_path, timeout=1)
    assert caught.value.exit_code == 5
    with pytest.raises(Lacking, match="nowhere"):
        run(["true"], env=ENV, cwd=tmp_path / "nowhere", timeout=1)


def test_a_flood_is_bounded_and_its_end_kept(tmp_path: Path) -> None:
    result = sh("yes | head -c 20000000; echo the end", tmp_path, limit=1000)
    assert len(result.stdout) < 1100
    assert result.stdout.endswith(b"y\nthe end\n")
    assert result.dropped == 20_000_008 - 1000


def test_kept_holds_head_and_tail() -> None:
    kept = Kept(10)
    for chunk in (b"01234", b"56789", b"abc"):
        kept.add(chunk)
    assert kept.value() == b"01234\n[\xe2\x80\xa6 3 bytes left out \xe2\x80\xa6]\n89abc"


def test_a_timeout_kills_what_ignores_being_asked(tmp_path: Path) -> None:
    result = sh("trap '' TERM INT; echo $$; while :; do sleep 0.1; done", tmp_path, timeout=0.3, grace=0.2)
    assert result.timed_out
    assert result.exit_code == -signal.SIGKILL
    assert not living(int(result.stdout))


def test_a_polite_end_within_the_grace_keeps_its_output(tmp_path: Path) -> None:
    result = sh("trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.05; done", tmp_path, timeout=0.3, grace=9)
    assert (result.exit_code, result.stdout, result.timed_out) == (3, b"up\nbye\n", True)


def test_a_caller_can_end_it(tmp_path: Path) -> None:
    begun = time.monotonic()
    result = sh("sleep 60", tmp_path, cancelled=lambda: True)
    assert result.cancelled
    assert not result.timed_out
    assert time.monotonic() - begun < 10


def test_daemons_that_hold_the_pipes_neither_hang_it_nor_live_on(tmp_path: Path) -> None:
    script = "(setsid sh -c 'echo $$ > daemon; exec sleep 60' &) ; sleep 60 & echo $! ; until [ -s daemon ]; do :; done"
    begun = time.monotonic()
    result = sh(script, tmp_path)
    assert result.exit_code == 0
    assert time.monotonic() - begun < 10
    assert not living(int(result.stdout))
    assert not living(int((tmp_path / "daemon").read_text()))


def test_one_that_stopped_its_parent_is_ended_with_it(tmp_path: Path) -> None:
    result = sh("echo $$; (kill -STOP $$; exec sleep 60) & wait", tmp_path, timeout=0.5, grace=0.2)
    assert result.timed_out
    assert not living(int(result.stdout.split()[0]))


def test_one_that_closed_its_output_is_waited_for(tmp_path: Path) -> None:
    result = sh("exec >&- 2>&-; sleep 0.3; touch done; exit 4", tmp_path)
    assert result.exit_code == 4
    assert (tmp_path / "done").exists()


def test_a_dialogue_goes_through_a_kept_open_stdin(tmp_path: Path) -> None:
    child = Child(["cat"], env=ENV, cwd=tmp_path, keep_stdin=True)
    child.write(b"one\n")
    assert until(lambda: child.pump(0.1)) == [("stdout", b"one\n")]
    child.write(b"two\n")
    assert until(lambda: child.pump(0.1)) == [("stdout", b"two\n")]
    child.close_stdin()
    assert until(lambda: (child.pump(0.1), child.exit_code)[1] is not None)
    child.close()


def test_an_identity_outlives_its_pid_only_as_dead(sleeper: "subprocess.Popen[bytes]") -> None:
    who = identity(sleeper.pid)
    assert who is not None
    assert alive(who) is True
    sleeper.kill()
    # still a zombie here, which is as dead as anything
    assert until(lambda: alive(who) is False)
    sleeper.wait()
    assert alive(who) is False
    assert identity(sleeper.pid) is None


def test_the_same_pid_with_another_start_is_another_process() -> None:
    who = identity(os.getpid())
    assert who is not None
    assert alive(ProcessIdentity(who.pid, "1", who.boot_id)) is False


def test_a_process_of_another_machine_or_namespace_is_unknown_and_of_another_boot_dead() -> None:
    who = identity(os.getpid())
    assert who is not None
    machine, boot, namespace = who.boot_id.split(".")
    assert alive(ProcessIdentity(who.pid, who.started, f"other.{boot}.{namespace}")) is None
    assert alive(ProcessIdentity(who.pid, who.started, f"{machine}.{boot}.1")) is None
    assert alive(ProcessIdentity(who.pid, who.started, f"{machine}.other.{namespace}")) is False


def test_the_mark_is_matched_whole(sleeper: "subprocess.Popen[bytes]") -> None:
    assert until(lambda: carries(sleeper.pid, f"THE_MARK={MARK_VALUE}"))
    assert not carries(sleeper.pid, f"THE_MARK={MARK_VALUE[:-1]}")
    assert [process.pid for process in members(None, f"THE_MARK={MARK_VALUE}")] == [sleeper.pid]
    assert sleeper.pid in descendants([os.getpid()], table())


def test_killing_by_mark_takes_all_that_carry_it(tmp_path: Path) -> None:
    mark = f"THE_MARK={tmp_path}"
    script = "for i in 1 2 3; do setsid sh -c 'echo $$ >> pids; sleep 60' & done; wait"
    env = {**ENV, "THE_MARK": str(tmp_path)}
    process = subprocess.Popen(["/bin/sh", "-c", script], env=env, cwd=tmp_path)
    until(lambda: len((tmp_path / "pids").read_text().split()) == 3 if (tmp_path / "pids").exists() else False)
    assert kill_marked(mark) == []
    assert not any(living(int(pid)) for pid in (tmp_path / "pids").read_text().split())
    assert process.wait() == -signal.SIGKILL


@LINUX
def test_a_process_whose_first_thread_has_ended_still_lives_and_is_killed(tmp_path: Path) -> None:
    # the kernel shows it as a zombie, without an environment
    script = (
        "import ctypes, platform, threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\n"
        "ctypes.CDLL(None).syscall(60 if platform.machine() == 'x86_64' else 93, 0)"
    )
    process = subprocess.Popen([sys.executable, "-c", script], env={**ENV, "THE_MARK": str(tmp_path)}, cwd=tmp_path)
    stat = Path(f"/proc/{process.pid}/stat")
    until(lambda: ") Z " in stat.read_text(), what="the end of its first thread")
    assert identity(process.pid) is not None
    assert carries(process.pid, f"THE_MARK={tmp_path}")
    assert kill_marked(f"THE_MARK={tmp_path}") == []
    assert process.wait() == -signal.SIGKILL
    assert identity(process.pid) is None


@LINUX
def test_a_fork_storm_is_stopped(tmp_path: Path) -> None:
    # it ends by itself after some thousand processes, so that a failure here costs the machine no more than that
    script = (
        "f() { [ $1 -gt 1500 ] || { (setsid sh -c 'sleep 0.05' &) ; f $(($1 + 1)) & } }; f 0; i=0;"
        "while [ $i -lt 1500 ]; do sh -c 'sleep 0.02' & (sleep 0.01 &); i=$((i + 1)); done; sleep 60"
    )
    result = sh(script, tmp_path, timeout=0.5, grace=0.1)
    assert result.timed_out


def test_survivors_are_told(sleeper: "subprocess.Popen[bytes]") -> None:
    # a finder that insists on a process that no signal of ours can reach any more
    ghost = look(os.getpid())
    assert ghost is not None
    ghost = type(ghost)(ghost.pid, ghost.parent, ghost.group, ghost.session, "0", False)
    assert kill_all(lambda: [ghost], seconds=0.05) == [ghost]


def test_a_detached_process_outlives_its_starter_and_holds_none_of_its_streams(tmp_path: Path) -> None:
    starter = (
        "import os, sys; from pathlib import Path; from agentpkg.proc import spawn_detached\n"
        "spawn_detached(['/bin/sh', '-c', 'cat > got; echo said; echo $$ > pid; sleep 60'], env=dict(os.environ),"
        " cwd=Path.cwd(), stdin=b'secret', log=Path('log'))"
    )
    done = subprocess.run([sys.executable, "-c", starter], cwd=tmp_path, capture_output=True, timeout=20, check=True)
    assert done.stdout == done.stderr == b""
    pid = int(until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip()))
    assert living(pid)
    assert os.getsid(pid) == pid
    assert (tmp_path / "got").read_text() == "secret"
    assert (tmp_path / "log").read_text() == "said\n"
    os.kill(pid, signal.SIGKILL)
    os.killpg(pid, signal.SIGKILL)


def test_a_detached_process_that_dies_at_once_is_no_error_here(tmp_path: Path) -> None:
    pid = spawn_detached(["/bin/sh", "-c", "exit 1"], env=ENV, cwd=tmp_path, stdin=b"x" * 30_000)
    assert until(lambda: identity(pid) is None)


#: five grandchildren lead sessions of their own, lose their parent and end; so does the one child it started itself
_ADOPTS = """
import os
from pathlib import Path
from agentpkg.proc import Child, become_subreaper, reap_adopted, table
from tests.support.wait import until

def ended():
    return {pid for pid, one in table().items() if one.zombie and one.parent == os.getpid()}

become_subreaper()
script = "for i in 1 2 3 4 5; do setsid -f true; done; exit 7"
child = Child(["/bin/sh", "-c", script], env=dict(os.environ), cwd=Path())
until(lambda: len(ended()) == 6)
reap_adopted(ended())
assert ended() == {child.pid}, ended()
assert child.exit_code == 7
"""


@LINUX
def test_adopted_children_are_waited_for_and_its_own_are_left_to_who_started_them() -> None:
    subprocess.run([sys.executable, "-c", _ADOPTS], check=True, timeout=20)


#: forks and ends at once, again and again, in a session and without the mark of what started it
_HOPS = """
import os, sys, time
if os.fork():
    os._exit(0)
os.setsid()
end = time.monotonic() + 20
while time.monotonic() < end:
    if os.fork():
        os._exit(0)
"""

_CHASES = """
import sys
from pathlib import Path
from agentpkg.proc import Child, become_subreaper, chase_adopted, run
from tests.support.wait import until
become_subreaper()
child = Child([sys.executable, "-c", sys.argv[1]], env={}, cwd=Path())
until(lambda: child.exit_code == 0)
assert child.kill(adopted=True) == []
assert not chase_adopted()
assert run([sys.executable, "-c", sys.argv[1]], env={}, cwd=Path(), timeout=20, chase=True).exit_code == 0
assert not chase_adopted()
"""


@LINUX
def test_what_forks_faster_than_the_table_is_read_is_ended_too() -> None:
    subprocess.run([sys.executable, "-c", _CHASES, _HOPS], check=True, timeout=20)


@LINUX
def test_a_process_without_a_session_of_its_namespace_is_found(tmp_path: Path) -> None:
    """In a pid namespace whose starter stayed outside, as containers have it, the session's number is 0."""
    inside = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", sys.executable, "-c"]
    script = (
        "import os, subprocess; from agentpkg.proc import carries, members, look\n"
        "child = subprocess.Popen(['sleep', '60'], env={**os.environ, 'THE_MARK': 'x'})\n"
        "assert look(child.pid).session == 0\n"
        "while not carries(child.pid, 'THE_MARK=x'): pass\n"
        "print([p.pid for p in members(None, 'THE_MARK=x')] == [child.pid])"
    )
    if shutil.which("unshare") is None or subprocess.run([*inside, ""], capture_output=True).returncode:
        pytest.skip("no user namespaces here")
    done = subprocess.run([*inside, script], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "True\n"
