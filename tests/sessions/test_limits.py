"""Limits on what a session takes: each is enforced on real processes and names itself and both numbers."""

import mmap
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agentpkg.harnesses.base import Launch
from agentpkg.proc import Load, Meter, fair_memory, make_pen, penned, per_process
from agentpkg.sessions.limits import Breach, Cpu, Disk, DiskMeter, Limit, Memory, Processes, Usage, Whole
from agentpkg.sessions.pulse import Heart, Pulse, read_members, read_pulse
from agentpkg.sessions.runner import Ended, Hooks
from tests.sessions.conftest import Stage
from tests.sessions.test_runner import living

MB = 1 << 20


def numbers(said: str) -> list[float]:
    """The numbers of a sentence."""
    return [float(word.strip(",;")) for word in said.split() if word.strip(",;").replace(".", "").isdigit()]


def bounded(stage: Stage, script: str, *limits: Limit, **more: Any) -> Ended:
    return stage.shell(script, limits=limits, grace=20, **more)


EAT = f"exec {sys.executable} -c \"import time; x = bytearray(b'x') * {{}}; time.sleep(60)\""


def test_memory_of_the_whole_tree_is_bounded_and_there_is_no_grace(stage: Stage) -> None:
    begun = time.monotonic()
    ended = bounded(stage, f"({EAT.format(60 * MB)}) & ({EAT.format(60 * MB)}) & wait", Memory(100 * MB))
    assert (ended.stop, ended.killed) == ("memory", True)
    used, limit = numbers(ended.said)
    assert used > limit == 100 * MB
    assert time.monotonic() - begun < 15
    assert any(ended.said in text for text in stage.texts("notice"))


@pytest.mark.slow
def test_memory_that_processes_share_counts_once(stage: Stage) -> None:
    program = (
        "import os, time\n"
        f"x = bytearray(b'x') * {60 * MB}\n"
        "for _ in range(4):\n"
        "    if os.fork() == 0: time.sleep(1.5); os._exit(0)\n"
        "for _ in range(4): os.wait()\n"
    )
    seen: list[Load] = []
    hooks = Hooks(looked=lambda usage, stop: seen.append(usage.load))
    ended = stage.python(program, limits=[Memory(150 * MB)], hooks=hooks)
    assert (ended.stop, ended.exit_code) == (None, 0)
    # otherwise it has shown nothing
    assert max(load.memory for load in seen) > 150 * MB


def test_what_a_process_takes_alone_counts_in_full() -> None:
    assert fair_memory([os.getpid()]) > 5 * MB
    assert fair_memory([1 << 30]) == 0


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="Linux has files of memory")
def test_memory_in_a_file_counts_whether_it_is_mapped_or_not() -> None:
    before, me = fair_memory([os.getpid()]), Meter(lambda: [os.getpid()])
    low = me.read().memory
    with os.fdopen(os.memfd_create("kept"), "w+b", buffering=0) as file:
        for _ in range(60):
            file.write(bytes(MB))
        assert me.read().memory > low + 50 * MB
        assert 50 * MB < fair_memory([os.getpid()]) - before < 70 * MB
        with mmap.mmap(file.fileno(), 0) as mapped:
            assert mapped.find(b"x") == -1
            assert 50 * MB < fair_memory([os.getpid()]) - before < 70 * MB
    assert fair_memory([os.getpid()]) - before < 10 * MB


def test_the_number_of_processes_is_bounded(stage: Stage) -> None:
    ended = bounded(stage, "for i in $(seq 30); do sleep 60 & echo $! >> pids; done; wait", Processes(20))
    assert (ended.stop, numbers(ended.said)[1]) == ("processes", 20)
    assert numbers(ended.said)[0] > 20
    assert living(stage.pids()) == []


def test_a_pen_bounds_what_is_born_in_it_and_is_gone_with_it(stage: Stage) -> None:
    name = stage.mark.rpartition("_")[2]
    pen = make_pen(name, 30)
    if pen is None:
        pytest.skip("this user may make no control groups")
    script = "for i in $(seq 60); do sleep 30 & done 2> errors; echo $$ > pids; cat > /dev/null; exit 0"
    seen: list[list[int]] = []
    hooks = Hooks(looked=lambda usage, stop: seen.append(penned(name)))
    ended = bounded(stage, script, hooks=hooks, timeout=1, starting=pen.around)
    pen.close()
    assert ended.survivors == ()
    assert 1 < max(map(len, seen)) <= 30
    assert set(stage.pids()) <= set(seen[-1])
    assert os.getpid() not in seen[-1]
    assert penned(name) == []
    assert not pen.folder.exists()


