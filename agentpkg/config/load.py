"""From text, environment and flags to settings, with the origin of every value and all problems at once."""

import difflib
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import TypeAdapter, ValidationError

from agentpkg.config import schema
from agentpkg.config.document import Document, Path, pick, read, read_file, scalar, shown
from agentpkg.config.messages import explain
from agentpkg.config.rules import broken_rules
from agentpkg.config.settings import RESERVED, Settings
from agentpkg.core.errors import BadInput
from agentpkg.core.model import Problem

#: where the configuration lies in a work tree
CONFIG_FILE = ".kittify/config.yaml"

#: flags whose name differs from the key they set
_FLAGS = {"agent.timeout_seconds": "--timeout", "agent.harness": "--agent"}

_SETTINGS = TypeAdapter(Settings)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings and where each of them comes from.

    Attributes:
        origins: by dotted key: ``default``, ``.kittify/config.yaml:12``, ``environment AGENTPKG_RUN_JOBS`` or
            ``flag --jobs``.
        digest: SHA-256 of the file's bytes, in hex; of nothing when there is no file.
        warnings: what was accepted but ignored.
    """

    settings: Settings
    origins: Mapping[str, str]
    digest: str
    warnings: tuple[Problem, ...] = ()

    def rows(self) -> list[tuple[str, Any, str]]:
        """``(dotted key, plain value, origin)`` of every effective value; a password in a URL is not shown."""
        rows = []
        for path, value in schema.flat(self.settings):
            key = ".".join(path)
            rows.append((key, _without_password(value) if key == "nats.url" and value else value, self.origin(key)))
        return rows

    def origin(self, key: str) -> str:
        """Where the value of a dotted key comes from."""
        return self.origins.get(key, "default")

    def variable_places(self, agent: str | None = None) -> dict[str, tuple[str, int]]:
        """File and line of each variable that an agent is configured with; the agent's own hide the common ones."""
        places = {}
        for section in ("agent", f"agents.{agent}"):
            prefix = f"{section}.environment."
            for key, origin in self.origins.items():
                file, _, line = origin.rpartition(":")
                if key.startswith(prefix):
                    places[key.removeprefix(prefix)] = (file, int(line)) if line.isdigit() else (origin, 0)
        return places


@dataclass(slots=True)
class _Layers:
    """The values of file, environment and flags, laid over each other."""

    document: Document
    values: dict[str, Any]
    #: path -> origin of what lies over the file
    over: dict[Path, str] = field(default_factory=dict)

    def lay(self, path: Path, value: Any, origin: str) -> None:
        place = self.values
        for step in path[:-1]:
            below = place.get(str(step), {})
            if not isinstance(below, dict):
                # wrong in the file, which is told; nothing can be laid over it
                return
            place[str(step)] = place = dict(below)
        place[str(path[-1])] = value
        self.over[path] = origin

    def origin(self, path: Path) -> str | None:
        for length in range(len(path), 0, -1):
            if path[:length] in self.over:
                return self.over[path[:length]]
        line = self.document.lines.get(path)
        return f"{self.document.file}:{line}" if line else None

    def written(self, path: Path) -> str | None:
        """A value as the file has it, None where something lies over it, or nothing is there."""
        laid = any(path[:length] in self.over for length in range(1, len(path) + 1))
        return None if laid else self.document.texts.get(path)

    def problem(self, path: Path, value: str, message: str) -> Problem:
        where = self.origin(path)
        laid = where if where in self.over.values() else None
        value = _without_password(value) if path == ("nats", "url") else value
        dotted = ".".join(str(step) for step in path)
        if laid:
            return Problem(laid, 0, value, f"{dotted} {message}")
        return Problem(self.document.file, self.document.line(path), value, f"{dotted}: {message}")


def load(work_tree: FilePath, environ: Mapping[str, str], flags: Mapping[str, Any] | None = None) -> Loaded:
    """The settings of a repository.

    Args:
        work_tree: the main work tree; a missing ``.kittify/config.yaml`` means defaults.
        environ: environment variables, of which ``AGENTPKG_<SECTION>_<KEY>`` are read.
        flags: values given on the command line, by dotted key (``run.jobs``); None means not given.

    Raises:
        BadInput: with every problem in ``details.problems``.
    """
    try:
        data = read_file(work_tree / CONFIG_FILE)
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise _refusal([Problem(CONFIG_FILE, line, "", "should be UTF-8 text")]) from None
    except OSError as error:
        raise _refusal([Problem(CONFIG_FILE, 1, "", f"cannot be read: {error.strerror or error}")]) from None
    return parse(text, CONFIG_FILE, environ, flags)


