"""What every harness promises, whichever agent it drives."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentpkg.core.errors import AgentpkgError
from agentpkg.core.records import SessionEvent
from agentpkg.harnesses import HARNESSES, harness_named, names
from agentpkg.harnesses.base import Harness, Launch, Reply, StreamEnd
from agentpkg.proc import run
from tests.support.sessions_jobs import SomeAgent, job

#: an agent that each harness can start, made in a folder; a new harness adds its line here
AGENTS: dict[str, Callable[[Path], SomeAgent]] = {
    "command": lambda root: SomeAgent(command=("cat",)),
    "replay": lambda root: SomeAgent(transcripts=_transcripts(root)),
    "claude-code": lambda root: _program(root, '{"type":"result","is_error":false,"result":"done"}'),
    "acp": lambda root: _protocol(root),
    "aider": lambda root: _program(root, "Tokens: 2.6k sent, 25 received."),
    "codex": lambda root: _program(root, '{"type":"turn.completed","usage":{"input_tokens":1}}'),
}

#: one that no harness can start, wherever programs are installed
BAD = SomeAgent(command=("/no/such/program",))

HOSTILE = [
    "", " ", "{", "{}", "[]", "null", "{\"a\": NaN}", '{"type": null}', '{"kind": 1, "text": {}}', "[" * 100_000,
    '{"replay": 1}', '{"replay": 1, "kind": "end", "usage": 7, "error": "x"}', '{"replay": 1, "kind": [], "text": []}',
    '{"type":"result","result":null,"usage":{"input_tokens":1.5}}', "\u2028\x00", "x" * 2_100_000, "\\udcff",
    '{"a":' * 5000, '{"replay": 1, "kind": "text", "text": "1", "tool": {"x": 0.5}}',
]  # fmt: skip


def _transcripts(root: Path) -> str:
    (root / "tapes").mkdir()
    (root / "tapes" / "WP02.1.yaml").write_text("- say: hello\n")
    return "tapes"


def _program(root: Path, said: str) -> SomeAgent:
    """A program that reads its prompt and says one line."""
    path = root / "program"
    path.write_text(f"#!/bin/sh\ncat > /dev/null\necho '{said}'\n")
    path.chmod(0o755)
    return SomeAgent(command=(str(path),))


def _protocol(root: Path) -> SomeAgent:
    """A program that gives the answers of the Agent Client Protocol one after another."""
    answers = [
        '{"jsonrpc":"2.0","id":1,"result":{}}', '{"jsonrpc":"2.0","id":2,"result":{"sessionId":"c1"}}',
        '{"jsonrpc":"2.0","id":10,"result":{"stopReason":"end_turn"}}',
    ]  # fmt: skip
    path = root / "program"
    path.write_text("#!/bin/sh\ncat > /dev/null\n" + "".join(f"echo '{answer}'\n" for answer in answers))
    path.chmod(0o755)
    return SomeAgent(command=(str(path),))


@pytest.fixture(params=sorted(HARNESSES))
def harness(request: pytest.FixtureRequest) -> Harness:
    return harness_named(request.param)


@pytest.fixture
def agent(harness: Harness, tmp_path: Path) -> SomeAgent:
    return AGENTS[harness.name](tmp_path)


_started: list[str] = []
_listening: list[bool] = []


def _note(event: str, _: object) -> None:
    if _listening and event in ("subprocess.Popen", "os.exec", "os.fork", "os.posix_spawn", "os.system", "os.spawn"):
        _started.append(event)


@pytest.fixture
def no_process() -> Iterator[None]:
    """Fails the test when a process is started in it."""
    sys.addaudithook(_note)
    _started.clear()
    _listening.append(True)
    yield
    _listening.clear()
    assert _started == []


def test_it_is_found_by_its_name(harness: Harness) -> None:
    assert harness_named(harness.name) is harness
    assert harness.name in names()


def test_speaking_starts_no_process(harness: Harness, agent: SomeAgent, tmp_path: Path, no_process: None) -> None:
    harness.problem(agent, str(tmp_path))
    harness.program(agent)
    harness.version_command(agent)
    launch = harness.launch(agent, job(tmp_path))
    reader = harness.reader(job(tmp_path))
    reader.feed("stdout", "hello")
    reader.end(0)
    assert launch.argv


def test_a_good_agent_has_no_problem_and_a_bad_one_a_reason(harness: Harness, agent: SomeAgent, tmp_path: Path) -> None:
    assert harness.problem(agent, str(tmp_path)) is None
    assert harness.problem(BAD, str(tmp_path))
    with pytest.raises(AgentpkgError):
        harness.launch(BAD, job(tmp_path))


def test_a_launch_survives_json(harness: Harness, agent: SomeAgent, tmp_path: Path) -> None:
    launch = harness.launch(agent, job(tmp_path))
    assert Launch.from_json(json.loads(json.dumps(launch.as_json()))) == launch


def test_a_launch_can_be_started_as_it_is(harness: Harness, agent: SomeAgent, tmp_path: Path) -> None:
    launch = harness.launch(agent, job(tmp_path)).placed(str(tmp_path))
    stdin = None if launch.stdin is None else launch.stdin.encode()
    result = run(launch.argv, env={"PATH": "/usr/bin:/bin", **launch.env}, cwd=tmp_path, timeout=30, stdin=stdin)
    assert result.exit_code == 0, result.stderr
    reader = harness.reader(job(tmp_path))
    for line in result.stdout.decode().splitlines():
        reader.feed("stdout", line)
    assert reader.end(0).error is False


def test_no_line_is_fatal_and_events_are_json_without_floats(harness: Harness, tmp_path: Path) -> None:
    for line in HOSTILE:
        reader = harness.reader(job(tmp_path))
        for stream in ("stdout", "stderr"):
            for found in reader.feed(stream, line):  # type: ignore[arg-type]
                assert isinstance(found, SessionEvent | Reply)
                if isinstance(found, SessionEvent):
                    assert isinstance(found.kind, str)
                    json.dumps([found.text, dict(found.data)], allow_nan=False)
        end = reader.end(0)
        assert isinstance(end, StreamEnd)
        assert not any(isinstance(value, float) for value in end.usage.values())


def test_readers_share_nothing(harness: Harness, tmp_path: Path) -> None:
    one, other = harness.reader(job(tmp_path)), harness.reader(job(tmp_path))
    one.feed("stdout", "words of the first")
    assert "words" not in other.end(0).text


def test_a_reader_that_saw_nothing_claims_no_success_of_a_crash(harness: Harness, tmp_path: Path) -> None:
    assert harness.reader(job(tmp_path)).end(-9).error is not False
