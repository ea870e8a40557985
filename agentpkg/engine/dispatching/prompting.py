"""What a package's agent is told: the files, the ledger and what finished dependencies changed, made into a prompt."""

import json
from collections.abc import Mapping

from agentpkg.config import Effective, agent_named, effective, load_constitution
from agentpkg.core.model import Feature, State, Verdict, WorkPackage
from agentpkg.core.records import CheckResult, PackageRow
from agentpkg.engine.dispatching import telling
from agentpkg.engine.judging import handoff
from agentpkg.engine.judging.frozen import store
from agentpkg.engine.landed import landed_on
from agentpkg.engine.project import Project
from agentpkg.git.diff import changed_paths, commits
from agentpkg.git.surface import public_surface
from agentpkg.prompts import Bundle, Change, Neighbour, PriorWork, PromptContext, build
from agentpkg.secrets import strip_controls
from agentpkg.secrets.resolve import allowed_variables
from agentpkg.views import Seen

#: characters of a check's evidence that the next agent gets to read
_EXCERPT = 4_000
#: of a conflict's, which holds both sides' changes
_CONFLICT = 11_000


def bundle(project: Project, feature: Feature, package: WorkPackage, agent: str | None = None) -> Bundle:
    """The prompt that an agent would get for a package right now; writes nothing.

    Args:
        agent: the agent's name, by default the package's own.
    """
    return build(context(project, feature, package, agent), project.work_tree / ".kittify" / "templates")


def context(project: Project, feature: Feature, package: WorkPackage, agent: str | None = None) -> PromptContext:
    """Everything the prompt is made of."""
    chosen = effective(project.loaded, feature, package)
    rows = _rows(project, feature.id)
    seen = Seen(feature, None, chosen.target_branch, rows)
    constitution = load_constitution(project.work_tree)
    return PromptContext(
        feature=feature, package=package, settings=project.settings,
        branch=_branch(project, feature.id, package.id, rows), target=chosen.target_branch,
        timeout_seconds=chosen.timeout_seconds,
        dependencies=tuple(_neighbour(project, feature, rows, name) for name in package.dependencies),
        dependents=tuple(
            _neighbour(project, feature, rows, p.id) for p in feature.packages.values() if package.id in p.dependencies
        ),
        done=sum(seen.state(wp) is State.DONE for wp in seen.ids()), total=len(seen.ids()),
        constitution=constitution.text if constitution else "",
        variables=tuple(sorted(_variables(project, package, agent or chosen.agent))),
        changes=tuple(c for name in package.dependencies if (c := _change(project, feature, name)) is not None),
        prior=prior_work(project, rows.get(package.id), chosen), policy=project.policy,
    )  # fmt: skip


def _rows(project: Project, feature: str) -> dict[str, PackageRow]:
    ledger = project.ledger_if_any
    return {row.wp: row for row in ledger.packages(feature)} if ledger else {}


def _branch(project: Project, feature: str, wp: str, rows: Mapping[str, PackageRow]) -> str:
    return (rows[wp].branch if wp in rows else None) or project.branch_name(feature, wp)


def _variables(project: Project, package: WorkPackage, agent: str | None) -> list[str]:
    if agent is None:
        return list(allowed_variables(project.settings.agent.environment, package.secrets))
    return list(allowed_variables(agent_named(project.settings, agent).environment, package.secrets))


def _neighbour(project: Project, feature: Feature, rows: Mapping[str, PackageRow], name: str) -> Neighbour:
    other, _, wp = name.rpartition("/")
    if other and other != feature.id:
        row = project.ledger_if_any.package(other, wp) if project.ledger_if_any else None
        file = project.read(other).packages.get(wp)
    else:
        row, file = rows.get(wp), feature.packages.get(wp)
    title = file.title if file else (row.title if row else name)
    return Neighbour(name, title, row.state if row else (file.lane if file else State.PLANNED))


# --------------------------------------------------------------------------- finished dependencies


