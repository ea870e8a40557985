"""``meta.yaml`` and ``meta.json`` of a feature: both are read as YAML would be, with lines, or as strict JSON."""

import json
import re
from collections.abc import Mapping
from typing import Any

from agentpkg.core.model import Problem
from agentpkg.features.fields import Fields
from agentpkg.features.frontmatter import Located, plain, read_mapping

_TITLE_KEYS = ("friendly_name", "title", "name")
#: what `git check-ref-format` refuses in the name of a branch
_BAD_BRANCH = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|^[-/.]|/\.|[/.]$|\.lock(?:/|$)|^@$|^HEAD$|^refs/heads/")


def read_meta(text: str, file: str, lenient: bool) -> tuple[Fields, Mapping[str, Any]]:
    """A feature's meta.

    Args:
        text: the file.
        file: its name for problems; ``.json`` is read as JSON.
        lenient: whether ``''`` counts as null.

    Returns:
        The keys with their places and all problems, and the plain values.
    """
    values, problems = _from_json(text, file) if file.endswith(".json") else read_mapping(text, file)
    return Fields(values, file, lenient, problems), {key: plain(value) for key, value in values.items()}


def title(fields: Fields) -> str:
    """The feature's title, on one line; ``""`` when meta gives none."""
    for key in _TITLE_KEYS:
        found = fields.text(key)
        if found:
            return found
    return ""


def target_branch(fields: Fields) -> str | None:
    """The branch that the feature's packages merge into, None when meta gives none."""
    name = fields.text("target_branch")
    if name is not None and _BAD_BRANCH.search(name):
        fields.wrong(fields.values["target_branch"], "`target_branch` should be the name of a branch, for example main")
        return None
    return name


def budget(fields: Fields) -> dict[str, str]:
    """The feature's own budget, amounts as text by unit; empty when meta gives none.

    .. code-block:: yaml

        budget: {cost_usd: 20, tokens: 5000000}
    """
    found = fields.get("budget")
    if found is None:
        return {}
    if not isinstance(found.value, dict) or not found.value:
        fields.wrong(found, "`budget` should be {cost_usd: 20, tokens: 5000000}, or one of them")
        return {}
    for key, one in found.value.items():
        kinds = {"cost_usd": (int, float), "tokens": (int,)}.get(key)
        if kinds is None:
            fields.wrong(one, f"`budget` has cost_usd and tokens, but no {key}")
        elif isinstance(one.value, bool) or not isinstance(one.value, kinds) or not 0 < one.value < 1e15:
            fields.wrong(one, f"`budget.{key}` should be a {'whole ' if key == 'tokens' else ''}number above 0")
    return {key: str(one.value) for key, one in found.value.items()}


def _from_json(text: str, file: str) -> tuple[dict[str, Located], list[Problem]]:
    problems: list[Problem] = []
    try:
        values = json.loads(text or "{}")
    except json.JSONDecodeError as error:
        return {}, [Problem(file, error.lineno, "", f"not valid JSON: {error.msg}")]
    except (RecursionError, ValueError) as error:
        return {}, [Problem(file, 1, "", f"not readable JSON: {error}")]
    if not isinstance(values, dict):
        return {}, [Problem(file, 1, "", "should be an object: {…}")]
    return {key: _located(value, _line_of(key, text)) for key, value in values.items()}, problems


def _line_of(key: str, text: str) -> int:
    """The line of a key: JSON readers keep none. A key of the same name deeper down may stand before it."""
    found = re.search(rf"^ {{0,4}}\t?{{?\s*{re.escape(json.dumps(key, ensure_ascii=False))}\s*:", text, re.MULTILINE)
    return text.count("\n", 0, found.start()) + 1 if found else 1


def _located(value: Any, line: int) -> Located:
    if isinstance(value, dict):
        return Located({str(key): _located(item, line) for key, item in value.items()}, line)
    if isinstance(value, list):
        return Located([_located(item, line) for item in value], line)
    return Located(value, line, value if isinstance(value, str) else json.dumps(value))
