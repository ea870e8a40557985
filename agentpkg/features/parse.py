"""The text of a work package file to a :class:`~agentpkg.core.model.WorkPackage`, or all that is wrong with it."""

import difflib
import hashlib
import re
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Literal

from agentpkg.core.model import Problem, State, WorkPackage
from agentpkg.features.decode import decode
from agentpkg.features.fields import Fields
from agentpkg.features.frontmatter import Located, read_mapping, split
from agentpkg.features.paths import always_forbidden, bad_pattern, has_control_character, unsafe

#: what no package may change whatever it says, with the features folder a repository configures
ALWAYS_FORBIDDEN = (".kittify", "features", "kitty-specs")

KEYS = (
    "work_package_id", "title", "dependencies", "deliverables", "owned_files", "forbidden_paths", "requirement_refs",
    "acceptance", "secrets", "agent", "model", "timeout_seconds", "retries", "estimate", "priority", "approval", "lane",
    "subtasks", "tags",
)  # fmt: skip

# digits are ASCII ones, and an id is at most as long as a token of a subject may be
_ID = re.compile(r"WP[0-9]{2,62}")
_FILE_ID = re.compile(r"(WP[0-9]+)")
_DEPENDENCY = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_-]{0,63}/)?WP[0-9]{2,62}")
_SECRET = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_AMOUNT = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhdw])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}
#: ten years, in seconds: beyond it a clock or a database would fail instead of a reader
_LONGEST = 315_360_000


@dataclass(frozen=True, slots=True)
class Parsed:
    """What one file gives.

    Attributes:
        id: the id that the file declares or, where that is no id, the one in its name; ``""`` without either.
        line: where the id stands.
        dependencies: what it depends on and the line of each, also where the rest of the file is bad.
        requirement_refs: the same of ``requirement_refs``.
        package: None when there are problems.
    """

    file: str
    id: str
    line: int
    dependencies: tuple[tuple[str, int], ...] = ()
    requirement_refs: tuple[tuple[str, int], ...] = ()
    package: WorkPackage | None = None
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()


