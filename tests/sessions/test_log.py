import json
import os
import resource
import signal
import threading
from pathlib import Path
from typing import Any

from agentpkg.core.records import SessionEvent
from agentpkg.secrets.redact import Redactor
from agentpkg.sessions.log import NAME, SessionLog, follow, last_activity, records, shortened, tail

NO_SECRETS = Redactor({})


def text(*texts: str) -> list[SessionEvent]:
    return [SessionEvent("text", one) for one in texts]


def opened(folder: Path, redactor: Redactor = NO_SECRETS, **more: Any) -> SessionLog:
    return SessionLog(folder / NAME, redactor, clock=lambda: "2026-03-02T12:00:00.000000Z", **more)


def test_a_record_is_a_line_with_its_number_time_kind_text_and_data(tmp_path: Path) -> None:
    log = opened(tmp_path)
    log.append(SessionEvent("tool", "src/ä.py", {"tool": "write", "seq": 99}))
    log.close()
    assert (tmp_path / NAME).read_bytes().decode() == (
        '{"seq":1,"time":"2026-03-02T12:00:00.000000Z","kind":"tool","text":"src/ä.py","tool":"write"}\n'
    )
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600


def test_secrets_and_controls_are_in_no_part_of_a_record(tmp_path: Path) -> None:
    log = opened(tmp_path, Redactor({"KEY": "correct-horse"}))
    log.append(SessionEvent("tool", "\x1b[31mcorrect-\x1b[0mhorse", {"input": {"k": ["correct-horse"]}}))
    log.close()
    assert "correct" not in (tmp_path / NAME).read_text()
    assert "\\u001b" not in (tmp_path / NAME).read_text()


def test_writing_goes_on_after_a_writer_that_was_killed_in_a_line(tmp_path: Path) -> None:
    log = opened(tmp_path)
    log.append(*text("one", "two"))
    log.close()
    with (tmp_path / NAME).open("ab") as file:
        file.write(b'{"seq":3,"time":"x","ki')
    log = opened(tmp_path)
    log.append(*text("three"))
    log.close()
    assert [(r["seq"], r["text"]) for r in records(tmp_path / NAME)] == [(1, "one"), (2, "two"), (3, "three")]


def test_the_tail_is_the_last_records_in_order(tmp_path: Path) -> None:
    log = opened(tmp_path)
    log.append(*text(*(f"{number} {'x' * 300}" for number in range(1000))))
    log.close()
    assert [r["seq"] for r in tail(tmp_path / NAME, 3)] == [998, 999, 1000]
    assert len(tail(tmp_path / NAME, 500)) == 500
    assert len(tail(tmp_path / NAME, 5000)) == 1000
    assert tail(tmp_path / NAME, 0) == tail(tmp_path / "none", 3) == []


def test_the_tail_reads_what_it_needs_of_a_large_file(tmp_path: Path) -> None:
    line = json.dumps({"seq": 1, "time": "t", "kind": "text", "text": "x"}).encode() + b"\n"
    with (tmp_path / NAME).open("wb") as file:
        # a hole of a gigabyte, which a reader from the start would have to walk
        file.seek(1 << 30)
        file.write(b"\n" + line * 50)
    assert len(tail(tmp_path / NAME, 20)) == 20


def test_a_log_that_outgrows_its_bound_keeps_both_ends_and_counts_the_middle(tmp_path: Path) -> None:
    log = opened(tmp_path, limit=20_000)
    for number in range(3000):
        log.append(*text(f"line {number}"))
    log.close()
    found = list(records(tmp_path / NAME))
    dropped = [r for r in found if r["kind"] == "dropped"]
    assert (tmp_path / NAME).stat().st_size <= 20_000
    assert found[0]["text"] == "line 0"
    assert found[-1]["text"] == "line 2999"
    assert len(dropped) == 1
    assert len(found) - 1 + dropped[0]["records"] == 3000
    numbers = [r["seq"] for r in found]
    assert numbers == sorted(set(numbers))


def test_a_huge_text_is_cut_in_its_middle(tmp_path: Path) -> None:
    log = opened(tmp_path)
    log.append(*text("a" * 100_000 + "b" * 100_000))
    log.close()
    (record,) = records(tmp_path / NAME)
    assert len(record["text"]) < 70_000
    assert record["text"].startswith("aaa")
    assert record["text"].endswith("bbb")
    assert shortened("abcdefghij", 4) == "ab\n[… 6 characters left out …]\nij"


def test_following_gives_each_record_once_also_over_a_replaced_file(tmp_path: Path) -> None:
    over, seen = threading.Event(), []

    def read() -> None:
        seen.extend(record["seq"] for record in follow(tmp_path / NAME, over.is_set, poll=0.001))

    reader = threading.Thread(target=read)
    reader.start()
    log = opened(tmp_path, limit=50_000)
    for number in range(2000):
        log.append(*text(f"line {number}"))
    log.close()
    over.set()
    reader.join(20)
    assert seen == sorted(set(seen))
    assert seen[-1] == 2000


def test_following_starts_behind_a_number_and_gives_all_when_it_is_over(tmp_path: Path) -> None:
    log = opened(tmp_path)
    log.append(*text("one", "two", "three"))
    log.close()
    assert [r["text"] for r in follow(tmp_path / NAME, lambda: True, after=1)] == ["two", "three"]
    assert list(follow(tmp_path / "none", lambda: True)) == []


def test_a_full_disk_loses_records_but_no_session_and_tears_no_line(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (250, 250))
        log = SessionLog(tmp_path / "small", NO_SECRETS, clock=lambda: "t")
        log.append(*text("x" * 100))
        log.append(*text("y" * 100))
        log.append(*text("z" * 10))
        os._exit(log.lost)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 1
    assert [(r["seq"], r["text"][0]) for r in records(tmp_path / "small")] == [(1, "x"), (3, "z")]


def test_the_last_activity_is_one_line(tmp_path: Path) -> None:
    assert last_activity(tmp_path) == ""
    log = opened(tmp_path)
    log.append(*text("thinking", "first\nwriting tests\n"), SessionEvent("usage", "12 tokens"))
    assert last_activity(tmp_path) == "writing tests"
    log.append(SessionEvent("tool", "src/a.py", {"tool": "write"}))
    assert last_activity(tmp_path) == "write src/a.py"
    log.close()
