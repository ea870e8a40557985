"""Any program as an agent: the prompt on standard input, plain lines out, the exit code as its word."""

import os
import shutil
import time
from collections import deque
from collections.abc import Sequence

from agentpkg.core.errors import BadInput, Lacking
from agentpkg.core.records import SessionEvent
from agentpkg.harnesses.base import Agent, Fault, Job, Launch, Reader, Reply, Stream, StreamEnd, output
from agentpkg.harnesses.faults import provider_message, retry_after

#: MAX_ARG_STRLEN of Linux (execve(2)), with its terminating zero byte
LONGEST_ARGUMENT = 131_071

#: lines of standard error in which a provider's refusal is looked for, and characters of a line
_LAST_LINES, _LONGEST = 5, 1000


class CommandHarness:
    """``command: [program, argument, …]`` with placeholders."""

    name = "command"

    def problem(self, agent: Agent, repository: str) -> str | None:
        """Why the agent cannot be started, None when it can."""
        if not agent.command:
            return "its `command` is missing"
        return None if self.program(agent) else f"{agent.command[0]} is not found or not executable"

    def program(self, agent: Agent) -> str | None:
        """The program's absolute path; one given relative to the worktree cannot be known before there is one."""
        if not agent.command:
            return None
        first = agent.command[0]
        if os.path.dirname(first) and not os.path.isabs(first):
            return first
        found = shutil.which(first)
        return os.path.abspath(found) if found else None

    def version_command(self, agent: Agent) -> tuple[str, ...] | None:
        """None: nothing is known of how the program tells its version."""
        return None

    def launch(self, agent: Agent, job: Job) -> Launch:
        """The program with its placeholders filled in and the prompt on standard input.

        Raises:
            BadInput: for a prompt that is too long for one argument.
            Lacking: when the program is not found.
        """
        program = self.program(agent)
        if program is None:
            raise Lacking(
                f"agent {agent.name}: {self.problem(agent, job.repository)}",
                f"install it, or correct agents.{agent.name}.command in .kittify/config.yaml",
                code="program_missing",
            )
        argv = (program, *(_filled(text, job) for text in agent.command[1:]), *self._prompt(agent, job))
        return Launch(argv=argv, stdin=job.prompt, reads=tuple(_reads(argv)))

    def _prompt(self, agent: Agent, job: Job) -> tuple[str, ...]:
        if agent.prompt == "stdin":
            return ()
        if agent.prompt == "file":
            return (job.prompt_path,)
        size = len(job.prompt.encode("utf-8", "surrogateescape"))
        if size > LONGEST_ARGUMENT:
            raise BadInput(
                f"the prompt of {job.wp} has {size} bytes, too many for one argument of {agent.name}",
                f"set agents.{agent.name}.prompt to stdin or file",
                code="prompt_too_long",
            )
        return (job.prompt,)

    def reader(self, job: Job | None = None) -> Reader:
        """A reader that takes every line as output."""
        return PlainReader()


class PlainReader:
    """Lines are output; the exit code alone says whether it was an error."""

    def __init__(self) -> None:
        self._last = {"stdout": "", "stderr": ""}
        self._errors: deque[str] = deque(maxlen=_LAST_LINES)

    def feed(self, stream: Stream, line: str) -> Sequence[SessionEvent | Reply]:
        """One output event a line."""
        if line.strip():
            self._last[stream] = line
            if stream == "stderr":
                self._errors.append(line[:_LONGEST])
        return (output(stream, line),)

    def end(self, exit_code: int) -> StreamEnd:
        """An error unless the exit code is 0; the text is its last line, of standard error first when it failed.

        A failure is the provider's when one of the last lines of standard error says so
        (:mod:`agentpkg.harnesses.faults`).
        """
        if exit_code == 0:
            return StreamEnd(error=False, text=self._last["stdout"][:_LONGEST])
        refused = provider_message(self._errors) if exit_code > 0 else None
        said = refused or self._last["stderr"] or self._last["stdout"]
        fault: Fault = "provider" if refused else "agent"
        # exit codes may be the provider's too, by the configuration
        return StreamEnd(True, said[:_LONGEST], fault=fault, retry_after=retry_after(self._errors, time.time()))


def _filled(text: str, job: Job) -> str:
    # a supervisor reads output but never fills in commands, and need not pay for the configuration's import
    from agentpkg.config.placeholders import expand

    values = {
        "prompt_path": job.prompt_path, "task_path": job.task_path, "worktree": job.worktree,
        "session": job.session, "feature": job.feature, "wp": job.wp, "model": job.model or "",
    }  # fmt: skip
    return expand(text, values)


def _reads(argv: Sequence[str]) -> list[str]:
    """The program and the files that arguments name, as an interpreter's script; and what links among them lead to."""
    named = [text for text in argv if os.path.isabs(text) and "\0" not in text and os.path.isfile(text)]
    return list(dict.fromkeys([*named, *map(os.path.realpath, named)]))
