import signal
import time
from collections.abc import Sequence
from typing import Any

import pytest

from agentpkg.core.errors import Lacking
from agentpkg.core.records import SessionEvent
from agentpkg.harnesses.base import Launch, Reply, Stream, StreamEnd
from agentpkg.proc import look
from agentpkg.secrets.redact import Redactor
from agentpkg.sessions.limits import Silence
from agentpkg.sessions.log import NAME, records
from agentpkg.sessions.runner import Hooks
from tests.sessions.conftest import Stage


def living(pids: Sequence[int]) -> list[int]:
    found = (look(pid) for pid in pids)
    return [process.pid for process in found if process is not None and not process.zombie]


class Talker:
    """A reader that answers each question."""

    def feed(self, stream: Stream, line: str) -> Sequence[SessionEvent | Reply]:
        if line == "bye":
            return (SessionEvent("text", "it said bye"),)
        return (SessionEvent("text", line), Reply(f"answer to {line}\n".encode(), close=line == "last"))

    def end(self, exit_code: int) -> StreamEnd:
        secret = "correct-horse"
        return StreamEnd(error=False, text=f"key: {secret}", usage={"k": secret}, denials=(secret,))


class Done(Talker):
    """A reader whose agent has done its work when it says so, and takes it up again when it says more."""

    finished, linger = False, 60.0

    def feed(self, stream: Stream, line: str) -> Sequence[SessionEvent | Reply]:
        self.finished = line == "done"
        return ()


def test_an_agent_that_has_done_its_work_is_not_late_because_it_stays(stage: Stage) -> None:
    ended = stage.shell("echo done; sleep 60", reader=Done(), timeout=1.0)
    assert (ended.stop, ended.killed, ended.end.error) == (None, True, False)
    ended = stage.shell("echo done; echo more; sleep 60", reader=Done(), timeout=1.0)
    assert ended.stop == "timeout"


def test_what_it_says_is_logged_in_order_and_its_end_told(stage: Stage) -> None:
    ended = stage.shell("cat; pwd; echo oops >&2; exit 3")
    assert (ended.exit_code, ended.stop, ended.killed, ended.survivors) == (3, None, False, ())
    assert (ended.end.error, ended.end.text) == (True, "oops")
    assert stage.texts() == [str(stage.work), "oops"]
    assert [r.get("stream") for r in records(stage.root / NAME)] == [None, "stderr"]


def test_the_prompt_is_fed_and_may_stay_unread(stage: Stage) -> None:
    assert stage.run(Launch(("cat",), stdin="# Mission\n")).exit_code == 0
    assert stage.run(Launch(("true",), stdin="x" * 500_000)).exit_code == 0
    assert stage.texts() == ["# Mission"]


def test_the_launch_adds_to_the_environment(stage: Stage) -> None:
    stage.run(Launch(("env",), env={"EXTRA": "1"}))
    assert {line.partition("=")[0] for line in stage.texts()} == {"PATH", "AGENTPKG_SESSION", "EXTRA"}


def test_a_reader_can_answer(stage: Stage) -> None:
    script = 'echo first; read a; echo "$a" > got; echo last; read b; echo "$b" >> got; cat; echo bye'
    ended = stage.run(Launch(("/bin/sh", "-c", script), keep_stdin=True), reader=Talker())
    assert ended.exit_code == 0
    assert (stage.work / "got").read_text() == "answer to first\nanswer to last\n"
    assert stage.texts("text") == ["first", "last", "it said bye"]


def test_secrets_are_in_no_part_of_what_is_kept(stage: Stage) -> None:
    redactor = Redactor({"KEY": "correct-horse"})
    program = (
        "import sys, time\n"
        "sys.stdout.write('a correct-'); sys.stdout.flush(); time.sleep(0.1); sys.stdout.write('horse b\\n')\n"
        "sys.stdout.write('c correct\\x1b[1m-horse d\\n'); sys.stderr.write('correct-horse')\n"
    )
    stage.python(program, redactor=redactor)
    ended = stage.run(Launch(("true",)), reader=Talker(), redactor=redactor)
    assert "correct" not in (stage.root / NAME).read_text()
    assert sorted(stage.texts()) == ["***", "a *** b", "c *** d"]
    assert ended.end == StreamEnd(error=False, text="key: ***", usage={"k": "***"}, denials=("***",))


@pytest.mark.slow
def test_lines_of_megabytes_reach_the_reader_whole_and_beyond_the_bound_are_counted(stage: Stage) -> None:
    program = "print('x' * 2_100_000); print('y' * 20_000_000); print('end')"
    ended = stage.python(program)
    assert ended.dropped == 20_000_000 - (8 << 20)
    assert ended.output == 22_100_000 + 6
    texts = stage.texts()
    assert texts[-1] == "end"
    assert "characters left out" in texts[0]
    assert stage.texts("notice") == [f"{ended.dropped} characters of overlong lines left out"]


@pytest.mark.slow
def test_a_flood_is_bounded_on_disk_and_its_end_kept(stage: Stage) -> None:
    ended = stage.shell(
        "echo begin; yes 'forty bytes of this line, again and again' | head -c 30000000; echo; echo the end",
        limit=1 << 20,
    )
    assert (ended.exit_code, ended.output) == (0, 30_000_015)
    assert (stage.root / NAME).stat().st_size <= 1 << 20
    texts = stage.texts()
    assert texts[0].startswith("begin")
    assert texts[-1].endswith("the end")
    assert len(stage.texts("dropped")) == 1


