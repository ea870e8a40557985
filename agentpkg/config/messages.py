"""What pydantic found, as problems a person can act on."""

import difflib
from collections.abc import Callable, Sequence
from typing import Any

from agentpkg.config.document import Path, shown
from agentpkg.config.schema import known_keys

#: a finding's kind -> what would be right, from its context
_RIGHT: dict[str, Callable[[dict[str, Any]], str]] = {
    "int_type": lambda _: "should be a whole number",
    "float_type": lambda _: "should be a number",
    "finite_number": lambda _: "should be a number",
    "bool_type": lambda _: "should be true or false",
    "string_type": lambda _: "should be text; put it in quotes",
    "tuple_type": lambda _: "should be a list, such as [a, b]",
    "dict_type": lambda _: "should be `key: value` lines",
    "dataclass_type": lambda _: "should be `key: value` lines",
    "greater_than_equal": lambda context: f"should be at least {context['ge']:g}",
    "less_than_equal": lambda context: f"should be at most {context['le']:g}",
    "value_error": lambda context: str(context["error"]),
    "missing": lambda _: "is missing",
}


def nearest(word: str, known: Sequence[str]) -> str:
    """``; did you mean `retries`?``, or the known words when none is near."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if close:
        return f"; did you mean `{close[0]}`?"
    return f"; known: {', '.join(known)}" if known else ""


def explain(
    error: Any, written: Callable[[Path], str | None], keys: Callable[[Path], Sequence[str]] = known_keys
) -> tuple[Path, str, str]:
    """One finding of pydantic's as ``(path, offending value, what is wrong)``.

    Args:
        written: the very text of the value at a path, None where there is none: ``yes`` and not ``True``.
        keys: the keys that may stand below a path.
    """
    path: Path = tuple(step for step in error["loc"] if step != "[key]")
    kind = error["type"]
    if kind == "unexpected_keyword_argument":
        key = str(path[-1])
        return path, key, "unknown key" + nearest(key, keys(path[:-1]))
    if kind == "missing":
        return path, str(path[-1]), _RIGHT[kind]({})
    text = None if "[key]" in error["loc"] else written(path)
    value = shown(error["input"] if text is None else text)
    if kind == "literal_error":
        return path, value, _choice(error)
    right = _RIGHT.get(kind)
    return path, value, right(error.get("ctx") or {}) if right else str(error["msg"])


def _choice(error: Any) -> str:
    expected = error["ctx"]["expected"].replace("'", "").replace(" or ", ", ")
    close = difflib.get_close_matches(str(error["input"]), expected.split(", "), n=1)
    return f"should be one of {expected}" + (f"; did you mean `{close[0]}`?" if close else "")