def _change(project: Project, feature: Feature, name: str) -> Change | None:
    other, _, wp = name.rpartition("/")
    ledger = project.ledger_if_any
    row = ledger.package(other or feature.id, wp) if ledger else None
    if row is None or row.merge_commit is None:
        return None
    base = landed_on(project, row)
    git = project.repository.git
    if base is None or git.run("cat-file", "-e", f"{row.merge_commit}^{{commit}}", ok=(0, 1, 128)).returncode:
        return Change(name, row.title, row.merge_commit[:10])
    changes = changed_paths(git, base, row.merge_commit)
    surface = [f"{path}: {line}" for path, lines in public_surface(git, changes) for line in lines]
    subjects = [c.subject for c in commits(git, row.merge_commit, base) if len(c.parents) < 2]
    paths = [f"{c.status} {c.path}" for c in changes]
    return Change(name, row.title, row.merge_commit[:10], tuple(subjects), tuple(paths), tuple(surface))


# --------------------------------------------------------------------------- earlier tries


def prior_work(project: Project, row: PackageRow | None, chosen: Effective) -> PriorWork | None:
    """What earlier tries of a package left behind, None before the first."""
    ledger = project.ledger_if_any
    if row is None or ledger is None:
        return None
    sessions = ledger.sessions(row.feature, row.wp)
    feedback = _feedback(project, row)
    told = tuple(telling.kept(project, ledger, row.feature, row.wp))
    if not sessions and not feedback and not told:
        return None
    reviews = ledger.reviews(row.feature, row.wp)
    rejected = bool(reviews) and reviews[-1].verdict is Verdict.CHANGES_REQUESTED and reviews[-1].head == row.head
    last = sessions[-1] if sessions else None
    subjects, files = handoff.on_branch(project, row, chosen.target_branch)
    return PriorWork(
        attempt=max((s.epoch for s in sessions), default=0) + 1,
        reason=handoff.plain(project, row, _why(last.reason if last else None, rejected)),
        findings=tuple(_with_excerpt(project, c) for c in reviews[-1].checks) if rejected else (),
        conflict=rejected and any(_is_conflict(check) for check in reviews[-1].checks),
        feedback=feedback,
        told=told,
        commits=subjects,
        files=files,
        failure=handoff.failure(project, row, last) if last else "",
        left=handoff.left_over(project, row, last) if last else None,
        hand_off=handoff.last_words(project, row, last) if last else "",
    )


def _why(reason: str | None, rejected: bool) -> str:
    return "the review asked for changes" if rejected else (reason or "")


def _feedback(project: Project, row: PackageRow) -> str:
    """What a person wrote with a ``move`` or a ``deny``, unless a session has started since."""
    found = ""
    for entry in project.ledger.entries(row.feature, wp=row.wp):
        if entry.transition.endswith("->doing"):
            found = ""
        elif entry.metadata.get("kind") == "denial" and entry.metadata.get("reason"):
            found = f"{entry.actor} denied it: {entry.metadata['reason']}"
        elif entry.metadata.get("kind") == "feedback":
            data = store(project).get(str(entry.metadata["feedback"]))
            found = data.decode("utf-8", "replace") if data else ""
    return found


def _with_excerpt(project: Project, check: CheckResult) -> CheckResult:
    """A failed check with the end of what its command printed."""
    if check.status == "pass" or check.evidence is None:
        return check
    data = store(project).get(check.evidence)
    output = _output(data) if data else ""
    if not output:
        return check
    said = output[:_CONFLICT] if _is_conflict(check) else output[-_EXCERPT:]
    text = f"{check.detail}\n{said}"
    return CheckResult(check.group, check.name, check.status, strip_controls(text), check.evidence)


def _is_conflict(check: CheckResult) -> bool:
    return (check.group, check.name, check.status) == ("merge", "conflict", "fail")


def _output(data: bytes) -> str:
    try:
        document = json.loads(data)
    except ValueError:
        return data.decode("utf-8", "replace")
    found = document.get("data", {}) if isinstance(document, dict) else {}
    return str(found.get("output", "")) if isinstance(found, dict) else ""
