"""Claude Code (npm ``@anthropic-ai/claude-code``), driven without a terminal.

Flags and stream were measured on version 2.1; see docs/agents.md. What the user has set up for themselves (sign-in,
model, hooks, memory) goes on working, since its own configuration folder is used; what the project's folder would add
(hooks, permissions) is left out, since an agent could have written it. The project's CLAUDE.md is told all the same.
"""

import json
import os
import uuid
from collections.abc import Iterator
from decimal import Decimal
from urllib.parse import urlsplit

from agentpkg.harnesses import guard, programs
from agentpkg.harnesses.base import Agent, Job, Launch, Reader, SignIn
from agentpkg.harnesses.claude_stream import ClaudeReader, user_message

PROGRAM = "claude"
INSTALL = "npm install -g @anthropic-ai/claude-code"

#: tools that change nothing outside of the conversation; those that :mod:`agentpkg.harnesses.guard` is asked about are
#: not among them, so that without its word they are refused
_ALLOWED = ("Read", "Glob", "Grep", "LS", "NotebookRead", "TodoWrite", "Task", "Agent", "Skill", "TaskCreate",
            "TaskGet", "TaskList", "TaskOutput", "TaskUpdate", "TaskStop", "BashOutput", "KillShell")  # fmt: skip

#: tools that would work somewhere else, later, or with a person
_DENIED = ("EnterWorktree", "ExitWorktree", "CronCreate", "CronDelete", "ScheduleWakeup", "AskUserQuestion",
           "EnterPlanMode", "ExitPlanMode")  # fmt: skip

#: variables of the caller's that decide where its state is
_STATE = ("CLAUDE_CONFIG_DIR",)

#: configured variables that sign it in
_KEYS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_CODE_USE_BEDROCK",
         "CLAUDE_CODE_USE_VERTEX")  # fmt: skip

_HOSTS = ("api.anthropic.com:443", "console.anthropic.com:443", "platform.claude.com:443")


class ClaudeCodeHarness(programs.Installed):
    """``claude -p`` with JSON streams in and out, and a hook that knows the package's scope."""

    name = "claude-code"
    called, install = PROGRAM, INSTALL

    def sign_in_command(self, agent: Agent) -> tuple[str, ...] | None:
        """``claude auth status``, unless a configured variable signs it in."""
        found = self.program(agent)
        return (found, "auth", "status") if found and not _key(agent) else None

    def sign_in(self, agent: Agent, exit_code: int, said: str) -> SignIn:
        """What the status says; older versions know no such command."""
        key = _key(agent)
        if key:
            return SignIn(True, f"by {key} in agent.environment")
        try:
            status = programs.mapping(json.loads(said))
        except ValueError:
            return SignIn(None, "not known: this version does not tell")
        if status.get("loggedIn") is True:
            return SignIn(True, str(status.get("authMethod") or "signed in"))
        return SignIn(False, "run `claude auth login`, or set ANTHROPIC_API_KEY in agent.environment")

    def launch(self, agent: Agent, job: Job) -> Launch:
        """The program for one session. Raises :class:`~agentpkg.core.errors.Lacking` when it is not installed."""
        program = self.required(agent)
        files = dict(_files(job))
        return Launch(
            argv=(program, *agent.command[1:], *_arguments(agent, job, files)), files=files,
            stdin=user_message(job.prompt).decode(), keep_stdin=True,
            env=_environment(agent), writes=_state(), reads=(
                *programs.reads(program), *guard.reads(),
            ), hosts=hosts(agent), conversations=(_conversations(),),
        )  # fmt: skip

    def reader(self, job: Job | None = None) -> Reader:
        """Understands its ``stream-json``."""
        return ClaudeReader(job)


def conversation(session: str) -> str:
    """The conversation that a session begins: its id, as Claude Code wants it."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"agentpkg:{session}"))


def _arguments(agent: Agent, job: Job, files: dict[str, str]) -> Iterator[str]:
    yield from ("-p", "--output-format", "stream-json", "--input-format", "stream-json", "--verbose")
    yield from ("--setting-sources", "user")
    yield from ("--settings", os.path.join(job.folder, "settings.json"), "--permission-mode", "default")
    # what no rule and no hook decides comes as a request on standard output, and waits for its answer
    yield from ("--permission-prompt-tool", "stdio")
    if job.resume and _goes_on(job):
        yield from ("--resume", job.resume)
    else:
        # a look at another one's work is a conversation of its own
        yield from ("--session-id", conversation(job.folder if job.read_only else job.session))
    if "instructions.md" in files:
        yield from ("--append-system-prompt-file", os.path.join(job.folder, "instructions.md"))
    if job.model:
        yield from ("--model", job.model)
    if "cost_usd" in job.allowance:
        # money is told at the end only, so that the program itself has to watch it
        # and it counts what its conversation has cost before
        earlier = Decimal(str(job.used.get("cost_usd", 0))) if _goes_on(job) else Decimal(0)
        yield from ("--max-budget-usd", str(Decimal(job.allowance["cost_usd"]) + earlier))
    # both take every word up to the next flag
    yield from ("--allowedTools", *_ALLOWED, *programs.option_list(agent, "allow"))
    yield from ("--disallowedTools", *_DENIED, *programs.option_list(agent, "deny"))


def _files(job: Job) -> Iterator[tuple[str, str]]:
    scope = os.path.join(job.folder, "scope.json")
    hook = {"type": "command", "command": guard.command(scope), "timeout": guard.TIMEOUT}
    yield "scope.json", guard.scope_text(job.scope, job.worktree)
    yield "settings.json", json.dumps({"hooks": {"PreToolUse": [{"matcher": guard.MATCHER, "hooks": [hook]}]}})
    text = programs.instructions(job.repository, ("CLAUDE.md", ".claude/CLAUDE.md", "AGENTS.md"))
    if text:
        yield "instructions.md", programs.told(text)


def _environment(agent: Agent) -> dict[str, str]:
    quiet = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1"}
    state = {name: os.environ[name] for name in _STATE if os.environ.get(name)}
    return {name: value for name, value in {**quiet, **state}.items() if name not in agent.environment}


def hosts(agent: Agent) -> tuple[str, ...]:
    """Its model's host, or that of the gateway that is configured instead, and where it renews its sign-in."""
    base = urlsplit(agent.environment.get("ANTHROPIC_BASE_URL", ""))
    if base.hostname:
        return (f"{base.hostname}:{base.port or (80 if base.scheme == 'http' else 443)}",)
    return _HOSTS


def _config_folder() -> str:
    return os.environ.get("CLAUDE_CONFIG_DIR") or os.path.join(programs.home(), ".claude")


def _state() -> tuple[str, ...]:
    return (_config_folder(), os.path.join(programs.home(), ".claude.json"))


def _goes_on(job: Job) -> bool:
    return programs.goes_on(job, _conversations())


def _conversations() -> str:
    return os.path.join(_config_folder(), "projects", "*", "{conversation}.jsonl")


def _key(agent: Agent) -> str | None:
    return next((name for name in _KEYS if agent.environment.get(name)), None)
