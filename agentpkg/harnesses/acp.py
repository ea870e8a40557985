"""Any agent that speaks the Agent Client Protocol on its standard streams: gemini, opencode, goose, claude-code-acp, …

Its requests for permission are answered by the package's scope. What it needs no permission for, by its own
configuration, agentpkg does not hear of; the review looks at all that was committed.
"""

import json
import os
from collections.abc import Mapping, Sequence

from agentpkg.core.errors import Lacking
from agentpkg.harnesses import acp_goose, acp_messages, claude_code, programs
from agentpkg.harnesses.acp_stream import AcpReader
from agentpkg.harnesses.base import Agent, Job, Launch, Reader

#: how agents that are known by name are started in this protocol, and how they are installed
KNOWN: Mapping[str, tuple[tuple[str, ...], str]] = {
    "gemini": (("gemini", "--acp", "--skip-trust"), "npm install -g @google/gemini-cli"),
    "opencode": (("opencode", "acp"), "npm install -g opencode-ai"),
    "goose": (("goose", "acp"), "npm install -g @aaif/goose-acp"),
    "claude-code-acp": (("claude-code-acp",), "npm install -g @zed-industries/claude-code-acp"),
    "claude-agent-acp": (("claude-agent-acp",), "npm install -g @agentclientprotocol/claude-agent-acp"),
}

#: adapters of Claude Code, which leave what they keep, and go, where it does
_OF_CLAUDE = ("claude-code-acp", "claude-agent-acp")

#: variables by program: have it ask before it changes anything, and leave alone what the project's folder would add
_ENVIRONMENT: Mapping[str, Mapping[str, str]] = {
    "opencode": {
        "OPENCODE_PERMISSION": json.dumps({"edit": "ask", "bash": "ask", "external_directory": "ask"}),
        "OPENCODE_DISABLE_AUTOUPDATE": "1", "OPENCODE_DISABLE_PROJECT_CONFIG": "1",
    },
    "goose": {"GOOSE_MODE": "approve"},
}  # fmt: skip

#: capabilities of extensions that a program's own words take
_WANTED = {"goose": acp_goose.WANTED}

#: the mode in which a program asks before it changes anything, where it begins in another one: the newer adapter of
#: Claude Code begins in ``auto``, in which its model decides on permissions
_ASKING = dict.fromkeys(_OF_CLAUDE, "default")

_WRITES = {
    "gemini": (".gemini",), "opencode": (".local/share/opencode", ".config/opencode", ".cache/opencode"),
    "goose": (".config/goose", ".local/share/goose"),
    **dict.fromkeys(_OF_CLAUDE, (".claude", ".claude.json")),
}  # fmt: skip

_CONVERSATIONS = dict.fromkeys(_OF_CLAUDE, (".claude/projects/*/{conversation}.jsonl",))

_HOSTS = {
    "gemini": ("generativelanguage.googleapis.com:443", "cloudcode-pa.googleapis.com:443", "oauth2.googleapis.com:443"),
}  # fmt: skip


class AcpHarness:
    """``command: [program, argument, …]`` that speaks the protocol."""

    name = "acp"

    def problem(self, agent: Agent, repository: str) -> str | None:
        """Why it cannot be started, None when it can."""
        command, install = _command(agent)
        if not command:
            return "its `command` is missing: the program with what makes it speak ACP, as [gemini, --acp]"
        return programs.missing(agent, command[0], install)

    def program(self, agent: Agent) -> str | None:
        """The program's absolute path."""
        command, _ = _command(agent)
        return programs.find(agent, command[0]) if command else None

    def version_command(self, agent: Agent) -> tuple[str, ...] | None:
        """``--version``, which all that are known have."""
        found = self.program(agent)
        known = found is not None and os.path.basename(found) in KNOWN
        return (found, "--version") if found and known and not os.path.basename(found).startswith("claude-") else None

    def launch(self, agent: Agent, job: Job) -> Launch:
        """The program for one session. Raises :class:`~agentpkg.core.errors.Lacking` when it is not installed."""
        command, install = _command(agent)
        if not command:
            raise Lacking(
                f"agent {agent.name}: {self.problem(agent, job.repository)}", f"set agents.{agent.name}.command",
                code="program_missing",
            )  # fmt: skip
        program = programs.require(agent, command[0], install)
        name = os.path.basename(program)
        preset = _ENVIRONMENT.get(name, {})
        return Launch(
            argv=(program, *command[1:]), stdin=acp_messages.initialize(_WANTED.get(name)).decode(), keep_stdin=True,
            env={key: value for key, value in preset.items() if key not in agent.environment},
            reads=tuple(programs.reads(program)), hosts=_hosts(name, agent),
            writes=_in_home(_WRITES.get(name, ())), conversations=_in_home(_CONVERSATIONS.get(name, ())),
            files={"options.json": json.dumps(_for_reader(name, agent, job), default=str)},
        )  # fmt: skip

    def reader(self, job: Job | None = None) -> Reader:
        """Speaks with it."""
        options = _options(job)
        mode = options.get("mode")
        also = frozenset(map(str, programs.items(options.get("allow"))))
        return AcpReader(job, mode if isinstance(mode, str) else None, also, programs.mapping(options.get("meta")))


def _hosts(program: str, agent: Agent) -> tuple[str, ...]:
    return claude_code.hosts(agent) if program in _OF_CLAUDE else _HOSTS.get(program, ())


def _in_home(places: Sequence[str]) -> tuple[str, ...]:
    return tuple(os.path.join(programs.home(), place) for place in places)


def _for_reader(program: str, agent: Agent, job: Job) -> dict[str, object]:
    """The agent's options, and what sessions of a program that is known by name begin with."""
    cap = job.allowance.get("cost_usd") if program in _OF_CLAUDE else None
    # Claude Code's adapters tell money at the end of a turn only, so that the program itself has to watch it
    meta = {"claudeCode": {"options": {"maxBudgetUsd": float(cap)}}} if cap else {}
    return {"mode": _ASKING.get(program), **agent.options, "meta": meta}


def _options(job: Job | None) -> Mapping[str, object]:
    """The agent's options, as its launch left them for the reader, which runs in another process."""
    try:
        with open(os.path.join(job.folder if job else "", "options.json"), encoding="utf-8") as file:
            return programs.mapping(json.load(file))
    except (OSError, ValueError):
        return {}


def _command(agent: Agent) -> tuple[tuple[str, ...], str]:
    known = KNOWN.get(agent.name)
    if agent.command:
        return agent.command, known[1] if known else "its maker's instructions"
    return known if known else ((), "")
