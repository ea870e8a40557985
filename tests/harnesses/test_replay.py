import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentpkg.core.errors import BadInput, Lacking
from agentpkg.core.records import SessionEvent
from agentpkg.harnesses.base import StreamEnd
from agentpkg.harnesses.replay import ReplayHarness, choose, load_transcript
from agentpkg.proc import Result, run
from tests.support.repos import git
from tests.support.sessions_jobs import SomeAgent, job

AGENT = SomeAgent(transcripts="tapes")


def play(
    root: Path, transcript: str, cancelled: Callable[[], bool] | None = None, **changes: Any
) -> tuple[Result, list[SessionEvent], StreamEnd]:
    """Plays a transcript in ``root``; gives the process's result and what a reader made of it."""
    tapes = root.parent / "tapes"
    tapes.mkdir(exist_ok=True)
    (tapes / "WP02.1.yaml").write_text(transcript)
    harness = ReplayHarness()
    launch = harness.launch(SomeAgent(transcripts=str(tapes)), job(root, **changes))
    env = {
        "PATH": os.environ["PATH"], "AGENTPKG_WP": "WP02", "AGENTPKG_FEATURE": "003-auth", "HOME": os.environ["HOME"]
    }  # fmt: skip
    result = run(launch.argv, env=env, cwd=root, timeout=30, grace=0.2, stdin=(launch.stdin or "").encode(),
                 cancelled=cancelled)  # fmt: skip
    reader = harness.reader()
    lines = [("stdout", line) for line in result.stdout.decode().splitlines()]
    lines += [("stderr", line) for line in result.stderr.decode().splitlines()]
    events = [event for stream, line in lines for event in reader.feed(stream, line)]  # type: ignore[arg-type]
    return result, [event for event in events if isinstance(event, SessionEvent)], reader.end(result.exit_code)


def test_it_writes_real_files_and_commits_them(scratch: Any) -> None:
    repo = scratch({"README.md": "# it\n", "old.txt": "x\n"})
    result, events, end = play(
        repo,
        """
steps:
  - say: "I begin with {wp}."
  - write: {path: src/login.py, text: "def login():\\n    return True\\n"}
  - write: {path: bin/tool, text: "#!/bin/sh\\n", executable: true}
  - append: {path: README.md, text: "more\\n"}
  - delete: old.txt
  - run: "python3 -c 'print(6 * 7)'"
  - commit: "feat({wp}): add login"
  - usage: {input_tokens: 12}
  - say: done
""",
    )
    assert result.exit_code == 0
    assert git(repo, "log", "-1", "--format=%s") == "feat(WP02): add login"
    assert git(repo, "status", "--porcelain") == ""
    assert git(repo, "show", "--name-status", "--format=", "HEAD").split("\n") == [
        "M\tREADME.md", "A\tbin/tool", "D\told.txt", "A\tsrc/login.py"
    ]  # fmt: skip
    assert os.access(repo / "bin" / "tool", os.X_OK)
    assert [(event.kind, event.text) for event in events if event.kind in ("text", "output")] == [
        ("text", "I begin with WP02."), ("output", "42"), ("text", "done")
    ]  # fmt: skip
    assert end == StreamEnd(error=False, text="done", usage={"input_tokens": 12})


def test_a_commit_can_take_some_paths_only(scratch: Any) -> None:
    repo = scratch()
    play(
        repo,
        """
- write: {path: a, text: a}
- write: {path: b, text: b}
- commit: {message: "only a", paths: [a]}
""",
    )
    assert git(repo, "status", "--porcelain") == "?? b"


def test_the_prompt_can_be_expected(tmp_path: Path) -> None:
    _, _, good = play(tmp_path, "- expect: Do it.", prompt="x" * 200_000 + "Do it.")
    result, _, bad = play(tmp_path, "- expect: feedback\n- say: never\n")
    assert good.error is False
    assert (bad.error, bad.text, result.exit_code) == (True, "the prompt does not say: feedback", 1)


def test_an_unread_prompt_and_closed_streams_are_no_trouble(tmp_path: Path) -> None:
    script = "- ignore-stdin: true\n- close: [stdout, stderr]\n- write: {path: a, text: a}\n- print: unseen\n"
    result, events, _ = play(tmp_path, script, prompt="x" * 300_000)
    assert (result.exit_code, events) == (0, [])
    assert (tmp_path / "a").exists()


