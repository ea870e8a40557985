"""A recorded agent: plays a transcript in a real process that writes real files and makes real commits.

For demonstrations, tests and bug reports. What the steps are: :mod:`agentpkg.harnesses.transcript`; who plays them:
:mod:`agentpkg.harnesses.player`.
"""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agentpkg.core.errors import BadInput, Lacking
from agentpkg.core.records import SessionEvent
from agentpkg.files import read_bounded
from agentpkg.harnesses.base import Agent, Job, Launch, Reader, Reply, Stream, StreamEnd, json_object, output
from agentpkg.harnesses.transcript import BadTranscript, Step, parse_steps

#: bytes
LARGEST_TRANSCRIPT = 4 << 20

#: found by its place, not through PYTHONPATH, so that the agent's environment stays as it is
_PLAY = "import sys; sys.path.append(sys.argv.pop(1)); from agentpkg.harnesses.player import main; main()"


class ReplayHarness:
    """Plays ``<transcripts>/<WP>.<attempt>.yaml``, or the last one there is."""

    name = "replay"

    def problem(self, agent: Agent, repository: str) -> str | None:
        """Why nothing can be played, None when something can."""
        if not agent.transcripts:
            return "its `transcripts` folder is not named"
        folder = Path(repository, agent.transcripts)
        return None if folder.is_dir() else f"{folder} is no folder"

    def program(self, agent: Agent) -> str | None:
        """The Python that plays it."""
        return sys.executable

    def version_command(self, agent: Agent) -> tuple[str, ...] | None:
        """The version of that Python."""
        return (sys.executable, "--version")

    def launch(self, agent: Agent, job: Job) -> Launch:
        """The player with the transcript of this package and attempt.

        Raises:
            BadInput: when that transcript cannot be played.
            Lacking: when there is none.
        """
        problem = self.problem(agent, job.repository)
        if problem:
            raise Lacking(
                f"agent {agent.name}: {problem}",
                f"set agents.{agent.name}.transcripts in .kittify/config.yaml",
                code="no_transcripts",
            )
        path = choose(Path(job.repository, agent.transcripts or ""), job)
        hears = any(step.verb == "hear" for step in load_transcript(path))
        root = str(Path(__file__).resolve().parents[2])
        argv = (sys.executable, "-P", "-c", _PLAY, root, str(path))
        # one that hears reads lines: the prompt is the first, each instruction another
        stdin = json.dumps(job.prompt) + "\n" if hears else job.prompt
        return Launch(argv=argv, stdin=stdin, keep_stdin=hears, reads=(sys.executable, root, str(path)))

    def reader(self, job: Job | None = None) -> Reader:
        """A reader of the player's JSON lines."""
        return ReplayReader()


def choose(folder: Path, job: Job) -> Path:
    """The transcript for a job: of its attempt, else the one with the highest number, else the one without.

    A folder named after the feature goes before the transcripts folder itself.

    Raises:
        Lacking: when there is none.
    """
    for place in (folder / job.feature, folder):
        found = _numbered(place, job.wp)
        if found:
            return found.get(job.attempt) or found[max(found)]
        if (place / f"{job.wp}.yaml").is_file():
            return place / f"{job.wp}.yaml"
    raise Lacking(
        f"no transcript of {job.wp} in {folder}",
        f"record one as {folder / f'{job.wp}.1.yaml'}",
        code="no_transcript",
    )


def _numbered(place: Path, wp: str) -> dict[int, Path]:
    pattern = re.compile(rf"{re.escape(wp)}\.(\d{{1,6}})\.yaml")
    files = place.iterdir() if place.is_dir() else ()
    matches = ((pattern.fullmatch(path.name), path) for path in files)
    return {int(match.group(1)): path for match, path in matches if match}


def load_transcript(path: Path) -> list[Step]:
    """Reads a transcript.

    Raises:
        BadInput: when it is no YAML or a step is wrong; the message names file and step.
    """
    import yaml

    try:
        return parse_steps(_yaml(yaml, read_bounded(path, LARGEST_TRANSCRIPT, follow=True)))
    except (yaml.YAMLError, BadTranscript, RecursionError) as error:
        said = " ".join(str(error).split())
        raise BadInput(f"{path}: {said}", "correct the transcript", code="bad_transcript") from error
    except OSError as error:
        raise Lacking(f"{path} cannot be read: {error.strerror}", "check the file", code="no_transcript") from error


def _yaml(yaml: Any, data: bytes) -> object:
    # the loader of libyaml, where there is one, reads large transcripts ten times as fast
    found: object = yaml.load(data, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return found


class ReplayReader:
    """Understands what the player prints; all other lines are output of the commands it ran."""

    def __init__(self) -> None:
        self._end = StreamEnd()
        self._said = ""

    def feed(self, stream: Stream, line: str) -> Sequence[SessionEvent | Reply]:
        """An event for each step that tells something."""
        found = json_object(line) if stream == "stdout" else None
        if found is None or found.get("replay") != 1:
            return (output(stream, line),)
        text = str(found.get("text", ""))
        kind = str(found.get("kind", "notice"))
        if kind == "end":
            usage = found.get("usage")
            self._end = StreamEnd(found.get("error") is True, text, usage if isinstance(usage, dict) else {})
        elif kind == "text":
            self._said = text
        return (SessionEvent(kind, text, {"tool": str(found["tool"])} if "tool" in found else {}),)

    def instruct(self, text: str) -> Reply | None:
        """The instruction as the player reads it."""
        return Reply(json.dumps(text).encode() + b"\n")

    def end(self, exit_code: int) -> StreamEnd:
        """What the player said last; nothing when the transcript ended it with ``exit``."""
        return self._end if self._end.text or self._end.error is None else StreamEnd(
            self._end.error, self._said, self._end.usage
        )  # fmt: skip
