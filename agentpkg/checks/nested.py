"""Repositories that lie in the tree as plain files.

git takes a folder with ``HEAD``, ``objects`` and ``refs`` for a bare repository, without any ``.git``, and obeys the
configuration and hooks that lie in it: whoever walks into it and asks for the status runs what the package wrote there.
"""

from collections.abc import Iterable, Mapping, Sequence

from agentpkg.checks.base import GOVERNANCE, Finding, ReviewContext, named
from agentpkg.checks.tree import Blob

_OBJECTS = frozenset(("head", "objects", "refs"))
_LINKED = frozenset(("head", "commondir"))


def check(context: ReviewContext, changed: Sequence[str], after: Mapping[str, Blob]) -> list[Finding]:
    """Fails a package that changes such a folder, unless its file names the folder as its own."""
    named_here = [*context.wp.owned_files, *context.wp.deliverables]
    found = [
        folder for folder in repositories(after)
        if any(path.startswith(f"{folder}/") for path in changed) and not _is_named(folder, named_here)
    ]  # fmt: skip
    if not found:
        return []
    said = f"git takes {named(found)} for a repository, and would run what its configuration and hooks say"
    return [Finding(GOVERNANCE, "repositories", "fail", said, {"folders": found})]


def repositories(paths: Iterable[str]) -> list[str]:
    """The folders below the root that git takes for a repository, on a system that ignores case too (pure)."""
    names: dict[str, set[str]] = {}
    for path in paths:
        parts = path.split("/")
        for depth in range(1, len(parts)):
            names.setdefault("/".join(parts[:depth]), set()).add(parts[depth].casefold())
    return sorted(folder for folder, inside in names.items() if inside >= _OBJECTS or inside >= _LINKED)


def _is_named(folder: str, patterns: Iterable[str]) -> bool:
    return any(f"{line.lstrip('/')}/".startswith(f"{folder}/") for line in patterns)
