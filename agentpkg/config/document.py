"""YAML text with the line of every key.

Read as a tree of nodes, not by a loader: so each value keeps its line and the very text that was written, doubled
keys are seen, and aliases that multiply are stopped by a budget of nodes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

import yaml

from agentpkg.core.model import Problem

#: a key's place: ``("review", "checks", 0, "run")``
Path = tuple[str | int, ...]

#: bytes; a larger file is refused unread
MAX_SIZE = 1 << 20

_DEEPEST = 20
#: more values than a configuration written by a person has; aliases may multiply
_MOST = 20_000


class _Loader(yaml.SafeLoader):
    """The safe loader without dates: ``2026-01-01`` is text here."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the name and kind that PyYAML looks for
        first: [(tag, pattern) for tag, pattern in rules if tag != "tag:yaml.org,2002:timestamp"]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


@dataclass(slots=True)
class Document:
    """What a YAML file says.

    Attributes:
        values: the top-level mapping as plain values; empty when the text cannot be read.
        lines: the 1-based line of each key and list item, by its path.
        texts: each scalar as it was written, by its path: ``PORT: 0080`` keeps its zeros.
        problems: all that is wrong with the YAML itself.
    """

    file: str
    values: dict[str, Any] = field(default_factory=dict)
    lines: dict[Path, int] = field(default_factory=dict)
    texts: dict[Path, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line(self, path: Path) -> int:
        """The line of ``path``, or of the nearest enclosing key that has one; the first when none has."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def shown(value: object) -> str:
    """A value for a message: short, on one line."""
    text = value if isinstance(value, str) else repr(value)
    text = " ".join(text.split())
    return text if len(text) <= 80 else text[:77] + "…"


def read_file(path: FilePath) -> bytes:
    """The bytes of a file of people's; none where there is no file.

    Raises:
        OSError: it is no file, larger than 1 MiB, or cannot be read.
    """
    if not path.exists():
        return b""
    if not path.is_file():
        raise OSError("it is no file")
    with path.open("rb") as file:
        data = file.read(MAX_SIZE + 1)
    if len(data) > MAX_SIZE:
        raise OSError("it is larger than 1 MiB")
    return data


def read(text: str, file: str) -> Document:
    """Reads YAML whose top level is a mapping. Never raises for bad text: the problems are in the document."""
    document = Document(file)
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        document.problems.append(_syntax_problem(error, file))
        return document
    except RecursionError:
        document.problems.append(Problem(file, 1, "", "nested too deeply"))
        return document
    if node is None:
        return document
    if not isinstance(node, yaml.MappingNode):
        document.problems.append(Problem(file, node.start_mark.line + 1, "", "should be `key: value` lines"))
        return document
    document.values = _value(node, (), document)
    return document


def scalar(text: str) -> Any:
    """One value as YAML reads it (``8``, ``true``, ``[a, b]``); the text itself where it is no YAML."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError:
        return text


def _syntax_problem(error: yaml.YAMLError, file: str) -> Problem:
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be read"
    return Problem(file, mark.line + 1 if mark else 1, "", f"not valid YAML: {what}")


def _value(node: yaml.Node, path: Path, document: Document) -> Any:
    if len(path) > _DEEPEST or len(document.lines) + len(document.texts) > _MOST:
        _stop(node, document)
        return None
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, document)
    if isinstance(node, yaml.SequenceNode):
        return [_item(child, (*path, index), document) for index, child in enumerate(node.value)]
    document.texts[path] = node.value
    return _scalar(node, path, document)


def _stop(node: yaml.Node, document: Document) -> None:
    problem = Problem(document.file, node.start_mark.line + 1, "", "nested too deeply, or too much of it")
    if problem not in document.problems:
        document.problems.append(problem)


def _item(node: yaml.Node, path: Path, document: Document) -> Any:
    document.lines[path] = node.start_mark.line + 1
    return _value(node, path, document)


def _mapping(node: yaml.MappingNode, path: Path, document: Document) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            document.problems.append(Problem(document.file, line, "", "a key should be a plain word"))
            continue
        here = (*path, key.value)
        if key.value in out:
            first = document.lines[here]
            document.problems.append(Problem(document.file, line, key.value, f"given twice, first in line {first}"))
            continue
        document.lines[here] = line
        out[key.value] = _value(value, here, document)
    return out


def _scalar(node: yaml.Node, path: Path, document: Document) -> Any:
    try:
        return _Loader("").construct_object(node, deep=True)
    except (yaml.YAMLError, ValueError) as error:
        what = getattr(error, "problem", None) or str(error)
        document.problems.append(Problem(document.file, node.start_mark.line + 1, shown(node.value), what))
        return None


def pick(values: Mapping[str, Any], path: Path) -> Any:
    """The value at ``path``, None when there is none."""
    found: Any = values
    for step in path:
        try:
            found = found[step]
        except (KeyError, IndexError, TypeError):
            return None
    return found
