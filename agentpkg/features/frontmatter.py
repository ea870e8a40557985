"""YAML as people write it, with the line of every value, safe for any bytes.

The text is read as a stream of parser events and put together here, never by PyYAML's composer or constructor: its C
composer dies of deep nesting (a segmentation fault, not an exception), and aliases would let a small file stand for
a huge one. Dates, and whatever carries a tag of its own, stay text.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from agentpkg.core.model import Problem

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RESOLVER = yaml.resolver.Resolver()
_CONSTRUCTOR = yaml.constructor.SafeConstructor()
_TAG = "tag:yaml.org,2002:"

_DEEPEST = 30
_LONGEST_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Located:
    """A value and where it stands.

    Attributes:
        value: None, bool, int, float, str, a list of :class:`Located`, or a dict of them by key.
        line: 1-based line of the file.
        text: a scalar as it was written, without its quotes.
    """

    value: Any
    line: int
    text: str = ""


class Unreadable(Exception):
    """The YAML itself is wrong at one line; nothing after it can be read."""

    def __init__(self, line: int, value: str, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.value = value
        self.message = message


def shown(value: object) -> str:
    """A value for a message: one short line."""
    if isinstance(value, Located):
        value = _written(value)
    line = " ".join(str(value).split())
    return line if len(line) <= _LONGEST_SHOWN else line[: _LONGEST_SHOWN - 1] + "…"


def _written(located: Located) -> str:
    """A value as a person would have written it on one line."""
    if isinstance(located.value, dict):
        return "{" + ", ".join(f"{key}: {_written(item)}" for key, item in located.value.items()) + "}"
    if isinstance(located.value, list):
        return "[" + ", ".join(map(_written, located.value)) + "]"
    return located.text


def plain(located: Located) -> Any:
    """The value without its places, as JSON has it."""
    if isinstance(located.value, dict):
        return {key: plain(value) for key, value in located.value.items()}
    if isinstance(located.value, list):
        return [plain(item) for item in located.value]
    return located.value


def split(text: str) -> tuple[str, str, int] | None:
    """A file's front matter, the text after it, and the line that text begins in; None when it has no front matter.

    The front matter is what stands between a first line ``---`` and the next line ``---`` (or ``...``).
    """
    if not re.match(r"---[ \t]*\n", text):
        return None
    end = re.compile(r"^(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.MULTILINE).search(text, text.index("\n") + 1)
    if end is None:
        return None
    head = text[text.index("\n") + 1 : end.start()]
    return head, text[end.end() :], head.count("\n") + 3


def read_mapping(text: str, file: str, first_line: int = 1) -> tuple[dict[str, Located], list[Problem]]:
    """Reads YAML whose top level is a mapping.

    Args:
        text: the YAML.
        file: the name for problems.
        first_line: the line of the file that ``text`` begins in.

    Returns:
        The values by key, empty when the text cannot be read, and all that is wrong with the YAML.
    """
    problems: list[Problem] = []
    try:
        root = _Builder(file, first_line, problems).build(text)
    except Unreadable as error:
        return {}, [*problems, Problem(file, error.line, error.value, error.message)]
    if root is None or root.value is None:
        return {}, problems
    if not isinstance(root.value, dict):
        return {}, [*problems, Problem(file, root.line, shown(root), "should be `key: value` lines")]
    return root.value, problems


@dataclass(slots=True)
class _Frame:
    """A list or mapping that is being read; a mapping's keys and values alternate in ``items``."""

    line: int
    items: list[Located]


class _Builder:
    """Puts the events of one document together."""

    def __init__(self, file: str, first_line: int, problems: list[Problem]) -> None:
        self.file = file
        self.first_line = first_line
        self.problems = problems
        self.frames = [_Frame(first_line, [])]

    def build(self, text: str) -> Located | None:
        documents = 0
        for event in self._events(text):
            documents += isinstance(event, yaml.DocumentStartEvent)
            if documents > 1:
                raise Unreadable(self._line(event), "---", "should be one YAML document")
            self._take(event)
        items = self.frames[0].items
        return items[0] if items else None

    def _events(self, text: str) -> Iterator[Any]:
        try:
            yield from yaml.parse(text, Loader=_LOADER)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + self.first_line if mark else self.first_line
            raise Unreadable(line, "", f"not valid YAML: {error.problem or error.context}") from error
        except yaml.YAMLError as error:
            line, bad = _unprintable(text)
            raise Unreadable(line + self.first_line, bad, "a character that YAML does not allow; remove it") from error

    def _line(self, event: Any) -> int:
        return int(event.start_mark.line) + self.first_line

    def _take(self, event: Any) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self.frames[-1].items.append(Located(_scalar(event), self._line(event), event.value))
        elif isinstance(event, yaml.AliasEvent):
            raise Unreadable(self._line(event), f"*{event.anchor}", "aliases are not read here; write the value out")
        elif isinstance(event, yaml.CollectionStartEvent):
            self._open(event)
        elif isinstance(event, yaml.SequenceEndEvent):
            frame = self.frames.pop()
            self.frames[-1].items.append(Located(frame.items, frame.line))
        elif isinstance(event, yaml.MappingEndEvent):
            frame = self.frames.pop()
            self.frames[-1].items.append(Located(self._mapping(frame), frame.line))

    def _open(self, event: Any) -> None:
        if len(self.frames) > _DEEPEST:
            raise Unreadable(self._line(event), "", f"nested more than {_DEEPEST} levels deep")
        self.frames.append(_Frame(self._line(event), []))

    def _mapping(self, frame: _Frame) -> dict[str, Located]:
        out: dict[str, Located] = {}
        for key, value in zip(frame.items[::2], frame.items[1::2], strict=True):
            if isinstance(key.value, list | dict):
                self.problems.append(Problem(self.file, key.line, shown(key), "a key should be a plain word"))
            elif key.text in out:
                first = out[key.text].line
                message = f"the key stands twice, first in line {first}; keep one"
                self.problems.append(Problem(self.file, key.line, key.text, message))
            else:
                # the key's line: that of a value below it would point at the wrong place for "is missing"
                out[key.text] = Located(value.value, key.line, value.text)
        return out


def _scalar(event: Any) -> Any:
    tag = event.tag
    if tag is None or tag == "!":
        tag = _RESOLVER.resolve(yaml.ScalarNode, event.value, event.implicit)  # type: ignore[no-untyped-call]
    node = yaml.ScalarNode(tag, event.value)
    try:
        if tag == _TAG + "int":
            return _CONSTRUCTOR.construct_yaml_int(node)
        if tag == _TAG + "float":
            return _CONSTRUCTOR.construct_yaml_float(node)
        if tag == _TAG + "bool":
            return _CONSTRUCTOR.construct_yaml_bool(node)
    except (ValueError, KeyError):
        # `!!int x`, or a number of five thousand digits: text, which the reader of the key then refuses
        return event.value
    return None if tag == _TAG + "null" else event.value


def _unprintable(text: str) -> tuple[int, str]:
    """Where the first character stands that YAML refuses (lines before it, its code)."""
    found = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if found is None:
        return 0, ""
    return text.count("\n", 0, found.start()), f"U+{ord(found.group()):04X}"
