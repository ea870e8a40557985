"""The adapters by name: the built-in ones, and what other packages offer as entry points ``agentpkg.harnesses``."""

from collections.abc import Mapping
from functools import cache
from importlib import import_module

from agentpkg.core.errors import BadInput
from agentpkg.harnesses.base import Harness

#: entry points of this group name a class or function that, called without arguments, gives a harness
ENTRY_POINTS = "agentpkg.harnesses"

#: the built-in adapters, each as its module and class: a supervisor imports the one that it needs. Other people's
#: cannot take their names.
HARNESSES: Mapping[str, tuple[str, str]] = {
    "command": ("command", "CommandHarness"),
    "replay": ("replay", "ReplayHarness"),
    "claude-code": ("claude_code", "ClaudeCodeHarness"),
    "codex": ("codex", "CodexHarness"),
    "acp": ("acp", "AcpHarness"),
    "aider": ("aider", "AiderHarness"),
}


def names() -> list[str]:
    """Every adapter's name, the built-in ones first."""
    return [*HARNESSES, *(name for name in _offered() if name not in HARNESSES)]


def harness_named(name: str) -> Harness:
    """The adapter of that name.

    Raises:
        BadInput: when there is none, or another package's cannot be loaded.
    """
    if name in HARNESSES:
        return _built_in(name)
    if name not in _offered():
        raise BadInput(
            f"no harness is called {name}",
            f"known ones: {', '.join(names())}; a package may add more as entry points {ENTRY_POINTS}",
            code="unknown_harness",
        )
    return _load(name)


@cache
def _built_in(name: str) -> Harness:
    module, adapter = HARNESSES[name]
    harness: Harness = getattr(import_module(f"{__name__}.{module}"), adapter)()
    return harness


def _offered() -> list[str]:
    # listing entry points reads the metadata of every installed package
    from importlib.metadata import entry_points

    return sorted({entry.name for entry in entry_points(group=ENTRY_POINTS)})


def _load(name: str) -> Harness:
    from importlib.metadata import entry_points

    entry = next(iter(entry_points(group=ENTRY_POINTS, name=name)))
    try:
        harness: Harness = entry.load()()
    except (ImportError, AttributeError, TypeError) as error:
        raise BadInput(
            f"harness {name} ({entry.value}) cannot be loaded: {error}",
            "update or remove the package that brings it",
            code="broken_harness",
        ) from error
    return harness
