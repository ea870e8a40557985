"""Codex (npm ``@openai/codex``), driven by ``codex exec --json`` without a terminal.

Flags and events were measured on version 0.169; see docs/agents.md. Its sandbox makes everything but the worktree and
the parts of the private git dir that a commit needs read-only; a hook knows the package's scope.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

from agentpkg.harnesses import guard, programs
from agentpkg.harnesses.base import GIT_DIR, Agent, Job, Launch, Reader, SignIn
from agentpkg.harnesses.codex_stream import CodexReader
from agentpkg.harnesses.mailbox import ANSWERED

PROGRAM = "codex"
INSTALL = "npm install -g @openai/codex"

#: its model's, and where it renews its sign-in; another provider's goes under ``agents.NAME.network``
_HOSTS = ("api.openai.com:443", "chatgpt.com:443", "auth.openai.com:443")

#: below the session's folder: the sandbox's only folder for temporary files
_TEMPORARY = "tmp"

#: characters of the project's instructions: as many as Codex reads of them by itself
_LONGEST_INSTRUCTIONS = 32_768


class CodexHarness(programs.Installed):
    """``codex exec`` with its JSON events, in its own sandbox where agentpkg's isolation is no stronger one."""

    name = "codex"
    called, install = PROGRAM, INSTALL

    def sign_in_command(self, agent: Agent) -> tuple[str, ...] | None:
        """``codex login status``, unless a configured variable signs it in."""
        found = self.program(agent)
        return (found, "login", "status") if found and not agent.environment.get("CODEX_API_KEY") else None

    def sign_in(self, agent: Agent, exit_code: int, said: str) -> SignIn:
        """What the status says."""
        if agent.environment.get("CODEX_API_KEY"):
            return SignIn(True, "by CODEX_API_KEY in agent.environment")
        if exit_code == 0:
            return SignIn(True, said.strip().splitlines()[-1] if said.strip() else "signed in")
        return SignIn(False, "run `codex login`, or set CODEX_API_KEY in agent.environment")

    def launch(self, agent: Agent, job: Job) -> Launch:
        """The program for one session. Raises :class:`~agentpkg.core.errors.Lacking` when it is not installed."""
        program = self.required(agent)
        scope = guard.scope_text(job.scope, job.worktree, job.patience)
        files = {"scope.json": scope, f"{_TEMPORARY}/.keep": "", f"{ANSWERED}/.keep": ""}
        return Launch(
            argv=(program, *agent.command[1:], *_arguments(agent, job)), stdin=job.prompt, files=files,
            env=_environment(agent, job), writes=(_home(),), reads=(
                *programs.reads(program), *guard.reads(),
            ), hosts=_HOSTS, conversations=(_conversations(),),
        )  # fmt: skip

    def reader(self, job: Job | None = None) -> Reader:
        """Understands its JSON events."""
        return CodexReader(job.used if job and _goes_on(job) else {}, Path(job.private) if job else None)


def _arguments(agent: Agent, job: Job) -> Iterator[str]:
    # resuming knows fewer flags than beginning; both know -c
    yield "exec"
    if job.resume and _goes_on(job):
        yield from ("resume", job.resume)
    yield from ("--json", "-c", 'approval_policy="never"')
    for setting in (*_instructions(job), *_sandbox(agent, job), _hook(job)):
        yield from ("-c", setting)
    # of agentpkg's own hook, and of the user's
    yield "--dangerously-bypass-hook-trust"
    if job.model:
        yield from ("--model", job.model)
    yield "-"


def _goes_on(job: Job) -> bool:
    return programs.goes_on(job, _conversations())


def _conversations() -> str:
    return os.path.join(_home(), "sessions", "*", "*", "*", "*{conversation}*")


def _instructions(job: Job) -> Iterator[str]:
    # hooks and settings of the project's folder may be another agent's; what it tells agents is told all the same
    yield f'projects={{{_toml(job.worktree)}={{trust_level="untrusted"}}}}'
    text = programs.instructions(job.repository, ("AGENTS.md", "CLAUDE.md"))
    if text:
        yield f"developer_instructions={_toml(programs.told(programs.short(text, _LONGEST_INSTRUCTIONS)))}"


def _sandbox(agent: Agent, job: Job) -> Iterator[str]:
    mode = _mode(agent, job)
    yield f"sandbox_mode={_toml(mode)}"
    if mode != "workspace-write":
        return
    network = "true" if agent.options.get("network") is True else "false"
    # a git dir stays read-only below a writable folder, unless it is named by itself
    roots = (GIT_DIR, *(os.path.join(job.private, name) for name in ("objects", "refs/heads", "logs/refs/heads")),
             os.path.join(job.folder, _TEMPORARY))  # fmt: skip
    writable = ",".join(map(_toml, roots))
    yield (
        f"sandbox_workspace_write={{writable_roots=[{writable}],network_access={network},"
        "exclude_slash_tmp=true,exclude_tmpdir_env_var=true}"
    )


def _mode(agent: Agent, job: Job) -> str:
    """A sandbox of its own cannot be made within a stronger isolation, and is not needed there."""
    chosen = agent.options.get("sandbox")
    if isinstance(chosen, str):
        return chosen
    own = "read-only" if job.read_only else "workspace-write"
    return own if job.isolation == "basic" else "danger-full-access"


def _hook(job: Job) -> str:
    command = _toml(guard.command(os.path.join(job.folder, "scope.json")))
    # the hook itself waits for a person, and a program runs a tool whose hook takes too long
    timeout = guard.TIMEOUT + job.patience
    return f'hooks.PreToolUse=[{{matcher="*",hooks=[{{type="command",command={command},timeout={timeout}}}]}}]'


def _toml(text: str) -> str:
    """A TOML basic string; JSON's escapes are among its own."""
    return json.dumps(text, ensure_ascii=False)


def _environment(agent: Agent, job: Job) -> dict[str, str]:
    state = {"CODEX_HOME": os.environ["CODEX_HOME"]} if os.environ.get("CODEX_HOME") else {}
    inside = {"TMPDIR": os.path.join(job.folder, _TEMPORARY)} if _mode(agent, job) == "workspace-write" else {}
    return {name: value for name, value in {**state, **inside}.items() if name not in agent.environment}


def _home() -> str:
    return os.environ.get("CODEX_HOME") or os.path.join(programs.home(), ".codex")
