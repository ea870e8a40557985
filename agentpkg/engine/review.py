"""Judging a package: make the candidate that would land, run the checks on it, record the verdict.

There is one review per (branch tip, target tip, definitions); asked again it answers from the record.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from agentpkg import files
from agentpkg.checks import pipeline
from agentpkg.checks.base import GOVERNANCE, Finding, ReviewContext
from agentpkg.checks.definitions import definitions, definitions_key
from agentpkg.checks.evidence import EvidenceStore
from agentpkg.core import states
from agentpkg.core.errors import Lacking, NotAllowed
from agentpkg.core.model import CheckResult, PackageRow, ReviewRow, State, Verdict, WorkPackage
from agentpkg.engine import approvals, frozen, transition
from agentpkg.engine.enclosure import enclosure
from agentpkg.engine.project import Project
from agentpkg.features.spec import find_requirements
from agentpkg.git import candidate, worktrees
from agentpkg.git.discover import admin_dir_of
from agentpkg.git.identity import Identity, agent_identity
from agentpkg.sessions import environment

Cancelled = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Judged:
    """A review with the package as it stands after it.

    Attributes:
        reused: answered from the record; nothing was run.
    """

    review: ReviewRow
    row: PackageRow
    reused: bool


def review(project: Project, feature: str, wp: str, cancelled: Cancelled = lambda: False) -> Judged:
    """Judges a package's branch tip on today's target.

    Args:
        cancelled: asked while checks run; True stops them.

    Raises:
        NotAllowed: the package does not wait for review, its branch is gone, or an agent asks.
        Busy: another command is judging it.
        Lacking: the machine could not give a verdict; nothing is recorded.
        Interrupted: ``cancelled`` said so; nothing is recorded.
    """
    project.require_person(f"review {wp}")
    row = require_for_review(project, feature, wp)
    lock = project.state / "locks" / f"review-{feature}-{wp}.lock"
    with files.lock(lock, timeout=0, what=f"the review of {feature} {wp}"):
        head, base = tips(project, row)
        package = frozen.work_package(project, row)
        key = definitions_key(project.settings, project.policy, package, frozen.digests(project, row))
        known = project.ledger.review(feature, wp, head, base, key)
        if known is not None and _still_there(project, known):
            return Judged(known, _recall(project, row, known), True)
        made = _judge(project, row, package, ReviewRow(
            feature, wp, head, base, key, Verdict.CHANGES_REQUESTED, _cycle(project, row, head), None
        ), cancelled)  # fmt: skip
        return Judged(made[0], _record(project, *made), False)


def require_for_review(project: Project, feature: str, wp: str) -> PackageRow:
    """The package's row. Raises :class:`NotAllowed` unless it waits for review."""
    row = project.row(feature, wp)
    if row.state is not State.FOR_REVIEW:
        raise NotAllowed(f"{wp} is {row.state}, not for_review", states.next_step(row), code="not_for_review")
    return row


def approval(project: Project, row: PackageRow) -> ReviewRow | None:
    """The newest approval of the package's branch tip, on whatever target and definitions."""
    head = project.branch_tip(row.branch or "")
    found = [r for r in project.ledger.reviews(row.feature, row.wp) if r.head == head]
    return found[-1] if found and found[-1].verdict is Verdict.APPROVED else None


def tips(project: Project, row: PackageRow) -> tuple[str, str]:
    """The tips of the package's branch and of its target. Raises :class:`NotAllowed` when the branch is gone."""
    feature = project.ledger.feature(row.feature)
    assert feature is not None
    head = project.branch_tip(row.branch or "")
    if head is None:
        raise NotAllowed(
            f"the branch {row.branch} of {row.wp} is gone",
            f"bring it back at {row.head}, or start anew with `agentpkg move {row.feature} {row.wp} --to planned`",
            code="branch_gone",
        )
    return head, project.target_tip(feature.target)


def _still_there(project: Project, known: ReviewRow) -> bool:
    """A recorded approval is worth nothing once the control dir has lost its candidate."""
    if known.candidate is None:
        return True
    return project.control.run("cat-file", "-e", f"{known.candidate}^{{commit}}", ok=(0, 1, 128)).returncode == 0


_Made = tuple[ReviewRow, Sequence[Mapping[str, str]]]


def _cycle(project: Project, row: PackageRow, head: str) -> int:
    """The cycle a review of this tip belongs to: a tip that was rejected before is judged in that one's cycle."""
    known = project.ledger.reviews(row.feature, row.wp)
    seen = any(r.head == head and r.verdict is Verdict.CHANGES_REQUESTED for r in known)
    return max(1, row.cycle - 1) if seen else row.cycle


