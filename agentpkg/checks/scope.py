"""May this package change these paths? Patterns are those of gitignore, relative to the repository's root."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agentpkg.checks.base import ReviewContext
from agentpkg.core.patterns import Patterns


@dataclass(frozen=True, slots=True)
class OutOfScope:
    """Changed paths that the package may not change, each with the rule it breaks."""

    #: path and pattern
    forbidden: tuple[tuple[str, str], ...]
    not_allowed: tuple[str, ...]
    not_owned: tuple[str, ...]


def forbidding(context: ReviewContext) -> tuple[Patterns, ...]:
    """What this package must not touch: always, by configuration, by its own file; none can take another back."""
    # without the last slash a file or a link in a folder's place is meant as well
    always = [pattern.rstrip("/") for pattern in context.definitions.always_forbidden]
    sources = (always, context.definitions.forbidden_paths, context.wp.forbidden_paths)
    return tuple(Patterns(lines, fold=True) for lines in sources)


def judge(context: ReviewContext, paths: Iterable[str]) -> OutOfScope:
    """Which of the changed ``paths`` are out of scope.

    In scope is what is in ``allowed_paths`` and in ``owned_files``, each where given, and in no forbidden path.
    """
    changed = sorted(set(paths))
    barred = forbidding(context)
    allowed = context.definitions.allowed_paths
    return OutOfScope(
        tuple((path, rule) for path in changed if (rule := next(filter(None, (p.match(path) for p in barred)), None))),
        _outside(changed, allowed),
        _outside(changed, context.wp.owned_files),
    )


def _outside(paths: list[str], lines: Sequence[str]) -> tuple[str, ...]:
    if not lines:
        return ()
    patterns = Patterns(lines)
    return tuple(path for path in paths if path not in patterns)