def test_a_pen_that_was_forgotten_is_removed_by_the_next_one() -> None:
    forgotten, fresh = make_pen("test-forgotten", 5), make_pen("test-fresh", 5)
    if forgotten is None or fresh is None:
        pytest.skip("this user may make no control groups")
    os.utime(forgotten.folder, (1, 1))
    following = make_pen("test-following", 5)
    assert following is not None
    assert [pen.folder.exists() for pen in (forgotten, fresh, following)] == [False, True, True]
    with forgotten.around():
        assert str(os.getpid()) in (forgotten.folder / "cgroup.procs").read_text().split()
    for pen in (forgotten, fresh, following):
        pen.close()
    assert not any(pen.folder.exists() for pen in (forgotten, fresh, following))


def test_processes_within_the_bound_are_nobodys_business(stage: Stage) -> None:
    ended = bounded(stage, "for i in $(seq 10); do sleep 0.8 & done; wait", Processes(20))
    assert (ended.stop, ended.exit_code, ended.said) == (None, 0, "")


@pytest.mark.slow
@pytest.mark.parametrize(
    "script",
    [
        "while :; do :; done",
        # many that end at once, waited for
        "while :; do (i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done); done",
        # nobody waits for them: their parent ignores the signal
        f"{sys.executable} -c 'import os, signal, time\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "while True:\n  if os.fork() == 0:\n    while time.process_time() < 1.2: pass\n"
        "    os._exit(0)\n  try: os.wait()\n  except ChildProcessError: pass'",
    ],
    ids=["one", "waited for", "vanished"],
)
def test_processor_time_is_bounded_whoever_used_it(stage: Stage, script: str) -> None:
    ended = stage.shell(script, limits=[Cpu(2)], grace=0.2, timeout=90)
    assert (ended.stop, numbers(ended.said)[1]) == ("cpu", 2)


def test_processor_time_that_nobody_used_is_not_counted(stage: Stage) -> None:
    assert stage.shell("sleep 1.5", limits=[Cpu(1)]).stop is None


def disk(stage: Stage, most: int) -> Disk:
    return Disk(most, DiskMeter((stage.work,)))


def test_disk_is_bounded_while_it_runs(stage: Stage) -> None:
    ended = bounded(stage, "head -c 30000000 /dev/zero > big; sleep 60", disk(stage, 10 * MB))
    assert (ended.stop, ended.killed, numbers(ended.said)[1]) == ("disk", True, 10 * MB)
    assert numbers(ended.said)[0] > 10 * MB


def test_disk_is_looked_at_when_all_is_over_too(stage: Stage) -> None:
    ended = bounded(stage, "mkdir a; for i in 1 2 3; do head -c 5000000 /dev/zero > a/$i; done", disk(stage, 10 * MB))
    assert ended.stop == "disk"


def test_disk_counts_blocks_once_and_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "work" / "deep" / "er").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "big").write_bytes(b"x" * 8 * MB)
    (tmp_path / "work" / "one").write_bytes(b"x" * 2 * MB)
    os.link(tmp_path / "work" / "one", tmp_path / "work" / "deep" / "same")
    (tmp_path / "work" / "link").symlink_to(tmp_path / "other")
    (tmp_path / "work" / "deep" / "er" / "link").symlink_to(tmp_path / "other" / "big")
    with (tmp_path / "work" / "holes").open("wb") as file:
        file.truncate(100 * MB)
    os.mkfifo(tmp_path / "work" / "pipe")
    meter = DiskMeter((tmp_path / "work", tmp_path / "missing"))
    meter.finish()
    assert 2 * MB <= meter.used < 3 * MB


def test_disk_is_measured_in_slices_and_a_large_tree_is_measured_less_often(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / str(number)).mkdir()
        for name in range(100):
            (tmp_path / str(number) / str(name)).touch()
    reads: list[int] = []

    def clock() -> float:
        # every look at the clock is a second later
        reads.append(1)
        return float(len(reads))

    meter = DiskMeter((tmp_path,), clock)
    seen = []
    for _ in range(100):
        meter.step(3.0)
        seen.append(meter.used)
    # it grew by slices, and the next walk has not begun
    assert len(set(seen)) > 5
    assert len(set(seen[-30:])) == 1