def _recall(project: Project, row: PackageRow, known: ReviewRow) -> PackageRow:
    """The package with the recorded verdict, which it may have lost when a person moved it."""
    same = (row.verdict, row.candidate, row.head) == (known.verdict, known.candidate, known.head)
    asked = approvals.prepare(project, known)
    if same and approvals.standing(project.ledger, known, asked)[0] is not approvals.Standing.UNASKED:
        return row
    with project.ledger.write() as tx:
        row = row if same else transition.recalled(tx, known, project.settings.agent.max_review_cycles)
        approvals.ask(tx, row, known, asked)
    project.poke()
    return row


def _judge(project: Project, row: PackageRow, package: WorkPackage, blank: ReviewRow, cancelled: Cancelled) -> _Made:
    made = make_candidate(project, row, package, blank.head, blank.base)
    if isinstance(made, candidate.Conflict):
        return replace(blank, checks=(_conflict(project, made),)), ()
    store = EvidenceStore(project.state / "evidence")
    with enclosure(project) as walls:
        about = replace(context(project, row, package, made), walls=walls)
        extra = [_isolation(project, row, walls.level)]
        done = pipeline.run_all(about, store, cancelled=cancelled, extra=extra)
    if isinstance(done, pipeline.NoVerdict):
        raise Lacking(f"no verdict on {row.wp}: {done.reason}", done.fix, code=done.code)
    return (
        replace(
            blank, verdict=done.verdict, candidate=made.commit, checks=tuple(done.checks),
            tests_passed=done.tests_passed, tests_failed=done.tests_failed, needs=done.needs,
        ),
        done.evidence_refs,
    )  # fmt: skip


def _isolation(project: Project, row: PackageRow, level: str) -> Finding:
    """What stood between the work, and its checks, and the rest of the machine."""
    session = project.ledger.session(row.session) if row.session else None
    made = session.isolation if session is not None else None
    detail = f"made at level {made or 'unknown'}, checked at {level}"
    return Finding(GOVERNANCE, "isolation", "pass", detail, {"session": made, "checks": level})


def make_candidate(
    project: Project, row: PackageRow, package: WorkPackage, head: str, base: str
) -> candidate.Candidate | candidate.Conflict:
    """The commit that would become the target's tip if the package landed now."""
    _, newest = project.ledger.head(row.feature)
    text = candidate.message(
        feature=row.feature, wp=row.wp, title=package.title, agent=row.agent or "", session=row.session or "",
        cycle=row.cycle, audit_hash=newest,
    )  # fmt: skip
    return candidate.make(project.control, base, head, project.settings.merge.strategy, text, project.user)


def _conflict(project: Project, conflict: candidate.Conflict) -> CheckResult:
    store = EvidenceStore(project.state / "evidence")
    evidence = store.put(conflict.details.encode("utf-8", "backslashreplace"))
    return CheckResult("merge", "conflict", "fail", "conflicts in " + ", ".join(conflict.paths), evidence)


def context(project: Project, row: PackageRow, package: WorkPackage, made: candidate.Candidate) -> ReviewContext:
    """What the checks may look at."""
    feature = project.ledger.feature(row.feature)
    assert feature is not None
    user = project.user
    worktree = project.worktree(row.feature, row.wp)
    changed = _changes(project, worktree, made.head, user.excludes_file)
    agents = {s.agent for s in project.ledger.sessions(row.feature, row.wp)}
    found, _ = find_requirements(project.read(row.feature).spec, package.requirement_refs)
    return ReviewContext(
        feature=row.feature, wp=package, control=project.control,
        outside=(project.work_tree, project.repository.common_dir), base=made.base, head=made.head,
        candidate=made.commit, target=feature.target,
        definitions=definitions(project.settings, project.policy, package, frozen.digests(project, row)),
        identities=frozenset({_person(user), *(_person(agent_identity(a)) for a in agents)}),
        tracked_changes=changed.tracked if changed is not None else None,
        untracked=changed.untracked if changed is not None else (),
        requirements={r.ref: r.text for r in found}, environment=environment.inherited(project.environ),
    )  # fmt: skip


def _changes(project: Project, worktree: Path, head: str, excludes: Path | None) -> worktrees.Changes | None:
    if not worktree.is_dir():
        return None
    admin = admin_dir_of(project.repository.common_dir, worktree)
    return worktrees.changes(
        project.control, worktree, head, index=admin / "index" if admin else None,
        provided=worktrees.provided(project.repository, worktree), excludes=excludes,
    )  # fmt: skip


def _person(who: Identity) -> str:
    return f"{who.name} <{who.email}>"


def _record(project: Project, found: ReviewRow, evidence: Sequence[Mapping[str, str]]) -> PackageRow:
    asked = approvals.prepare(project, found)
    with project.ledger.write() as tx:
        row = transition.judged(tx, found, project.settings.agent.max_review_cycles, evidence)
        approvals.ask(tx, row, found, asked)
    project.poke()
    return row
