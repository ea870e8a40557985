"""aider (PyPI ``aider-chat``): one message, edits by the model's text, commits by aider itself.

Measured on version 0.86; see docs/agents.md. It has neither hooks nor permissions: forbidden paths are kept from it by
its own ignore file, all else is for the review.
"""

import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agentpkg.core.records import SessionEvent
from agentpkg.harnesses import programs
from agentpkg.harnesses.base import Agent, Fault, Job, Launch, Reader, Reply, Stream, StreamEnd, output
from agentpkg.harnesses.faults import provider_message, retry_after

PROGRAM = "aider"
INSTALL = "pipx install aider-chat"

#: no files of its own in the worktree, nobody to ask, no look for updates
_QUIET = (
    "--yes-always", "--no-pretty", "--no-stream", "--no-gitignore", "--map-tokens", "0", "--no-check-update",
    "--no-show-release-notes", "--analytics-disable", "--no-show-model-warnings", "--no-suggest-shell-commands",
    "--no-detect-urls", "--no-fancy-input",
)  # fmt: skip

#: who commits is told by the session's environment
_UNNAMED = ("--no-attribute-author", "--no-attribute-committer", "--no-attribute-co-authored-by")

_COMMIT_PROMPT = (
    "Answer with the one line of a commit message for these changes and nothing else: feat({wp}): what changes"
)

_TOKENS = re.compile(r"Tokens: ([\d.]+)(k|M)? sent(?:, [^,]*cache[^,]*)*, ([\d.]+)(k|M)? received\.")
_COST = re.compile(r"Cost: \$[\d.]+ message, \$([\d.]+) session")
_ERROR = re.compile(r"\blitellm\.(?:exceptions\.)?(\w+): ?(.*)")
_EDIT = re.compile(r"(?:Applied edit to|Creating empty file|Dropping) (.+)")
_COMMIT = re.compile(r"Commit ([0-9a-f]{7,}) (.+)")

#: errors of litellm (docs.litellm.ai/docs/exception_mapping) that are nobody's who works here
_PROVIDER = frozenset(
    ("RateLimitError", "InternalServerError", "ServiceUnavailableError", "APIConnectionError", "Timeout", "APIError")
)
_SIGN_IN = frozenset(("AuthenticationError", "PermissionDeniedError"))


class AiderHarness(programs.Installed):
    """``aider --message-file``."""

    name = "aider"
    called, install = PROGRAM, INSTALL

    def launch(self, agent: Agent, job: Job) -> Launch:
        """The program for one session. Raises :class:`~agentpkg.core.errors.Lacking` when it is not installed."""
        program = self.required(agent)
        ignored = "".join(f"{line}\n" for lines in job.scope.forbidden for line in lines)
        return Launch(
            argv=(program, *agent.command[1:], *_arguments(job)), files={"ignore": ignored},
            reads=tuple(programs.reads(program)),
            writes=(os.path.join(programs.home(), ".aider"),),
            # it breaks its lines, and errors of providers in them, at the width of a terminal
            env={"COLUMNS": "10000"},
        )  # fmt: skip

    def reader(self, job: Job | None = None) -> Reader:
        """Understands what it prints."""
        return AiderReader()


def _arguments(job: Job) -> Iterator[str]:
    if job.model:
        yield from ("--model", job.model)
    yield from (*_QUIET, *_UNNAMED, "--commit-prompt", _COMMIT_PROMPT.format(wp=job.wp))
    yield from ("--aiderignore", os.path.join(job.folder, "ignore"))
    # the session's log has it all, and in a sandbox nothing else can be written
    yield from ("--chat-history-file", os.devnull, "--input-history-file", os.devnull)
    house = next(
        (name for name in ("AGENTS.md", "CLAUDE.md") if os.path.isfile(os.path.join(job.repository, name))), None
    )
    if house:
        yield from ("--read", os.path.join(job.repository, house))
    yield from ("--message-file", job.prompt_path)


class AiderReader:
    """Plain lines. Its exit code means nothing; an error of the model's library that nothing follows means one."""

    def __init__(self) -> None:
        self._last = ""
        self._failed: tuple[str, str] | None = None
        self._usage: dict[str, int | str] = {}

    @property
    def used(self) -> Mapping[str, Any]:
        """What it has told so far."""
        return self._usage

    def feed(self, stream: Stream, line: str) -> Sequence[SessionEvent | Reply]:
        """What a line means."""
        if not line.strip():
            return ()
        if stream == "stderr":
            return (output(stream, line),)
        return (self._event(line),)

    def _event(self, line: str) -> SessionEvent:
        if error := _ERROR.search(line):
            self._failed = (error[1], line.strip())
            return SessionEvent("notice", line)
        if tokens := _TOKENS.search(line):
            self._failed = None
            self._count(tokens, line)
            return SessionEvent("usage", line, dict(self._usage))
        if _EDIT.match(line) or _COMMIT.match(line):
            return SessionEvent("tool", line, {"tool": "git" if _COMMIT.match(line) else "edit"})
        self._last = line
        return output("stdout", line)

    def _count(self, tokens: "re.Match[str]", line: str) -> None:
        for name, number, unit in (("input_tokens", 1, 2), ("output_tokens", 3, 4)):
            count = round(float(tokens[number]) * {"k": 1_000, "M": 1_000_000}.get(tokens[unit] or "", 1))
            self._usage[name] = int(self._usage.get(name, 0)) + count
        if cost := _COST.search(line):
            self._usage["cost_usd"] = cost[1]

    def end(self, exit_code: int) -> StreamEnd:
        """An error where the last request to the model was one; else nothing is said."""
        if self._failed is None:
            error = True if exit_code else (False if self._usage else None)
            return StreamEnd(error=error, text=programs.short(self._last), usage=self._usage)
        name, text = self._failed
        fault: Fault = "environment" if name in _SIGN_IN else "agent"
        if name in _PROVIDER or provider_message([text]):
            fault = "provider"
        after = retry_after([text], time.time())
        return StreamEnd(True, programs.short(text), self._usage, fault=fault, retry_after=after)
