"""The public surface a change added: signatures that a later work package may want to use."""

import re
from collections.abc import Sequence

from agentpkg.git.diff import EXECUTABLE, FILE, Change, read_objects
from agentpkg.git.repo import Git

#: a line that declares something at the top level, by file ending; first group is what is shown
_DECLARATIONS: dict[str, re.Pattern[str]] = {
    "py": re.compile(r"((?:async )?def [A-Za-z]\w*.*?|class [A-Za-z]\w*.*?):?\s*(?:#.*)?$"),
    "rs": re.compile(r"(pub (?:unsafe |async |const )*(?:fn|struct|enum|trait|type|mod|const|static) .*?)\s*[{;]?\s*$"),
    "go": re.compile(r"((?:func (?:\([^)]*\) )?|type )[A-Z]\w*.*?)\s*\{?\s*$"),
    "js": re.compile(r"(export .*?)\s*[{;]?\s*$"),
    "java": re.compile(r"(public (?:abstract |final |sealed )*(?:class|interface|enum|record) .*?)\s*\{?\s*$"),
    "c": re.compile(r"((?:struct|enum|union|typedef|class|namespace) \w+.*?|[A-Za-z_][\w\s*]*\([^;{]*\))\s*[{;]?\s*$"),
    "rb": re.compile(r"((?:def|class|module) [A-Za-z]\S*.*?)\s*$"),
}
_SAME = {
    "pyi": "py", "ts": "js", "tsx": "js", "jsx": "js", "mjs": "js", "kt": "java", "cs": "java", "h": "c", "hpp": "c",
}  # fmt: skip

#: bytes of a file that are looked at
_FILE_LIMIT = 1 << 18
_WIDTH = 160


def public_surface(git: Git, changes: Sequence[Change], limit: int = 60) -> list[tuple[str, list[str]]]:
    """Top-level declarations that a change added, by path; a hint for people and agents, not a parser.

    Args:
        changes: with sizes, as of :func:`agentpkg.git.diff.changed_paths`.
        limit: the most declarations in all; the last line then says that there are more.
    """
    found: list[tuple[str, list[str]]] = []
    left = limit
    for change, pattern in _readable(changes):
        names = _added(git, change, pattern)
        if not names:
            continue
        shown = names[:left]
        found.append((change.path, shown + ([f"… {len(names) - left} more"] if len(names) > left else [])))
        left -= len(shown)
        if left <= 0:
            break
    return found


def _readable(changes: Sequence[Change]) -> list[tuple[Change, re.Pattern[str]]]:
    out = []
    for change in changes:
        ending = change.path.rpartition(".")[2].lower()
        pattern = _DECLARATIONS.get(_SAME.get(ending, ending))
        if pattern and change.mode_new in (FILE, EXECUTABLE) and change.size <= _FILE_LIMIT:
            out.append((change, pattern))
    return out


def _added(git: Git, change: Change, pattern: re.Pattern[str]) -> list[str]:
    before = _declared(git, change.blob_old, pattern) if change.mode_old in (FILE, EXECUTABLE) else []
    known = set(before)
    return [name for name in _declared(git, change.blob_new, pattern) if name not in known]


def _declared(git: Git, blob: str, pattern: re.Pattern[str]) -> list[str]:
    [(_, data)] = read_objects(git, [blob])
    lines = data[:_FILE_LIMIT].decode("utf-8", "replace").split("\n")
    found = (pattern.match(line) for line in lines if line and not line[0].isspace() and len(line) <= 1000)
    return [match[1][:_WIDTH] for match in found if match]
