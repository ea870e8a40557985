"""What a candidate needs of people, by the policy: pure but for the contents of manifests, which are given.

``forbidden`` fails the review; ``approval`` is a need, which waits for people before the candidate lands.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from agentpkg.checks import manifests, tree
from agentpkg.checks.base import GOVERNANCE, Finding, ReviewContext, canonical, named
from agentpkg.config.governance import Class, Policy
from agentpkg.core.model import WorkPackage
from agentpkg.core.patterns import Patterns
from agentpkg.core.records import Need
from agentpkg.git.repo import Git

#: bytes; of a larger manifest it is only known that it changed
_LARGEST_MANIFEST = 1 << 20
#: paths and names that a need keeps
_MOST = 50


@dataclass(frozen=True, slots=True)
class Touched:
    """What a candidate changes on the target, as far as the policy asks.

    Attributes:
        paths: every path that differs, sorted; a rename is both its names.
        dependencies: new ones by manifest; None where that manifest cannot be read.
        beyond: paths outside the package's ``owned_files``.
        approval: the package's own ``approval: required``.
    """

    paths: tuple[str, ...]
    dependencies: Mapping[str, Sequence[str] | None]
    beyond: tuple[str, ...] = ()
    approval: bool = False


def judge(policy: Policy, touched: Touched) -> tuple[list[Need], list[Need]]:
    """What is forbidden, and what needs an approval."""
    found = list(_actions(policy, touched))
    return [n for c, n in found if c == "forbidden"], [n for c, n in found if c == "approval"]


def touched(git: Git, before: Mapping[str, tree.Blob], after: Mapping[str, tree.Blob], wp: WorkPackage) -> Touched:
    """What lies between two trees of a package's."""
    paths = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))
    owned = Patterns(wp.owned_files) if wp.owned_files else None
    changed = [path for path in paths if path in after and manifests.is_manifest(path)]
    return Touched(
        tuple(paths), {path: _new(git, path, before.get(path), after[path]) for path in changed},
        tuple(path for path in paths if owned is not None and path not in owned), wp.approval == "required",
    )  # fmt: skip


def check(
    context: ReviewContext, before: Mapping[str, tree.Blob], after: Mapping[str, tree.Blob]
) -> tuple[list[Finding], list[Need]]:
    """The policy's findings on a candidate, and what it needs before it may land."""
    forbidden, needs = judge(context.definitions.policy, touched(context.control, before, after, context.wp))
    findings = [
        *(Finding(GOVERNANCE, f"policy: {n.action}", "fail", f"forbidden: {n.detail}", _data(n)) for n in forbidden),
        *(Finding(GOVERNANCE, f"policy: {n.action}", "warn", f"needs approval: {n.detail}", _data(n)) for n in needs),
    ]
    return findings, needs


def key(needs: Iterable[Need]) -> bytes:
    """The bytes by which needs are compared."""
    return canonical([[n.action, n.detail, list(n.paths)] for n in needs])


def _data(need: Need) -> dict[str, object]:
    return {"action": need.action, "paths": list(need.paths)}


def _new(git: Git, path: str, old: tree.Blob | None, new: tree.Blob) -> Sequence[str] | None:
    if new.mode in (tree.LINK, tree.SUBMODULE) or max(new.size, old.size if old else 0) > _LARGEST_MANIFEST:
        return None
    readable = old is not None and old.mode not in (tree.LINK, tree.SUBMODULE)
    before = tree.content(git, old) if old is not None and readable else None
    return manifests.new_dependencies(path, before, tree.content(git, new))


# --------------------------------------------------------------------------- actions


def _actions(policy: Policy, touched: Touched) -> Iterator[tuple[Class, Need]]:
    actions = policy.actions
    yield actions.merge, Need("merge", "it would land on the target", ())
    if touched.approval:
        yield "approval", Need("package", "the package asks for it (approval: required)", ())
    yield from _dependencies(actions.dependencies, touched)
    for action, lines in (("migrations", policy.patterns.migrations), ("workflows", policy.patterns.workflows)):
        yield from _under(actions.migrations if action == "migrations" else actions.workflows, action, lines, touched)
    for rule in policy.paths:
        for found, need in _under(rule.action, "paths", rule.match, touched):
            yield found, Need("paths", f"{rule.name or ', '.join(rule.match)}: {need.detail}", need.paths)
    if touched.beyond:
        yield _of_scope(actions.scope), Need("scope", f"beyond owned_files: {named([*touched.beyond])}",
                                             touched.beyond[:_MOST])  # fmt: skip


def _of_scope(found: Class) -> Class:
    """What is forbidden there fails the check of the scope itself."""
    return "autonomous" if found == "forbidden" else found


def _dependencies(found: Class, touched: Touched) -> Iterator[tuple[Class, Need]]:
    for path, names in touched.dependencies.items():
        if names is None:
            yield found, Need("dependencies", f"{named([path])} may name a new dependency", (path,))
        elif names:
            yield found, Need("dependencies", f"new in {named([path])}: {named([*names], 10)}", (path,))


def _under(found: Class, action: str, lines: Sequence[str], touched: Touched) -> Iterator[tuple[Class, Need]]:
    hit = under(lines, touched.paths)
    if hit:
        yield found, Need(action, named(hit), tuple(hit[:_MOST]))


def under(lines: Sequence[str], paths: Iterable[str]) -> list[str]:
    """The paths that patterns mean; a file or link in the place of a folder above what they mean is meant too."""
    # without the last slash a file or a link in a folder's place is meant as well
    patterns = Patterns([line.rstrip("/") for line in lines], fold=True)
    above = {folder.casefold() for line in lines for folder in _parents(line)}
    return [path for path in paths if path in patterns or path.casefold() in above]


def _parents(pattern: str) -> Iterator[str]:
    """The folders above what an anchored pattern means, as far as they are written out: ``.github`` and so on."""
    parts = pattern.strip("/").split("/")
    for length in range(1, len(parts)):
        if re.search(r"[*?\[\\]", parts[length - 1]):
            return
        yield "/".join(parts[:length])