def parse_estimate(value: object) -> int | None:
    """Seconds of an estimate: ``3d``, ``90m``, ``1.5h``, ``1w 2d``, or a number of seconds; None when it is none.

    s = 1, m = 60, h = 3600, d = 24 h, w = 7 d.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if 0 <= value <= _LONGEST else None
    if not isinstance(value, str) or not re.fullmatch(rf"(?:{_AMOUNT.pattern}\s*)+", value.strip()):
        return None
    seconds = int(sum(Fraction(amount) * _UNITS[unit] for amount, unit in _AMOUNT.findall(value)))
    return seconds if seconds <= _LONGEST else None


def parse_work_package(
    data: bytes,
    file: str,
    feature: str,
    lenient: bool = False,
    agents: Container[str] | None = None,
    forbidden: Iterable[str] = ALWAYS_FORBIDDEN,
) -> Parsed:
    """Reads a work package file. Never raises for what is in it.

    Args:
        data: the file.
        file: its path relative to the work tree; problems and the package name it.
        feature: the feature's id.
        lenient: the rules of ``kitty-specs/``: ``P1`` is a priority, ``''`` is null, an agent that is not configured
            is a warning and gives way to the default.
        agents: the configured agents' names; None: do not look.
        forbidden: the folders that no package may change.
    """
    in_name = _FILE_ID.match(file.rsplit("/", 1)[-1])
    file_id = in_name.group(1) if in_name else ""
    text, problems = decode(data, file)
    if problems:
        return Parsed(file, file_id, 0, problems=tuple(problems))
    parts = split(text)
    if parts is None:
        message = "no front matter; begin the file with a line ---, `key: value` lines, and a line ---"
        return Parsed(file, file_id, 1, problems=(Problem(file, 1, _first_line(text), message),))
    values, problems = read_mapping(parts[0], file, first_line=2)
    fields = Fields(values, file, lenient, problems)
    reader = _Reader(fields, feature, file_id, agents, tuple(forbidden), parsed=not problems or bool(values))
    return reader.read(parts[1], hashlib.sha256(data).hexdigest())


def _first_line(text: str) -> str:
    return text.partition("\n")[0][:80]


@dataclass(slots=True)
class _Reader:
    """Reads the keys of one file, in the order of their documentation."""

    fields: Fields
    feature: str
    file_id: str
    agents: Container[str] | None
    forbidden: tuple[str, ...]
    #: False when the YAML could not be read at all: then its keys are not missing, but unknown
    parsed: bool

    def read(self, body: str, digest: str) -> Parsed:
        fields = self.fields
        wp, line = self._id()
        dependencies = self._dependencies()
        refs = fields.texts("requirement_refs") or []
        package = WorkPackage(
            id=wp,
            title=self._title(),
            feature=self.feature,
            path=fields.file,
            dependencies=tuple(dict.fromkeys(name for name, _ in dependencies)),
            deliverables=self._checked("deliverables", unsafe),
            owned_files=self._checked("owned_files", bad_pattern),
            forbidden_paths=self._checked("forbidden_paths", bad_pattern),
            requirement_refs=_texts(refs),
            acceptance=_texts(self._clean(fields.texts("acceptance") or [], multiline=True)),
            secrets=self._secrets(),
            agent=self._agent(),
            # other tools keep tags of their own kinds in that folder's files
            tags=() if fields.lenient else _texts(fields.texts("tags") or []),
            model=fields.text("model"),
            timeout_seconds=fields.integer("timeout_seconds", 1, _LONGEST),
            retries=fields.integer("retries", 0, 1000),
            estimate_seconds=self._estimate(),
            priority=self._priority(),
            approval=self._approval(),
            lane=self._lane(),
            subtasks=_texts(fields.texts("subtasks") or []),
            body=body.lstrip("\n"),
            digest=digest,
        )
        self._warn_of_forbidden()
        self._warn_of_misspelt()
        return Parsed(
            fields.file,
            wp,
            line,
            dependencies,
            tuple((str(ref.value).strip(), ref.line) for ref in refs),
            None if fields.problems else package,
            tuple(fields.problems),
            tuple(fields.warnings),
        )

    def _id(self) -> tuple[str, int]:
        given = self.fields.get("work_package_id")
        if given is None:
            self._missing("work_package_id", self.file_id or "WP01")
            return self.file_id, 1
        if not isinstance(given.value, str) or not _ID.fullmatch(given.value):
            self.fields.wrong(given, "`work_package_id` should be WP and at least two digits, for example WP02")
            return self.file_id, given.line
        if given.value != self.file_id:
            begin = f"the file's name begins with {self.file_id}" if self.file_id else "the file's name has no id"
            self.fields.wrong(given, f"the id differs from the file name: {begin}; rename one of them")
        return given.value, given.line

    def _missing(self, key: str, example: str) -> None:
        if self.parsed:
            at = self.fields.values.get(key)
            message = f"`{key}` is missing; write `{key}: {example}`"
            self.fields.problems.append(Problem(self.fields.file, at.line if at else 1, "", message))

    def _title(self) -> str:
        given = self.fields.get("title")
        if given is None:
            self._missing("title", "What is to be done")
            return ""
        title = self.fields.text("title") or ""
        if has_control_character(title):
            # it becomes the subject of a commit message, below which trailers stand
            self.fields.wrong(given, "`title` should be one line without control characters")
        return title

    def _dependencies(self) -> tuple[tuple[str, int], ...]:
        out: list[tuple[str, int]] = []
        for item in self.fields.texts("dependencies") or []:
            name = item.value.strip().removeprefix(f"{self.feature}/")
            if _DEPENDENCY.fullmatch(name):
                out.append((name, item.line))
            else:
                self.fields.wrong(item, "a dependency should be an id: WP01, or 002-billing/WP04 of another feature")
        return tuple(out)

    def _checked(self, key: str, judge: Callable[[str], str | None]) -> tuple[str, ...]:
        items = self.fields.texts(key) or []
        for item in items:
            wrong = judge(item.value.strip())
            if wrong:
                self.fields.wrong(item, wrong)
            elif "::" in item.value:
                self.fields.warn(item, "taken as a path, which no file has: name the file, without `::`")
        return _texts(items)

    def _clean(self, items: list[Located], *, multiline: bool = False) -> list[Located]:
        for item in items:
            text = item.value.replace("\n", "").replace("\t", "") if multiline else item.value
            if has_control_character(text):
                self.fields.wrong(item, "it has a control character; remove it")
        return items

    def _secrets(self) -> tuple[str, ...] | None:
        items = self.fields.texts("secrets")
        for item in items or []:
            if not _SECRET.fullmatch(item.value.strip()):
                self.fields.wrong(item, "a secret's name should be letters, digits and _, for example JWT_SECRET")
        return None if items is None else _texts(items)

    def _agent(self) -> str | None:
        name = self.fields.text("agent")
        if name is None or self.agents is None or name in self.agents:
            return name
        at = self.fields.values["agent"]
        if self.fields.lenient:
            self.fields.warn(at, "this agent is not configured; the default is used")
        else:
            self.fields.wrong(at, "this agent is not configured; see `agentpkg agents list`, or leave the key out")
        return None

    def _estimate(self) -> int | None:
        given = self.fields.get("estimate")
        if given is None:
            return None
        seconds = parse_estimate(given.value)
        if seconds is None:
            self.fields.wrong(given, "`estimate` should be a number with s, m, h, d or w, for example 3d")
        return seconds

    def _priority(self) -> int:
        given = self.fields.get("priority")
        if given is not None and self.fields.lenient and re.fullmatch(r"P[0-9]", given.text):
            return 9 - int(given.text[1])
        return self.fields.integer("priority", -1_000_000, 1_000_000) or 0

    def _approval(self) -> Literal["none", "required"]:
        given = self.fields.get("approval")
        if given is not None and given.value == "required":
            return "required"
        if given is not None and given.value != "none":
            self.fields.wrong(given, "`approval` should be none or required")
        return "none"

    def _lane(self) -> State:
        given = self.fields.get("lane")
        if given is None:
            return State.PLANNED
        if given.value in (State.DONE, State.CANCELLED):
            return State(given.value)
        if given.text.casefold() in ("done", "cancelled", "canceled"):
            self.fields.warn(given, "read as planned; write done or cancelled")
        return State.PLANNED

    def _warn_of_forbidden(self) -> None:
        for key in ("owned_files", "deliverables"):
            given = self.fields.get(key)
            for item in given.value if given is not None and isinstance(given.value, list) else ():
                if isinstance(item.value, str) and always_forbidden(item.value.strip(), self.forbidden):
                    self.fields.warn(item, f"in `{key}`, but always forbidden: a change there is refused")

    def _warn_of_misspelt(self) -> None:
        for key, value in self.fields.values.items():
            near = _near(key)
            if near and near not in self.fields.values:
                message = f"unknown, so ignored; is `{near}` meant?"
                self.fields.warnings.append(Problem(self.fields.file, value.line, key, message))


@lru_cache(maxsize=1024)
def _near(key: str) -> str | None:
    """The known key that an unknown one resembles; the same few keys stand in every file."""
    found = difflib.get_close_matches(key, KEYS, n=1, cutoff=0.85) if key not in KEYS else []
    return found[0] if found else None


def _texts(items: Iterable[Located]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(item.value).strip() for item in items))
