"""Judging a package: make the candidate that would land, run the checks on it, record the verdict.

There is one review per (branch tip, target tip, definitions); asked again it answers from the record.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from agentpkg import files
from agentpkg.checks import pipeline
from agentpkg.checks.base import ReviewContext
from agentpkg.checks.definitions import definitions, definitions_key
from agentpkg.checks.reuse import Known
from agentpkg.core import states
from agentpkg.core.errors import Lacking, NotAllowed
from agentpkg.core.model import State, Verdict, WorkPackage
from agentpkg.core.patterns import Patterns
from agentpkg.core.records import PackageRow, ReviewRow
from agentpkg.engine import carrying, transition
from agentpkg.engine.asking import approvals
from agentpkg.engine.enclosing.enclosure import enclosure, went
from agentpkg.engine.judging import collisions, frozen, proven, regenerating, remarks
from agentpkg.engine.project import Project
from agentpkg.features.spec import find_requirements
from agentpkg.git import candidate, worktrees
from agentpkg.git.discover import admin_dir_of
from agentpkg.git.identity import Identity, agent_identity
from agentpkg.sessions import environment

Cancelled = Callable[[], bool]
#: a review that is not recorded yet, with its evidence for the chain
Made = tuple[ReviewRow, Sequence[Mapping[str, str]]]


@dataclass(frozen=True, slots=True)
class Judged:
    """A review with the package as it stands after it.

    Attributes:
        reused: answered from the record; nothing was run.
    """

    review: ReviewRow
    row: PackageRow
    reused: bool


@dataclass(frozen=True, slots=True)
class Draft:
    """A candidate that is to be judged.

    Attributes:
        blank: the review that it will be, or (``made`` None) the recorded one that says all.
        stacks: others may be made on it, as it lands by itself when it is approved.
    """

    row: PackageRow
    package: WorkPackage
    blank: ReviewRow
    made: candidate.Candidate | candidate.Conflict | None
    stacks: bool = True

    @property
    def candidate(self) -> str | None:
        """The commit that would land; None after a conflict."""
        if self.made is None:
            return self.blank.candidate
        return self.made.commit if isinstance(self.made, candidate.Candidate) else None


def review(
    project: Project, feature: str, wp: str, cancelled: Cancelled = lambda: False,
    ahead: Callable[[ReviewRow], Made | None] = lambda blank: None, insist: bool = False,
) -> Judged:  # fmt: skip
    """Judges a package's branch tip on today's target.

    Args:
        cancelled: asked while checks run; True stops them.
        ahead: gives what :func:`judge` has found already for the very same review, where it has.
        insist: ask a reviewing agent also while its provider has said that it does not serve yet.

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
        package, blank, known = _blank(project, row, *tips(project, row))
        if known is not None:
            return Judged(known, _recall(project, row, known), True)
        made = ahead(blank)
        if made is None:
            made = judge(project, _draft(project, row, package, blank), cancelled, insist)
        return Judged(made[0], _record(project, *made), False)


def draft(project: Project, row: PackageRow, base: str) -> Draft:
    """The candidate of a package on ``base``, which the target is expected to be at; nothing is recorded.

    Raises:
        NotAllowed: its branch is gone.
    """
    package, blank, known = _blank(project, row, tips(project, row)[0], base)
    if known is not None:
        return Draft(row, package, known, None, project.settings.merge.auto)
    return _draft(project, row, package, blank)


def judge(project: Project, draft: Draft, cancelled: Cancelled, insist: bool = False) -> Made:
    """Runs the checks on a candidate; records nothing. ``insist`` is as for :func:`review`.

    Raises:
        Lacking: the machine could not give a verdict.
        Interrupted: ``cancelled`` said so.
    """
    draft = _renewed(project, draft, cancelled)
    row, package, blank, made = draft.row, draft.package, draft.blank, draft.made
    if made is None:
        return blank, ()
    if isinstance(made, candidate.Conflict):
        return replace(blank, checks=(collisions.describe(project, row, package, made, blank.head, blank.base),)), ()
    store = frozen.store(project)
    with enclosure(project) as walls:
        about = replace(context(project, row, package, made), walls=walls)
        extra = remarks.on(project, row, made, walls.level)
        known = proven.known(project, row)
        done = pipeline.run_all(about, store, cancelled=cancelled, extra=extra, known=known)
    if isinstance(done, pipeline.Reviewed):
        checked, done = done, by_agent(project, row, package, about, done, known, cancelled, insist)
        if isinstance(done, pipeline.NoVerdict):
            proven.keep(project, row, made.commit, checked.checks)
    if isinstance(done, pipeline.Reviewed) and walls.decided:
        done = pipeline.with_finding(about, store, done, went(walls.decided), {})
    if isinstance(done, pipeline.NoVerdict):
        raise Lacking(f"no verdict on {row.wp}: {done.reason}", done.fix, code=done.code, details=done.details)
    return filled(blank, about, done), done.evidence_refs


def filled(blank: ReviewRow, about: ReviewContext, done: pipeline.Reviewed) -> ReviewRow:
    """The review with what was found."""
    return replace(
        blank, verdict=done.verdict, candidate=about.candidate, checks=tuple(done.checks),
        tests_passed=done.tests_passed, tests_failed=done.tests_failed, needs=done.needs, batch=about.batch,
    )  # fmt: skip


