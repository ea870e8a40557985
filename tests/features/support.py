"""Work package files for tests."""

from collections.abc import Iterable
from pathlib import Path

from agentpkg.core.model import Feature, Problem
from agentpkg.features.folder import find_features, load_feature
from agentpkg.features.parse import Parsed, parse_work_package
from tests.support.repos import write


def package_text(wp: str = "WP01", more: str = "", title: str = "Title") -> str:
    """A good file, with more lines of front matter."""
    return f"---\nwork_package_id: {wp}\ntitle: {title}\n{more}---\n\n# Task\n"


def parsed(more: str = "", *, lenient: bool = False, agents: Iterable[str] | None = None, **given: str) -> Parsed:
    """A good file ``WP01-x.md`` of feature ``003-auth``, read with more lines of front matter."""
    configured = None if agents is None else frozenset(agents)
    text = package_text(more=more, **given)
    return parse_work_package(text.encode(), "features/003-auth/tasks/WP01-x.md", "003-auth", lenient, configured)


def loaded(root: Path, files: dict[str, str], feature: str = "003-auth", **options: object) -> Feature:
    """Writes files below ``features/`` and loads one feature."""
    write(root / "features", files)
    ref = next(ref for ref in find_features(root) if ref.id == feature)
    return load_feature(ref, root, **options)  # type: ignore[arg-type]


def said(problems: Iterable[Problem]) -> str:
    """Problems as text, one a line."""
    return "\n".join(str(problem) for problem in problems)
