"""A repository with a package's branch, and the candidate that would land it."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from agentpkg.checks.base import CheckSpec, Definitions, ReviewContext
from agentpkg.checks.evidence import EvidenceStore
from agentpkg.core.model import WorkPackage
from agentpkg.core.records import CheckResult
from agentpkg.git.control import open_control
from agentpkg.git.discover import discover
from tests.support.repos import commit, git

AGENT = "Test User <user@example.org>"

CONVENTION = r"^(feat|fix)\(WP01\): .+"

PASSING = "def test_it():\n    assert 1 + 1 == 2\n"


def candidate_of(repo: Path, base: str, head: str) -> str:
    """A merge commit with the head's tree."""
    tree = git(repo, "rev-parse", f"{head}^{{tree}}")
    return git(repo, "commit-tree", tree, "-p", base, "-p", head, "-m", "Merge")


def scene(
    repo: Path,
    change: Mapping[str, str],
    *,
    message: str = "feat(WP01): change",
    remove: tuple[str, ...] = (),
    wp: Mapping[str, Any] | None = None,
    **definitions: Any,
) -> ReviewContext:
    """A context whose package commits ``change`` on the tip of main."""
    base = git(repo, "rev-parse", "main")
    git(repo, "checkout", "-q", "-B", "feat/x-WP01", base)
    for path in remove:
        git(repo, "rm", "-q", path)
    head = commit(repo, change, message)
    git(repo, "checkout", "-q", "main")
    return context_for(repo, base, head, wp=wp, **definitions)


def context_for(
    repo: Path, base: str, head: str, wp: Mapping[str, Any] | None = None, **definitions: Any
) -> ReviewContext:
    found = discover(repo)
    return ReviewContext(
        feature="001-x",
        wp=WorkPackage(
            id="WP01", title="A package", feature="001-x", path="features/001-x/tasks/WP01.md", **(wp or {})
        ),
        control=open_control(found),
        outside=(found.work_tree, found.common_dir),
        base=base,
        head=head,
        candidate=candidate_of(repo, base, head),
        definitions=Definitions(**{"commit_expression": CONVENTION, **definitions}),
        identities=frozenset({AGENT}),
        tracked_changes=(),
    )


def checks(*runs: str, **more: Any) -> tuple[CheckSpec, ...]:
    return tuple(CheckSpec(f"check{number}", "test-quality", run, **more) for number, run in enumerate(runs, 1))


def store(tmp_path: Path) -> EvidenceStore:
    return EvidenceStore(tmp_path / "evidence")


def named(results: tuple[CheckResult, ...], name: str) -> CheckResult:
    (found,) = [result for result in results if result.name == name]
    return found


def owning(context: ReviewContext, **fields: Any) -> ReviewContext:
    return replace(context, wp=replace(context.wp, **fields))
