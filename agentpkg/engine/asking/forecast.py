"""What a package will need of people, told before it is reviewed: from its branch, or from what its file plans."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from agentpkg.checks import governance, manifests, tree
from agentpkg.checks.governance import Touched
from agentpkg.config.governance import Policy
from agentpkg.core.model import Feature, WorkPackage
from agentpkg.core.patterns import Patterns
from agentpkg.core.records import Need
from agentpkg.engine.project import Project

#: files that name dependencies, by which a plan that could add one is known
_MANIFESTS = ("pyproject.toml", "requirements.txt", "package.json", "Cargo.toml", "go.mod", "setup.py", "pom.xml")


@dataclass(frozen=True, slots=True)
class Forecast:
    """What lies ahead of one package.

    Attributes:
        basis: ``branch``: what its branch changes; ``plan``: its deliverables and ``owned_files``.
        forbidden: what its review will fail for.
        needs: what must be approved.
        may: what would have to be approved if it does what it may but need not.
        may_not: what its review would fail for then.
    """

    wp: str
    basis: str
    forbidden: tuple[Need, ...]
    needs: tuple[Need, ...]
    may: tuple[Need, ...] = ()
    may_not: tuple[Need, ...] = ()


def forecast(project: Project, feature: Feature, wp: str) -> Forecast:
    """What a package will need; writes nothing."""
    package = feature.packages[wp]
    target = project.target_tip(project.target(feature))
    row = project.ledger_if_any.package(feature.id, wp) if project.ledger_if_any else None
    head = project.branch_tip((row.branch if row else None) or project.branch_name(feature.id, wp))
    base = _fork(project, head, target) if head is not None else None
    if head is None or base in (None, head):
        return _planned(project, project.policy, package, tree.files(project.repository.git, target))
    git = project.repository.git
    touched = governance.touched(git, tree.files(git, str(base)), tree.files(git, head), package)
    forbidden, needs = governance.judge(project.policy, touched)
    return Forecast(wp, "branch", tuple(forbidden), tuple(needs), tuple(_while_working(project.policy, package)))


def _fork(project: Project, head: str, target: str) -> str | None:
    found = project.repository.git.run("merge-base", head, target, ok=(0, 1))
    return found.text or None


def _planned(project: Project, policy: Policy, package: WorkPackage, files: Iterable[str]) -> Forecast:
    forbidden, needs = governance.judge(policy, _as_if(package, package.deliverables))
    possible = [*_owned(package, [*files, *_samples(policy)])]
    barred, asked = governance.judge(policy, _as_if(package, possible))
    told = {_rule(need) for need in (*forbidden, *needs)}
    may = tuple(need for need in (*asked, *_while_working(policy, package)) if _rule(need) not in told)
    may_not = tuple(need for need in barred if _rule(need) not in told)
    return Forecast(package.id, "plan", tuple(forbidden), tuple(needs), may, may_not)


def _while_working(policy: Policy, package: WorkPackage) -> Iterator[Need]:
    """What its agent may have to ask before there is anything to review."""
    if policy.actions.scope == "approval" and package.owned_files:
        yield Need("scope", "changes outside its owned_files", ())
    if policy.actions.network == "approval":
        yield Need("network", "hosts that the configuration does not name, while its agent works", ())


def _rule(need: Need) -> str:
    """What a need comes from: an action, or one rule of paths."""
    return f"paths {need.detail.partition(': ')[0]}" if need.action == "paths" else need.action


def _as_if(package: WorkPackage, paths: Sequence[str]) -> Touched:
    """As though these paths were changed; what a manifest will name is not known."""
    return Touched(
        tuple(sorted(set(paths))), {path: None for path in paths if manifests.is_manifest(path)},
        approval=package.approval == "required",
    )  # fmt: skip


def _owned(package: WorkPackage, paths: Iterable[str]) -> Iterator[str]:
    """Of these paths those that the package may change, and one path for each of its own patterns."""
    if not package.owned_files:
        yield from paths
        return
    patterns = Patterns(package.owned_files)
    yield from (path for path in paths if path in patterns)
    for line in package.owned_files:
        yield _sample(line)


def _samples(policy: Policy) -> Iterator[str]:
    """One path for each pattern of the policy, and the usual manifests."""
    yield from _MANIFESTS
    rules = [line for rule in policy.paths for line in rule.match]
    for line in (*policy.patterns.migrations, *policy.patterns.workflows, *rules):
        yield _sample(line)


def _sample(pattern: str) -> str:
    """A path that a pattern matches, by rule of thumb: ``infra/**`` gives ``infra/new``."""
    bare = re.sub(r"\[[^\]]*\]|\*+|\?", "new", pattern.strip("/"))
    return f"{bare}/new" if pattern.endswith("/") else bare