def parse(text: str, file: str, environ: Mapping[str, str], flags: Mapping[str, Any] | None = None) -> Loaded:
    """The settings that ``text`` describes, with environment and flags laid over it; arguments as for :func:`load`.

    Raises:
        BadInput: with every problem in ``details.problems``.
    """
    document = read(text, file)
    warnings = _set_aside_reserved(document)
    layers = _Layers(document, _with_written_environments(document))
    problems = [*document.problems, *_lay_environment(layers, environ)]
    _lay_flags(layers, flags or {})
    settings, found = _validate(layers)
    problems += found
    if problems or settings is None:
        raise _refusal(sorted(problems, key=lambda problem: problem.line))
    origins = {
        ".".join(path): origin for path, _ in schema.flat(settings) if (origin := layers.origin(path)) is not None
    }
    return Loaded(settings, origins, hashlib.sha256(text.encode()).hexdigest(), tuple(warnings))


def _refusal(problems: Sequence[Problem]) -> BadInput:
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return BadInput(
        f"the configuration is not good: {problems[0]}{more}",
        "correct it; `agentpkg config show` prints every value and where it comes from",
        code="bad_config",
        details={"problems": [problem.as_json() for problem in problems]},
    )


def _set_aside_reserved(document: Document) -> list[Problem]:
    found = [name for name in RESERVED if name in document.values]
    warnings = [
        Problem(document.file, document.line((name,)), name, "reserved for a later version; ignored") for name in found
    ]
    document.values = {key: value for key, value in document.values.items() if key not in RESERVED}
    return warnings


def _with_written_environments(document: Document) -> dict[str, Any]:
    """The file's values without empty sections; variables as they are written, so that ``PORT: 0080`` stays so."""
    values = {key: value for key, value in document.values.items() if value is not None}
    parents: list[Path] = [("agent",)]
    if isinstance(values.get("agents"), dict):
        values["agents"] = dict(values["agents"])
        parents += [("agents", name) for name in values["agents"]]
    for path in parents:
        section, environment = pick(values, path), pick(values, (*path, "environment"))
        if isinstance(environment, dict):
            here = (*path, "environment")
            written = {key: document.texts.get((*here, key), value) for key, value in environment.items()}
            holder = values if len(path) == 1 else values["agents"]
            holder[str(path[-1])] = {**section, "environment": written}
    return values


def _lay_environment(layers: _Layers, environ: Mapping[str, str]) -> list[Problem]:
    known = schema.variables()
    problems = []
    for name in sorted(environ):
        value = environ[name]
        if not value or not name.startswith(schema.ENVIRONMENT_PREFIX):
            continue
        if name in known:
            layers.lay(known[name], _from_variable(known[name], value), f"environment {name}")
        elif any(name.startswith(f"{schema.ENVIRONMENT_PREFIX}{part.upper()}_") for part in _sections()):
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean `{close[0]}`?" if close else ""
            problems.append(Problem(f"environment {name}", 0, shown(value), "sets no known key" + hint))
    return problems


def _sections() -> list[str]:
    return [name for name in schema.known_keys(()) if name not in RESERVED and name != "agents"]


def _from_variable(path: Path, text: str) -> Any:
    if text == "null":
        return None
    if schema.takes_text(path):
        return text
    value = scalar(text)
    if schema.takes_list(path) and not isinstance(value, list):
        return [part.strip() for part in text.split(",")]
    return value


def _lay_flags(layers: _Layers, flags: Mapping[str, Any]) -> None:
    for key, value in flags.items():
        if value is not None:
            name = _FLAGS.get(key, "--" + key.rpartition(".")[2].replace("_", "-"))
            layers.lay(tuple(key.split(".")), value, f"flag {name}")


def _validate(layers: _Layers) -> tuple[Settings | None, list[Problem]]:
    try:
        settings = _SETTINGS.validate_python(layers.values)
    except ValidationError as errors:
        found = [explain(error, layers.written) for error in errors.errors(include_url=False)]
        return None, [layers.problem(*one) for one in found]
    return settings, [layers.problem(*one) for one in broken_rules(settings)]


def _without_password(url: str | None) -> str:
    if not url:
        return ""
    return ",".join(_hidden(part.strip()) for part in url.split(","))


def _hidden(url: str) -> str:
    pieces = urlsplit(url)
    account, at, host = pieces.netloc.rpartition("@")
    if not at:
        return url
    user, colon, _ = account.partition(":")
    # a lone user is a token, and as secret as a password
    return urlunsplit(pieces._replace(netloc=f"{user}:***@{host}" if colon else f"***@{host}"))
