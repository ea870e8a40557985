"""Shared by harnesses of installed programs: where a program is, what it needs, what the project tells agents."""

import glob
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from agentpkg.core.errors import AgentpkgError, Lacking
from agentpkg.core.records import SessionEvent
from agentpkg.files import open_regular
from agentpkg.harnesses.base import Agent, Job

#: characters of one value of a tool's input, or of a result, that an event keeps
LONGEST = 4_000

#: the smallest part of an amount of money that is kept
_CENTS = Decimal("0.000001")

#: bytes of a file of a project's own instructions
_INSTRUCTIONS = 100_000


def find(agent: Agent, default: str) -> str | None:
    """The absolute path of an agent's program: the first word of its ``command``, else ``default`` on PATH."""
    first = agent.command[0] if agent.command else default
    found = shutil.which(os.path.expanduser(first))
    return os.path.abspath(found) if found else None


def missing(agent: Agent, default: str, install: str) -> str | None:
    """Why an agent's program cannot be started, None when it is there.

    Args:
        install: how to get it, as ``npm install -g …``.
    """
    if find(agent, default):
        return None
    if agent.command:
        return f"{agent.command[0]} is not found or not executable"
    return f"{default} is not on PATH; install it with `{install}`"


def require(agent: Agent, default: str, install: str) -> str:
    """The program's path. Raises :class:`Lacking` when it is not there."""
    found = find(agent, default)
    if found is None:
        raise Lacking(
            f"agent {agent.name}: {missing(agent, default, install)}",
            f"install it, or name the program in agents.{agent.name}.command",
            code="program_missing",
        )
    return found


def goes_on(job: Job, pattern: str) -> bool:
    """Whether a program still has the conversation of a job's last session: one that it lacks would end it at once.

    Args:
        pattern: see :attr:`agentpkg.harnesses.base.Launch.conversations`. At ``basic`` that is the user's own place;
            elsewhere what the last session kept counts.
    """
    if not job.resume:
        return False
    if job.isolation == "basic":
        # what stands before the first wildcard is a place, whatever characters it has
        place, _, rest = pattern.partition(f"{os.sep}*")
        return any(Path(place).glob("*" + rest.replace("{conversation}", glob.escape(job.resume))))
    return bool(job.kept) and any(job.resume in path.name for path in Path(job.kept).rglob("*"))


class Installed:
    """What the harnesses of one installed program each have in common; a harness adds how it is started and read.

    Attributes:
        called: the program's name on PATH.
        install: how to get it, as ``npm install -g …``.
    """

    called: str
    install: str

    def problem(self, agent: Agent, repository: str) -> str | None:
        """Why it cannot be started, None when it can."""
        return missing(agent, self.called, self.install)

    def program(self, agent: Agent) -> str | None:
        """The program's absolute path."""
        return find(agent, self.called)

    def version_command(self, agent: Agent) -> tuple[str, ...] | None:
        """The program with ``--version``."""
        found = self.program(agent)
        return (found, "--version") if found else None

    def required(self, agent: Agent) -> str:
        """The program's path. Raises :class:`Lacking` when it is not there."""
        return require(agent, self.called, self.install)


def reads(program: str) -> tuple[str, ...]:
    """What a program needs to be read: itself, what it is a link to, and the npm packages that it may lean on."""
    real = os.path.realpath(program)
    # the outermost: npm puts what several packages need beside them, and node looks there from the inside out
    packages = [str(folder) for folder in Path(real).parents if folder.name == "node_modules"]
    return tuple(dict.fromkeys((program, real, *packages[-1:])))


def option_list(agent: Agent, key: str) -> tuple[str, ...]:
    """A list of texts in an agent's ``options``; empty where there is none."""
    found = agent.options.get(key)
    if isinstance(found, str):
        return (found,)
    return tuple(map(str, found)) if isinstance(found, list | tuple) else ()


def home() -> str:
    """The user's home folder."""
    return os.path.expanduser("~")


def instructions(repository: str, names: Sequence[str]) -> str:
    """What the user's own work tree tells agents, from the first of these files that is there; empty if none is.

    ``@other.md`` on a line of its own stands for that file, as Claude Code has it.
    """
    for name in names:
        text = _text(Path(repository, name))
        if text.strip():
            lines = text.splitlines()
            return "\n".join(_imported(repository, line) for line in lines)
    return ""


def told(text: str) -> str:
    """The project's instructions, with a word of where they come from."""
    return f"The project's own instructions for coding agents, as its repository has them:\n\n{text}\n"


def _imported(repository: str, line: str) -> str:
    name = line.strip()
    if not name.startswith("@") or " " in name or ".." in name or name.startswith(("@/", "@~")):
        return line
    return _text(Path(repository, name[1:])) or line


def _text(path: Path) -> str:
    """A file's beginning; empty where there is none that can be read."""
    try:
        with open_regular(path, follow=True) as handle:
            found = os.read(handle, _INSTRUCTIONS + 1)
    except (OSError, AgentpkgError):
        return ""
    text = found[:_INSTRUCTIONS].decode("utf-8", "replace")
    return text if len(found) <= _INSTRUCTIONS else f"{text}\n[… the rest of {path.name} is left out …]"


# --------------------------------------------------------------------------- events


def short(text: str, limit: int = LONGEST) -> str:
    """The beginning of a text, and how much is missing."""
    return text if len(text) <= limit else f"{text[:limit]} [… {len(text) - limit} characters left out …]"


def bounded(value: Any, limit: int = LONGEST) -> Any:
    """JSON data with every text in it shortened, and without fractions."""
    if isinstance(value, str):
        return short(value, limit)
    if isinstance(value, float):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): bounded(one, limit) for key, one in list(value.items())[:100]}
    if isinstance(value, list | tuple):
        return [bounded(one, limit) for one in value[:100]]
    return value


#: what of a tool's input says most
_TELLING = ("file_path", "notebook_path", "command", "pattern", "path", "url", "query", "description", "prompt")


def telling(given: Mapping[str, Any]) -> str:
    """What of a tool's input says most, empty where nothing known does."""
    return next((str(given[key]) for key in _TELLING if given.get(key)), "")


def unknown(said: Mapping[str, Any], kind: str) -> SessionEvent:
    """An event that a harness does not know, kept as it is, within bounds."""
    return SessionEvent("other", kind, {"event": short(json.dumps(said, ensure_ascii=False, default=str))})


def money(value: object) -> str:
    """An amount of money out of JSON data as plain text, without what binary fractions add to it."""
    try:
        amount = Decimal(str(value)).quantize(_CENTS)
    except InvalidOperation:
        return str(value)
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".")


def whole(value: object) -> int:
    """A count out of JSON data; 0 for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def mapping(value: object) -> Mapping[str, Any]:
    """An object out of JSON data; empty for anything else."""
    return value if isinstance(value, Mapping) else {}


def items(value: object) -> list[Any]:
    """A list out of JSON data; empty for anything else."""
    return value if isinstance(value, list) else []
