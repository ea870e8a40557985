"""A candidate that conflicts: with whom, where, and what both sides wanted; told to people and to its agent."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from agentpkg.checks.base import named, one_line
from agentpkg.core.model import WorkPackage
from agentpkg.core.records import CheckResult, PackageRow
from agentpkg.engine.judging import frozen
from agentpkg.engine.landed import landed_on
from agentpkg.engine.project import Project
from agentpkg.git.candidate import Conflict
from agentpkg.git.conflict import Place
from agentpkg.git.diff import commit_ids, read_commits
from agentpkg.git.repo import Git

# bounds on what is told, in characters or lines
_INTENT = 600
_DIFF = 2_400
_LINES = 12
_SIDES = 5
_PLACES = 10


@dataclass(frozen=True, slots=True)
class Side:
    """One of those that changed what is in conflict.

    Attributes:
        name: the package, or for a commit of nobody's its beginning and author.
        intent: what it wanted, in the words of its file or commit.
        commit: what landed.
        diff: what it changed in the files that are in conflict.
    """

    name: str
    title: str
    intent: str
    commit: str
    diff: str


def describe(
    project: Project, row: PackageRow, package: WorkPackage, conflict: Conflict, head: str, base: str
) -> CheckResult:  # fmt: skip
    """The failed check ``merge/conflict``, with all that is known about the conflict as its evidence."""
    control = project.control
    fork = control.run("merge-base", base, head, ok=(0, 1)).text or base
    others = _others(project, row, conflict.paths, fork, base)
    own = Side(row.wp, package.title, _intent(package), head, _diff(control, fork, head, conflict.paths))
    detail = _detail(conflict, others)
    data: dict[str, Any] = {
        "paths": list(conflict.paths), "places": [asdict(place) for place in conflict.places],
        "with": [asdict(side) for side in others], "own": asdict(own), "git": conflict.details,
        "output": _text(project, row, conflict, others, own),
    }  # fmt: skip
    evidence = frozen.store(project).put_json({
        "feature": row.feature, "wp": row.wp, "head": head, "base": base, "group": "merge", "name": "conflict",
        "status": "fail", "detail": detail, "data": data,
    })  # fmt: skip
    return CheckResult("merge", "conflict", "fail", detail, evidence)


def _detail(conflict: Conflict, others: Sequence[Side]) -> str:
    marked = {place.path for place in conflict.places}
    where = [*map(str, conflict.places), *(path for path in conflict.paths if path not in marked)]
    whom = named([f"{side.name} ({one_line(side.title, 60)})" for side in others])
    return one_line(f"conflicts{f' with {whom}' if whom else ''} in {named(where, 8)}")


# --------------------------------------------------------------------------- the other sides


def _others(project: Project, row: PackageRow, paths: Sequence[str], fork: str, base: str) -> list[Side]:
    """Whoever has changed these files on the target since the branch left it, newest first."""
    control = project.control
    line = list(reversed(commit_ids(control, base, fork, first_parent=True)))
    touching = set(control.run("rev-list", "--first-parent", f"{fork}..{base}", "--", *paths).text.split())
    owners = _owners(project, line)
    found: dict[str, Side] = {}
    for sha in (sha for sha in line if sha in touching):
        if len(found) < _SIDES:
            owner = owners.get(sha)
            side = _landed(project, row, owner, paths) if owner else _stranger(control, sha, paths)
            found.setdefault(side.name, side)
    return list(found.values())


def _owners(project: Project, line: Sequence[str]) -> dict[str, PackageRow]:
    """The package that each commit of the target came with: from its landed tip down to where it landed on."""
    landed = {one.merge_commit: one for one in project.ledger.packages() if one.merge_commit}
    found: dict[str, PackageRow] = {}
    owner, end = None, None
    for sha in line:
        if sha in landed:
            owner = landed[sha]
            end = landed_on(project, owner)
        elif sha == end:
            owner = None
        if owner is not None:
            found[sha] = owner
    return found


def _landed(project: Project, row: PackageRow, owner: PackageRow, paths: Sequence[str]) -> Side:
    name = owner.wp if owner.feature == row.feature else f"{owner.feature}/{owner.wp}"
    file = project.read(owner.feature).packages.get(owner.wp)
    tip = owner.merge_commit or ""
    before = landed_on(project, owner) or f"{tip}^1"
    return Side(
        name, owner.title, _intent(file) if file else owner.title, tip, _diff(project.control, before, tip, paths)
    )


def _stranger(control: Git, sha: str, paths: Sequence[str]) -> Side:
    [commit] = read_commits(control, [sha])
    before = commit.parents[0] if commit.parents else sha
    who = commit.author.partition(" <")[0]
    name = f"{sha[:10]} by {one_line(who, 40)}"
    return Side(name, commit.subject, commit.message.strip()[:_INTENT], sha, _diff(control, before, sha, paths))


def _intent(package: WorkPackage) -> str:
    """What a package is for: the beginning of its text."""
    return (package.body.strip() or package.title)[:_INTENT]


def _diff(control: Git, old: str, new: str, paths: Sequence[str]) -> str:
    found = control.run(
        "diff", "--no-color", "--no-ext-diff", "--no-textconv", old, new, "--", *paths, ok=(0, 128)
    ).stdout.decode("utf-8", "backslashreplace")
    return found if len(found) <= _DIFF else f"{found[:_DIFF]}\n… {len(found) - _DIFF} more characters"


# --------------------------------------------------------------------------- in words


def _text(project: Project, row: PackageRow, conflict: Conflict, others: Sequence[Side], own: Side) -> str:
    feature = project.ledger.feature(row.feature)
    target = feature.target if feature else "the target"
    parts = [conflict.details.strip()]
    if conflict.commit is not None:
        parts.append(f"The commit {conflict.commit[:10]} cannot be applied to {target}.")
    parts += [_place(place, target) for place in conflict.places[:_PLACES]]
    parts += [_side(side, f"{side.name} ({side.title}), which is on {target}, wanted") for side in others]
    parts.append(_side(own, f"{own.name} ({own.title}), this package, wants"))
    return "\n\n".join(part for part in parts if part)


def _place(place: Place, target: str) -> str:
    return "\n".join([
        f"{place.path}, line {place.ours[0]} on {target}, line {place.theirs[0]} on the branch",
        f"on {target}:", *_quoted(place.target), "on the branch:", *_quoted(place.branch),
    ])  # fmt: skip


def _quoted(lines: Sequence[str]) -> list[str]:
    more = [f"    … {len(lines) - _LINES} more lines"] if len(lines) > _LINES else []
    return [f"    {line[:200]}" for line in lines[:_LINES]] + more if lines else ["    (nothing)"]


def _side(side: Side, says: str) -> str:
    return f"{says}:\n{side.intent}\n\nIts change of these files:\n{side.diff or '(none)'}"
