"""Placeholders in the command line of an agent: ``{prompt_path}`` and its kin.

Only a lower-case word in single braces is one. ``${HOME}`` of a shell and ``{{.Names}}`` of a template stay as they
are; who needs the literal text ``{print}`` writes ``{{print}}``.
"""

import re
from collections.abc import Mapping

#: what a command may name
PLACEHOLDERS = ("prompt_path", "task_path", "worktree", "session", "feature", "wp", "model")

_WORD = re.compile(r"\{\{([a-z_][a-z0-9_]*)\}\}|(?<![$\{])\{([a-z_][a-z0-9_]*)\}")


def unknown(text: str, known: tuple[str, ...] = PLACEHOLDERS) -> list[str]:
    """The placeholders in ``text`` that are not in ``known``."""
    return [name for _, name in _WORD.findall(text) if name and name not in known]


def expand(text: str, values: Mapping[str, str]) -> str:
    """``text`` with each placeholder replaced, in one pass: a value that looks like one is not looked at again.

    Raises ``KeyError`` for a name that ``values`` lacks.
    """
    return _WORD.sub(lambda match: "{" + match.group(1) + "}" if match.group(1) else values[match.group(2)], text)