@pytest.mark.slow
def test_ends_can_be_failures_and_crashes(tmp_path: Path) -> None:
    failed, _, said = play(tmp_path, "- fail: it is too hard\n")
    crashed, _, nothing = play(tmp_path, "- exit: 7\n")
    command, _, broken = play(tmp_path, "- run: {command: exit 3, exit: 3}\n- run: exit 4\n")
    assert (failed.exit_code, said.error, said.text) == (1, True, "it is too hard")
    assert (crashed.exit_code, nothing.error) == (7, None)
    assert (command.exit_code, broken.error, broken.text) == (1, True, "/bin/sh -c exit 4 ended with 4, not 0")


def test_raw_output_and_floods_come_as_they_are(tmp_path: Path) -> None:
    result, _, end = play(tmp_path, "- warn: careful\n- flood: {bytes: 5000, line: abc}\n- print: 'no end'\n- say: x\n")
    assert result.stdout.startswith(b"abc\n" * 1250)
    assert result.stderr == b"careful"
    # what a command leaves without a line's end swallows what follows on the line
    assert end.error is False


def test_a_wait_for_a_file_ends_with_it_or_with_patience(tmp_path: Path) -> None:
    result, _, _ = play(tmp_path, "- run: '(sleep 0.1; touch flag) &'\n- wait: {for: flag}\n- wait: 0.01\n")
    late, _, end = play(tmp_path, "- wait: {for: other, seconds: 0.05}\n")
    assert result.exit_code == 0
    assert (late.exit_code, end.text) == (1, "other did not appear")


def test_ignored_signals_leave_only_the_last_resort(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    steps = "- ignore-signals: [INT, TERM]\n- write: {path: begun, text: x}\n- wait: 60\n"
    result, _, _ = play(tmp_path, steps, cancelled=begun.exists)
    assert (result.cancelled, result.exit_code) == (True, -9)


def test_modules_in_the_worktree_do_not_get_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit(9)\n")
    (tmp_path / "agentpkg.py").write_text("raise SystemExit(9)\n")
    assert play(tmp_path, "- say: hello\n")[2].text == "hello"


def test_the_transcript_of_the_attempt_is_played_else_the_last(tmp_path: Path) -> None:
    for name in ("WP02.1.yaml", "WP02.2.yaml", "WP02.10.yaml", "WP03.yaml", "WP04.1.yaml", "WP021.9.yaml"):
        (tmp_path / name).write_text("[]")
    (tmp_path / "003-auth").mkdir()
    (tmp_path / "003-auth" / "WP04.1.yaml").write_text("[]")

    def chosen(wp: str, attempt: int) -> str:
        return str(choose(tmp_path, job(tmp_path, wp=wp, attempt=attempt)).relative_to(tmp_path))

    assert [chosen("WP02", n) for n in (1, 2, 3)] == ["WP02.1.yaml", "WP02.2.yaml", "WP02.10.yaml"]
    assert chosen("WP03", 5) == "WP03.yaml"
    assert chosen("WP04", 1) == "003-auth/WP04.1.yaml"
    with pytest.raises(Lacking, match="no transcript of WP09"):
        chosen("WP09", 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("say: hello", "a transcript is a list"),
        ("- say: hello\n- shout: x\n", "step 2: no step is called shout"),
        ("- say: 1\n", "step 1: say wants text"),
        ("- {say: a, run: b}\n", "step 1: a step is a mapping with one key"),
        ("- write: {path: a}\n", "write lacks text"),
        ("- write: {path: a, text: b, more: c}\n", "write does not know more"),
        ("- wait: -1\n", "wait wants a number"),
        ("- ignore-signals: [NONE]\n", "wants a list of signals"),
        ("- close: [stdin]\n", "wants a list of stdout, stderr"),
        ("- commit: {message: a, paths: b}\n", "paths: wants a list of texts"),
        ("- exit: 256\n", "wants a number from 0 to 255"),
        ("- [\n", "while parsing"),
    ],
)
def test_a_wrong_transcript_says_where_before_anything_is_played(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "t.yaml").write_text(text)
    with pytest.raises(BadInput) as caught:
        load_transcript(tmp_path / "t.yaml")
    assert said in caught.value.message
    assert str(tmp_path / "t.yaml") in caught.value.message


def test_a_missing_folder_is_a_problem_with_its_name(tmp_path: Path) -> None:
    assert ReplayHarness().problem(AGENT, str(tmp_path)) == f"{tmp_path}/tapes is no folder"
