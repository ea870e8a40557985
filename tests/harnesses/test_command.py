import os
from pathlib import Path

import pytest

from agentpkg.core.errors import BadInput, Lacking
from agentpkg.harnesses.command import LONGEST_ARGUMENT, CommandHarness, PlainReader
from agentpkg.harnesses.faults import conversation_full, retry_after
from tests.support.sessions_jobs import SomeAgent, job

HARNESS = CommandHarness()


def test_placeholders_are_filled_in_and_the_prompt_comes_on_stdin(tmp_path: Path) -> None:
    command = (
        "sh",
        "-c",
        "{prompt_path} {task_path} {worktree}",
        "{session}/{feature}/{wp}",
        "--model={model}",
        "${x}",
    )
    launch = HARNESS.launch(SomeAgent(command=command), job(tmp_path, model="big"))
    paths = f"{tmp_path}/prompt.md {tmp_path}/task.md {tmp_path}"
    assert launch.argv[1:] == ("-c", paths, "sess_01/003-auth/WP02", "--model=big", "${x}")
    assert os.path.isabs(launch.argv[0])
    assert launch.stdin == "# Mission\nDo it.\n"
    assert not launch.keep_stdin


def test_no_model_is_an_empty_text(tmp_path: Path) -> None:
    assert HARNESS.launch(SomeAgent(command=("true", "{model}")), job(tmp_path)).argv[1] == ""


def test_the_prompt_can_come_as_file_or_argument_as_well(tmp_path: Path) -> None:
    by_file = HARNESS.launch(SomeAgent(command=("true",), prompt="file"), job(tmp_path))
    by_argument = HARNESS.launch(SomeAgent(command=("true",), prompt="argument"), job(tmp_path))
    assert by_file.argv[-1] == str(tmp_path / "prompt.md")
    assert by_argument.argv[-1] == by_argument.stdin == "# Mission\nDo it.\n"


def test_a_prompt_too_long_for_an_argument_is_refused(tmp_path: Path) -> None:
    agent = SomeAgent(command=("true",), prompt="argument")
    HARNESS.launch(agent, job(tmp_path, prompt="x" * LONGEST_ARGUMENT))
    with pytest.raises(BadInput, match="too many for one argument"):
        HARNESS.launch(agent, job(tmp_path, prompt="ä" * LONGEST_ARGUMENT))


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(Lacking, match="no-such-agent is not found"):
        HARNESS.launch(SomeAgent(command=("no-such-agent",)), job(tmp_path))


def test_a_program_behind_a_link_is_readable_as_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("#!/bin/sh\n")
    (tmp_path / "real").chmod(0o755)
    (tmp_path / "agent").symlink_to("real")
    launch = HARNESS.launch(SomeAgent(command=(str(tmp_path / "agent"),)), job(tmp_path))
    assert {str(tmp_path / "agent"), str(tmp_path / "real")} <= set(launch.reads)


def test_the_exit_code_is_the_error_flag_and_the_last_line_the_word() -> None:
    reader = HARNESS.reader()
    reader.feed("stdout", "did it")
    reader.feed("stderr", "could not")
    assert (reader.end(0).error, reader.end(0).text) == (False, "did it")
    assert (reader.end(3).error, reader.end(3).text) == (True, "could not")


@pytest.mark.parametrize(
    "line",
    [
        'API Error: 529 {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}',
        "litellm.RateLimitError: RateLimitError: OpenAIException - Rate limit reached",
        "error: HTTP 429 Too Many Requests",
        "unexpected status 503 Service Unavailable",
        "You exceeded your current quota, please check your plan and billing details.",
        "Claude AI usage limit reached|1767225600",
        "Error: Your credit balance is too low to access the API",
        '[API Error: {"error":{"code":429,"status":"RESOURCE_EXHAUSTED"}}]',
    ],
)
def test_what_providers_say_when_they_do_not_serve_is_known_as_theirs(line: str) -> None:
    reader = CommandHarness().reader()
    reader.feed("stderr", "Traceback (most recent call last):")
    reader.feed("stderr", line)
    end = reader.end(1)
    assert (end.error, end.fault, end.text) == (True, "provider", line)


@pytest.mark.parametrize(
    "line",
    [
        "FAILED tests/test_rate_limit_error.py::test_rate_limit - AssertionError: assert 429 == 200",
        "src/overloaded.py:529: error: missing return statement",
        "ValueError: quota must be positive",
        "port 8429 is in use",
        "tests/test_http.py::test_429 FAILED",
    ],
)
def test_what_only_sounds_like_it_is_the_agents_own_failure(line: str) -> None:
    reader = CommandHarness().reader()
    reader.feed("stderr", line)
    assert reader.end(1).fault == "agent"


def test_a_provider_is_not_blamed_for_what_went_well_or_was_said_long_before() -> None:
    reader = CommandHarness().reader()
    reader.feed("stderr", "HTTP 429 Too Many Requests")
    assert reader.end(0).fault == "agent"
    for number in range(9):
        reader.feed("stderr", f"retried, going on {number}")
    assert reader.end(1).fault == "agent"


@pytest.mark.parametrize(
    ("line", "seconds"),
    [
        ("HTTP 429 Too Many Requests, Retry-After: 30", 30),
        ("{'retry-after': '12.5', 'date': 'today'} status 429", 13),
        ("rate_limit_error: please try again in 20s", 20),
        ("Retry-After: Thu, 01 Jan 1970 00:02:00 GMT", 110),
        ("Retry-After: Thu, 01 Jan 1970 00:00:01 GMT", 0),
        ("retry after 5 minutes", None),
        ("retry-after-ms: 1500", None),
        ("Retry-After: 99999999", None),
        ("tests/test_retry_after.py::test_3 FAILED", None),
        ("5-hour limit reached ∙ resets 3am (UTC)", 3 * 3600 - 10),
        ("You've hit your session limit · resets 11:30pm (America/New_York)", (4 * 60 + 30) * 60 - 10),
        ("or try again at Jan 2nd, 1970 12:05 AM.", 86400 + 300 - 10),
        # the moment that it says has just come
        ("resets 12am (UTC)", 0),
        ("resets Feb 3, 3am (UTC)", None),
        ("resets 3am (Mars/Base)", None),
        ("it resets 3 amplifiers", None),
    ],
)
def test_when_a_provider_serves_again_is_read_from_what_it_says(line: str, seconds: int | None) -> None:
    assert retry_after(["something else", line], now=10.0) == seconds


def test_a_conversation_that_is_too_long_is_known_by_its_end() -> None:
    full = ("exit code 1: Prompt is too long", "Codex ran out of room in the model's context window.",
            "Your input exceeds the context window of this model.", "context_length_exceeded")  # fmt: skip
    assert all(map(conversation_full, full))
    assert not any(map(conversation_full, ("its subject is too long", "no commits", "")))


def test_a_provider_that_says_when_is_believed() -> None:
    reader = PlainReader()
    reader.feed("stderr", "error: HTTP 429 Too Many Requests")
    reader.feed("stderr", "retry-after: 45")
    assert (reader.end(1).fault, reader.end(1).retry_after) == ("provider", 45)