def same(one: ReviewRow, other: ReviewRow) -> bool:
    """Whether two reviews are about the same: branch tip, target tip and definitions of one package."""
    return _about(one) == _about(other)


def _about(review: ReviewRow) -> tuple[str, ...]:
    return (review.feature, review.wp, review.head, review.base, review.definitions)


def _blank(
    project: Project, row: PackageRow, head: str, base: str
) -> tuple[WorkPackage, ReviewRow, ReviewRow | None]:  # fmt: skip
    """What a package is judged by, its review before it is one, and the recorded one where that still holds."""
    package = frozen.work_package(project, row)
    key = definitions_key(project.settings, project.policy, package, frozen.digests(project, row))
    known = project.ledger.review(row.feature, row.wp, head, base, key)
    cycle = _cycle(project, row, head)
    blank = ReviewRow(row.feature, row.wp, head, base, key, Verdict.CHANGES_REQUESTED, cycle, None)
    return package, blank, known if known is not None and _still_there(project, known) else None


def _draft(project: Project, row: PackageRow, package: WorkPackage, blank: ReviewRow) -> Draft:
    made = make_candidate(project, row, package, blank.head, blank.base)
    return Draft(row, package, blank, made, project.settings.merge.auto)


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
    if known.candidate is None or known.batch is not None:
        # what was judged with others says nothing of a package alone
        return known.batch is None
    return project.control.run("cat-file", "-e", f"{known.candidate}^{{commit}}", ok=(0, 1, 128)).returncode == 0


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


def _renewed(project: Project, draft: Draft, cancelled: Cancelled) -> Draft:
    """A draft in conflict with the candidate that there is once commands have made some files anew, where they may."""
    conflict, blank = draft.made, draft.blank
    rules = project.settings.merge.regenerate
    if not isinstance(conflict, candidate.Conflict) or not any(rule.path in conflict.paths for rule in rules):
        return draft
    paths = [rule.path for rule in rules]
    made = make_candidate(project, draft.row, draft.package, blank.head, blank.base, paths)
    if isinstance(made, candidate.Conflict):
        return draft
    with enclosure(project) as walls:
        about = replace(context(project, draft.row, draft.package, made), walls=walls)
        found = regenerating.contents(about, [rule for rule in rules if rule.path in conflict.paths], cancelled)
    if isinstance(found, str):
        return replace(draft, made=replace(conflict, details=f"{conflict.details}\n{found}"))
    return replace(draft, made=candidate.renew(project.control, made, found, project.user))


def by_agent(
    project: Project, row: PackageRow, package: WorkPackage, about: ReviewContext, done: pipeline.Reviewed,
    known: Known, cancelled: Cancelled, insist: bool = False,
) -> pipeline.Reviewed | pipeline.NoVerdict:  # fmt: skip
    """The review with the word of the configured agent, where there is one; or why there is no verdict."""
    if project.settings.review.agent.name is None:
        return done
    from agentpkg.engine.judging import agent_review

    found = agent_review.judge(project, row, package, about, done, known, cancelled, insist)
    return found if isinstance(found, pipeline.NoVerdict) else pipeline.with_finding(about, known.store, done, *found)


def make_candidate(
    project: Project, row: PackageRow, package: WorkPackage, head: str, base: str, as_target: Sequence[str] = ()
) -> candidate.Candidate | candidate.Conflict:
    """The commit that would become the target's tip if the package landed now.

    Args:
        as_target: files that are as the target has them where they are in conflict.
    """
    _, newest = project.ledger.head(row.feature)
    text = candidate.message(
        feature=row.feature, wp=row.wp, title=package.title, agent=row.agent or "", session=row.session or "",
        cycle=row.cycle, audit_hash=newest,
    )  # fmt: skip
    merge = project.settings.merge
    union = Patterns(merge.union) if merge.union else ()
    return candidate.make(
        project.control, base, head, merge.strategy, text, project.user, union=union, as_target=as_target,
        carried=carrying.carried(project, row, head, base),
    )  # fmt: skip


def context(project: Project, row: PackageRow, package: WorkPackage, made: candidate.Candidate) -> ReviewContext:
    """What the checks may look at."""
    feature = project.ledger.feature(row.feature)
    assert feature is not None
    user = project.user
    worktree = project.worktree(row.feature, row.wp)
    changed = _changes(project, worktree, made.head, user.excludes_file)
    sessions = project.ledger.sessions(row.feature, row.wp)
    agents = frozenset(_person(agent_identity(session.agent)) for session in sessions)
    found, _ = find_requirements(project.read(row.feature).spec, package.requirement_refs)
    return ReviewContext(
        feature=row.feature, wp=package, control=project.control,
        outside=(project.work_tree, project.repository.common_dir), base=made.base, head=made.head,
        candidate=made.commit, target=feature.target, carried=made.carried,
        definitions=definitions(project.settings, project.policy, package, frozen.digests(project, row)),
        identities=agents | {_person(user)}, agents=agents,
        sessions=tuple((one.old_head, one.new_head) for one in sessions if one.new_head),
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
