"""The shape of the settings, read off their types: which keys there are, and which environment variable sets each."""

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from agentpkg.config.document import Path
from agentpkg.config.settings import BUILT_IN_AGENTS, RESERVED, Settings

#: before the section in the name of an environment variable
ENVIRONMENT_PREFIX = "AGENTPKG_"


@cache
def variables() -> Mapping[str, Path]:
    """Each environment variable that sets a key: ``AGENTPKG_RUN_JOBS`` -> ``("run", "jobs")``."""
    return {ENVIRONMENT_PREFIX + "_".join(path).upper(): path for path in _leaves(Settings, ()) if path[0] != "agents"}


def known_keys(path: Path, root: Any = Settings) -> list[str]:
    """The keys that may stand below ``path``; none where any may.

    Args:
        root: the class of the whole file.
    """
    kind = _type_at(path, root)
    if not dataclasses.is_dataclass(kind):
        return list(BUILT_IN_AGENTS) if path == ("agents",) else []
    names = [field.name for field in dataclasses.fields(kind)]
    return names if path or root is not Settings else [*names, *RESERVED]


def takes_text(path: Path) -> bool:
    """Whether the value at ``path`` is text, so that ``123`` in a variable stays text."""
    kind = _type_at(path)
    return kind is str or (typing.get_origin(kind) is typing.Literal and path[-1] != "auto")


def takes_list(path: Path) -> bool:
    """Whether the value at ``path`` is a list."""
    return typing.get_origin(_type_at(path)) is tuple


def flat(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Each key of settings with its plain value, lists whole, in the order of the sections."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from flat(getattr(value, field.name), (*path, field.name))
    elif isinstance(value, dict) and value:
        for key, child in value.items():
            yield from flat(child, (*path, key))
    else:
        yield path, plain(value)


def plain(value: Any) -> Any:
    """Settings as lists, dicts and scalars, fit for JSON."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def _leaves(kind: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for field in dataclasses.fields(kind):
        here = (*path, field.name)
        below = _hints(kind)[field.name]
        # an optional part such as review.coverage is given whole
        if dataclasses.is_dataclass(below):
            yield from _leaves(below, here)
        else:
            yield here


def _type_at(path: Path, root: Any = Settings) -> Any:
    kind: Any = root
    for step in path:
        kind = _bare(kind)
        if dataclasses.is_dataclass(kind):
            kind = _hints(kind).get(str(step))
        elif typing.get_origin(kind) in (tuple, dict):
            kind = typing.get_args(kind)[0 if typing.get_origin(kind) is tuple else 1]
        else:
            return None
    return _bare(kind)


def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _bare(kind: Any) -> Any:
    """A type without ``| None``."""
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        return next(arm for arm in typing.get_args(kind) if arm is not types.NoneType)
    return kind