def test_bytes_that_are_no_text_are_shown(stage: Stage) -> None:
    stage.shell("printf 'a\\377b\\0c\\r\\nd'")
    assert stage.texts() == ["a\\xffbc", "d"]


@pytest.mark.slow
def test_a_timeout_asks_first_and_then_kills(stage: Stage) -> None:
    polite = stage.shell("trap 'echo bye; exit 5' INT; echo up; while :; do sleep 0.02; done", timeout=0.3, grace=20)
    assert (polite.exit_code, polite.stop, polite.killed) == (5, "timeout", False)
    term = stage.shell("trap '' INT; trap 'exit 6' TERM; while :; do sleep 0.02; done", timeout=0.3, grace=0.4)
    assert (term.exit_code, term.stop, term.killed) == (6, "timeout", False)
    begun = time.monotonic()
    stubborn = stage.shell("trap '' INT TERM; while :; do sleep 0.02; done", timeout=0.3, grace=0.4)
    assert (stubborn.exit_code, stubborn.stop, stubborn.killed) == (-signal.SIGKILL, "timeout", True)
    assert time.monotonic() - begun < 10
    assert stage.texts()[:2] == ["up", "bye"]


def test_silence_ends_it_and_a_word_does_not(stage: Stage) -> None:
    silent = stage.shell("echo one; sleep 60", limits=[Silence(0.5)], grace=0.1)
    talking = stage.shell("for i in 1 2 3 4 5 6; do echo $i; sleep 0.1; done", limits=[Silence(0.5)])
    assert silent.stop == "silence"
    assert (talking.stop, talking.exit_code) == (None, 0)


def test_a_wish_to_stop_is_its_reason(stage: Stage) -> None:
    stops: list[str | None] = [None, None, "cancelled"]
    ended = stage.shell("sleep 60", hooks=Hooks(should_stop=lambda: stops.pop(0) if stops else "again"), grace=0.1)
    assert ended.stop == "cancelled"


def test_hooks_are_told_of_the_start_each_record_and_the_time(stage: Stage) -> None:
    pids: list[int] = []
    seen: list[Any] = []
    ticks: list[int] = []
    hooks = Hooks(pids.append, lambda record: seen.append(record["text"]), lambda: ticks.append(1), tick_seconds=0.05)
    stage.shell("echo $$ > pids; echo one; sleep 0.5; echo two", hooks=hooks)
    assert pids == stage.pids()
    assert seen == ["one", "two"]
    assert len(ticks) >= 2


def test_an_error_in_a_hook_leaves_nothing_alive(stage: Stage) -> None:
    def stop() -> str | None:
        if stage.pids():
            raise ValueError("broken")
        return None

    with pytest.raises(ValueError, match="broken"):
        stage.shell("echo $$ > pids; sleep 60", hooks=Hooks(should_stop=stop))
    assert living(stage.pids()) == []


def test_what_cannot_be_started_is_an_error(stage: Stage) -> None:
    with pytest.raises(Lacking, match="cannot start /nowhere/agent"):
        stage.run(Launch(("/nowhere/agent",)))


#: agents that try to leave something behind; each writes the pids of what it leaves
HOSTILE = {
    "a child that holds the pipe": "sleep 60 & echo $! > pids",
    "a child in a session of its own": "setsid sh -c 'echo $$ > pids; exec sleep 60' & until [ -s pids ]; do :; done",
    "a double fork": "(setsid sh -c 'echo $$ > pids; sleep 60' &) ; until [ -s pids ]; do :; done",
    "one that ignores all it can": "setsid sh -c 'trap \"\" TERM INT HUP; echo $$ > pids; while :; do sleep 1; done' & "
    "until [ -s pids ]; do :; done",
    "one that closed its streams": "(setsid sh -c 'echo $$ > pids; sleep 60' >&- 2>&- <&- &) ; "
    "until [ -s pids ]; do :; done",
    "a stopped one": "sleep 60 & echo $! > pids; kill -STOP $!",
}


@pytest.mark.parametrize("script", HOSTILE.values(), ids=HOSTILE)
def test_nothing_is_left_after_a_normal_end(stage: Stage, script: str) -> None:
    begun = time.monotonic()
    ended = stage.shell(script)
    assert (ended.exit_code, ended.stop, ended.survivors) == (0, None, ())
    assert stage.pids()
    assert living(stage.pids()) == []
    assert time.monotonic() - begun < 10


def test_one_that_stops_its_parent_or_runs_on_without_streams_is_bounded_by_time(stage: Stage) -> None:
    stopped = stage.shell(
        "(until [ -s pids ]; do sleep 0.01; done; kill -STOP $$; exec sleep 60) & echo $$ $! > pids; wait",
        timeout=0.4,
        grace=0.2,
    )
    closed = stage.shell("exec >&- 2>&-; echo $$ >> pids; exec sleep 60", timeout=0.4, grace=0.2)
    assert (stopped.stop, closed.stop) == ("timeout", "timeout")
    assert len(stage.pids()) == 3
    assert living(stage.pids()) == []