def test_folders_too_deep_to_be_measured_are_a_breach(tmp_path: Path) -> None:
    handle = os.open(tmp_path, os.O_RDONLY)
    for _ in range(30):
        os.mkdir("x" * 200, dir_fd=handle)
        below = os.open("x" * 200, os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = below
    os.close(handle)
    limit = Disk(MB, DiskMeter((tmp_path,)))
    breach = limit.exceeded(Usage(0, 0, 0, 0, 0, ended=True))
    assert breach is not None
    assert breach.reason == "disk"


# --------------------------------------------------------------------------- all sessions together


@dataclass(frozen=True)
class Other:
    """Another session: what it takes, how old the news of that are, and whether it is stopping."""

    memory: int
    age: float = 0.0
    stopping: str | None = None

    def pulse(self) -> Pulse:
        return Pulse("running", time.monotonic() - self.age, memory=self.memory, stopping=self.stopping)


@pytest.mark.parametrize(
    ("mine", "others", "stops"),
    [
        (60, [Other(50)], True),
        (50, [Other(60)], False),
        (40, [Other(50)], False),
        # what says nothing any more counts, but cannot be waited for
        (50, [Other(60, age=30)], True),
        # one that is stopping is waited for
        (60, [Other(50, stopping="run_memory")], False),
        (101, [], True),
    ],
)
def test_of_all_sessions_the_one_that_takes_the_most_stops(mine: int, others: Sequence[Other], stops: bool) -> None:
    said = {f"sess_{n}": one.pulse() for n, one in enumerate(others)}
    limit = Whole({"memory": 100}, "sess_me", lambda: said, DiskMeter(()))
    breach = limit.exceeded(Usage(0, 1, 0, 0, 0, Load(memory=mine)))
    assert (breach is not None) is stops
    if breach is not None:
        assert (breach.reason, numbers(breach.said)[1]) == ("run_memory", 100)


# --------------------------------------------------------------------------- the kernel's, and signs of life


def test_bounds_of_each_process_are_set_in_front_of_the_command(stage: Stage) -> None:
    wrapped = per_process({"memory": 4 << 30, "disk": MB, "processes": 7}).wrap(("/bin/sh", "-c", "ulimit -d -f"))
    assert wrapped[-3:] == ("/bin/sh", "-c", "ulimit -d -f")
    assert "--nproc=1014" not in wrapped
    assert "--nproc=1014" in per_process({"processes": 7}, alone=True).wrap(("true",))
    assert per_process({}).wrap(("true",)) == ("true",)
    script = "ulimit -d > data; ulimit -f > file; head -c 3000000 /dev/zero > big"
    stage.run(Launch(per_process({"memory": 4 << 30, "disk": MB}).wrap(("/bin/sh", "-c", script))))
    assert int((stage.work / "data").read_text()) == 8 << 20
    assert (stage.work / "big").stat().st_size == MB


def test_signs_of_life_are_read_as_they_were_written(tmp_path: Path) -> None:
    assert (read_pulse(tmp_path), read_members(tmp_path)) == (None, {})
    heart = Heart(tmp_path)
    heart.looked(Usage(0, time.monotonic(), 0, 0, 0, Load({11: "5", 12: "6"}, 1000, 2.5)), None, 77)
    assert read_members(tmp_path) == {11: "5", 12: "6"}
    seen = read_pulse(tmp_path)
    assert seen is not None
    assert (seen.phase, seen.memory, seen.processes, seen.cpu, seen.disk) == ("running", 1000, 2, 2, 77)
    heart.beat("ending")
    seen = read_pulse(tmp_path)
    assert seen is not None
    assert (seen.phase, seen.memory) == ("ending", 0)
    (tmp_path / "pulse.json").write_text('{"phase": "runn')
    assert read_pulse(tmp_path) is None


def test_a_breach_is_told_in_one_line() -> None:
    assert str(Breach("cpu", "too much")) == "cpu: too much"
    assert str(Breach("cancelled", "")) == "cancelled"
