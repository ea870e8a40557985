"""Plays a transcript: the process behind the replay harness, ``python -m agentpkg.harnesses.player FILE``.

Runs in the worktree with the environment of any other agent, and commits with whatever git that names. What it
tells goes to standard output as JSON lines with ``"replay": 1``; commands it runs write to the same streams.
"""

import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from agentpkg.core.errors import AgentpkgError
from agentpkg.harnesses.replay import load_transcript
from agentpkg.harnesses.transcript import Step

#: exit code when a step could not be played
FAILED = 1

#: seconds a step waits for a file unless it says otherwise
_WAIT = 60.0

_STREAMS = {"stdout": 1, "stderr": 2}


class _Failure(Exception):
    """A step went otherwise than the transcript says."""


def main() -> NoReturn:
    """Plays the transcript named as the only argument; its exit code is the agent's."""
    try:
        steps = load_transcript(Path(sys.argv[1]))
    except AgentpkgError as error:
        _write(2, f"{error.message}\n")
        sys.exit(2)
    sys.exit(_Player().play(steps))


class _Player:
    """One performance: what it has learnt on the way."""

    def __init__(self) -> None:
        self._prompt = ""
        self._heard = ""
        self._stdin = _Lines(0)
        self._usage: Mapping[str, int] = {}

    def play(self, steps: list[Step]) -> int:
        """Plays all steps; gives the exit code."""
        try:
            verbs = {step.verb for step in steps}
            if "hear" in verbs:
                self._prompt = self._stdin.read(_WAIT)
            elif "ignore-stdin" not in verbs:
                self._prompt = sys.stdin.buffer.read().decode("utf-8", "replace")
            for step in steps:
                _VERBS[step.verb](self, step.value)
        except (_Failure, OSError) as failure:
            self._tell("end", str(failure), error=True, usage=self._usage)
            return FAILED
        except KeyboardInterrupt:
            return 128 + signal.SIGINT
        self._tell("end", "", error=False, usage=self._usage)
        return 0

    def _tell(self, kind: str, text: str, **more: object) -> None:
        _write(1, json.dumps({"replay": 1, "kind": kind, "text": text, **more}) + "\n")

    def _filled(self, text: str) -> str:
        for name in ("wp", "feature", "session"):
            text = text.replace(f"{{{name}}}", os.environ.get(f"AGENTPKG_{name.upper()}", ""))
        return text.replace("{heard}", self._heard)

    def say(self, text: str) -> None:
        self._tell("text", self._filled(text))

    def print(self, text: str) -> None:
        _write(1, text)

    def warn(self, text: str) -> None:
        _write(2, text)

    def write(self, value: Mapping[str, Any]) -> None:
        path = Path(self._filled(value["path"]))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value["text"], encoding="utf-8")
        if "executable" in value:
            path.chmod(path.stat().st_mode | 0o111)
        self._tell("tool", str(path), tool="write")

    def append(self, value: Mapping[str, Any]) -> None:
        with open(self._filled(value["path"]), "a", encoding="utf-8") as out:
            out.write(value["text"])
        self._tell("tool", self._filled(value["path"]), tool="append")

    def delete(self, path: str) -> None:
        place = Path(self._filled(path))
        if place.is_dir() and not place.is_symlink():
            place.rmdir()
        else:
            place.unlink()
        self._tell("tool", str(place), tool="delete")

    def run(self, value: Mapping[str, Any]) -> None:
        command = self._filled(value["command"])
        self._tell("tool", command, tool="run")
        self._expect_exit(["/bin/sh", "-c", command], value.get("exit", 0))

    def commit(self, value: Mapping[str, Any]) -> None:
        message = self._filled(value["message"])
        self._expect_exit(["git", "add", "-A", "--", *value.get("paths", ["."])], 0)
        self._expect_exit(["git", "commit", "-q", "-m", message], 0)
        self._tell("tool", message.partition("\n")[0], tool="commit")

    def _expect_exit(self, argv: list[str], wanted: int) -> None:
        code = os.spawnvp(os.P_WAIT, argv[0], argv)
        if code != wanted:
            raise _Failure(f"{' '.join(argv[:3])} ended with {code}, not {wanted}")

    def wait(self, value: Any) -> None:
        if not isinstance(value, Mapping):
            time.sleep(value)
            return
        path, deadline = Path(self._filled(value["for"])), time.monotonic() + value.get("seconds", _WAIT)
        while not path.exists():
            if time.monotonic() > deadline:
                raise _Failure(f"{path} did not appear")
            time.sleep(0.01)

    def hear(self, seconds: float) -> None:
        self._heard = self._stdin.read(seconds)
        self._tell("notice", f"heard: {self._heard}")

    def expect(self, text: str) -> None:
        if self._filled(text) not in self._prompt:
            raise _Failure(f"the prompt does not say: {text}")

    def ignore_stdin(self, _: object) -> None:
        """Nothing: it was not read in the first place."""

    def ignore_signals(self, names: list[str]) -> None:
        for name in names:
            signal.signal(signal.Signals[f"SIG{name}"], signal.SIG_IGN)

    def close(self, names: list[str]) -> None:
        for name in names:
            # not closed but pointed nowhere: the next file opened must not take the number of a standard stream
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, _STREAMS[name])
            os.close(nowhere)

    def flood(self, value: Mapping[str, Any]) -> None:
        line = f"{value.get('line', 'y')}\n".encode()
        block = line * max(1, (1 << 16) // len(line))
        left = int(value["bytes"])
        while left > 0:
            left -= os.write(1, block[:left])

    def usage(self, counts: Mapping[str, int]) -> None:
        self._usage = {**self._usage, **counts}

    def fail(self, text: str) -> None:
        raise _Failure(text)

    def exit(self, code: int) -> None:
        sys.exit(code)


_VERBS: Mapping[str, Callable[[_Player, Any], None]] = {
    "say": _Player.say, "print": _Player.print, "warn": _Player.warn, "write": _Player.write, "append": _Player.append,
    "delete": _Player.delete, "run": _Player.run, "commit": _Player.commit, "wait": _Player.wait,
    "hear": _Player.hear, "expect": _Player.expect, "ignore-stdin": _Player.ignore_stdin,
    "ignore-signals": _Player.ignore_signals,
    "close": _Player.close, "flood": _Player.flood, "usage": _Player.usage, "fail": _Player.fail, "exit": _Player.exit,
}  # fmt: skip


class _Lines:
    """Lines of JSON text on a descriptor, each waited for."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._held = b""

    def read(self, seconds: float) -> str:
        """The text of the next line. Raises :class:`_Failure` when none comes in time."""
        deadline = time.monotonic() + seconds
        while b"\n" not in self._held:
            left = max(0.0, deadline - time.monotonic())
            if not select.select([self._descriptor], [], [], left)[0]:
                raise _Failure("nothing was heard")
            chunk = os.read(self._descriptor, 1 << 16)
            if not chunk:
                raise _Failure("nothing more can be heard")
            self._held += chunk
        line, _, self._held = self._held.partition(b"\n")
        return str(json.loads(line))


def _write(stream: int, text: str) -> None:
    data = text.encode("utf-8", "surrogateescape")
    while data:
        data = data[os.write(stream, data) :]


if __name__ == "__main__":
    main()
