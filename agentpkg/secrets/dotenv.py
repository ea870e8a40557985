r"""``NAME=value`` lines, as in ``.env`` files.

Blank lines and lines that begin with ``#`` are passed over, ``export`` before a name is allowed. A value in single
quotes is taken as it is; in double quotes ``\n``, ``\t``, ``\"``, ``\\`` and ``\$`` are read and the value may go over
several lines; without quotes it goes to the end of the line, or to `` #``. Nothing is expanded.
"""

import re

_LINE = re.compile(
    r"""^[ \t]*(?:export[ \t]+)?(?P<name>[A-Za-z_][A-Za-z0-9_.-]*)[ \t]*=[ \t]*
    (?:'(?P<single>[^']*)'|"(?P<double>(?:[^"\\]|\\.)*)"|(?P<bare>[^\n]*?))
    [ \t]*(?:(?:^|(?<=[\s'"]))\#[^\n]*)?\r?$""",
    re.MULTILINE | re.DOTALL | re.VERBOSE,
)
_COLON = re.compile(r"""^[ \t-]*["']?[\w.-]+["']?[ \t]*:[ \t]+(.+?),?[ \t]*\r?$""", re.MULTILINE)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}

#: characters of the shortest value of a copied file that is worth redacting
SHORTEST = 8


def parse(text: str) -> dict[str, str]:
    """The values by name; of a name given twice, the last. Lines that are none of the above are passed over."""
    out: dict[str, str] = {}
    for match in _LINE.finditer(text):
        out[match["name"]] = _value(match)
    return out


def values_of(data: bytes) -> tuple[str, ...]:
    """The values in a file that was copied into a worktree, such as ``.env``, which must not show up in logs.

    ``NAME=value`` and ``name: value`` lines are read; what is shorter than eight characters is left out.
    """
    text = data.decode("utf-8", "surrogateescape")
    stated = [
        *parse(text).values(),
        *re.findall(r"""^[ \t-]*["']?[\w.-]+["']?[ \t]*:[ \t]+(.+?),?[ \t]*\r?$""", text, re.M),
    ]
    bare = (value.strip().strip("\"'") for value in stated)
    return tuple(dict.fromkeys(value for value in bare if len(value) >= SHORTEST))


def _value(match: re.Match[str]) -> str:
    if match["single"] is not None:
        return match["single"]
    if match["double"] is not None:
        return _ESCAPE.sub(lambda found: _ESCAPES.get(found.group(1), found.group(1)), match["double"])
    return match["bare"].strip()
