"""Packages that are judged together, since checks are slow: one run of the commands for a whole stack of candidates.

A batch that passes lands as a whole, in one move of the target to the very commit that the commands ran on; its reviews
are recorded in one transaction right before. One that fails is nobody's fault yet: the train tries with half of it.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import pairwise

from agentpkg import files
from agentpkg.checks import reuse, together
from agentpkg.checks.base import NoVerdict, ReviewContext, Reviewed
from agentpkg.checks.definitions import definitions_key
from agentpkg.core.errors import Lacking
from agentpkg.core.model import State, Verdict
from agentpkg.core.records import Batch, PackageRow, ReviewRow
from agentpkg.engine import transition
from agentpkg.engine.asking import approvals
from agentpkg.engine.enclosing.enclosure import enclosure
from agentpkg.engine.judging import frozen, proven, remarks, review
from agentpkg.engine.judging.review import Cancelled, Draft, Made
from agentpkg.engine.project import Project
from agentpkg.git import candidate


@dataclass(frozen=True, slots=True)
class Together:
    """A batch that passed: a review for each of its packages, all of them approvals."""

    made: tuple[Made, ...]


@dataclass(frozen=True, slots=True)
class Apart:
    """Packages that have to be judged alone, and those of them that do not pass by themselves."""

    alone: frozenset[str]
    failing: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Red:
    """Something failed on the batch's tip."""

    what: str


Outcome = Together | Apart | Red


def judge(project: Project, drafts: Sequence[Draft], cancelled: Cancelled) -> Outcome:
    """Judges a stack of candidates at once; records nothing.

    Args:
        drafts: at least two, each on the one before, none of them recorded or in conflict.

    Raises:
        Lacking: the machine could not give a verdict.
        Interrupted: ``cancelled`` said so.
    """
    assert all(below.candidate == above.blank.base for below, above in pairwise(drafts))
    rows = [draft.row for draft in drafts]
    # whose configuration changed while an agent worked waits for a person's review
    alone = frozenset(row.wp for row in rows if row.verdict is None and frozen.config_changed(project, row))
    if alone:
        return Apart(alone)
    with enclosure(project) as walls:
        contexts = [replace(_context(project, drafts, draft), walls=walls) for draft in drafts]
        extra = [remarks.on(project, draft.row, _candidate(draft), walls.level) for draft in drafts]
        known = [proven.known(project, row) for row in rows]
        done = together.run_together(contexts, frozen.store(project), extra, known, cancelled=cancelled)
    if isinstance(done, together.Red):
        return Red(done.what)
    if isinstance(done, together.Apart):
        return Apart(_names(rows, done.alone), _names(rows, done.failing))
    if isinstance(done, NoVerdict):
        raise _lacking(rows[0], done)
    return _by_agents(project, drafts, contexts, done, known, cancelled)


def _by_agents(
    project: Project, drafts: Sequence[Draft], contexts: Sequence[ReviewContext], done: Sequence[Reviewed],
    known: Sequence[reuse.Known], cancelled: Cancelled,
) -> Together | Apart:  # fmt: skip
    """The reviews with the words of the configured agent, where there is one.

    It is asked in the order of the stack, until it refuses one: what stands on that one would be another candidate.
    """
    found = list(done)
    for number, (draft, context) in enumerate(zip(drafts, contexts, strict=True)):
        last = review.by_agent(
            project, draft.row, draft.package, context, found[number], known[number], cancelled
        )  # fmt: skip
        if isinstance(last, NoVerdict):
            _keep(project, drafts, found)
            raise _lacking(draft.row, last)
        found[number] = last
        if last.verdict is not Verdict.APPROVED:
            _keep(project, drafts, found)
            return Apart(frozenset({draft.row.wp}), frozenset({draft.row.wp}))
    together = zip(drafts, contexts, found, strict=True)
    return Together(tuple((review.filled(d.blank, context, one), one.evidence_refs) for d, context, one in together))


def _keep(project: Project, drafts: Sequence[Draft], found: Sequence[Reviewed]) -> None:
    for draft, one in zip(drafts, found, strict=True):
        proven.keep(project, draft.row, _candidate(draft).commit, one.checks)


def _context(project: Project, drafts: Sequence[Draft], draft: Draft) -> ReviewContext:
    batch = Batch(_candidate(drafts[-1]).commit, tuple(one.row.wp for one in drafts))
    return replace(review.context(project, draft.row, draft.package, _candidate(draft)), batch=batch)


def _candidate(draft: Draft) -> candidate.Candidate:
    assert isinstance(draft.made, candidate.Candidate)
    return draft.made


def _names(rows: Sequence[PackageRow], numbers: frozenset[int]) -> frozenset[str]:
    return frozenset(rows[number].wp for number in numbers)


def _lacking(row: PackageRow, why: NoVerdict) -> Lacking:
    return Lacking(f"no verdict on {row.wp}: {why.reason}", why.fix, code=why.code, details=why.details)


# --------------------------------------------------------------------------- what lands


def record(project: Project, made: Sequence[Made], held: ExitStack) -> list[ReviewRow]:
    """Records the reviews of a batch in one transaction; none where one of them is of something else by now.

    Args:
        held: takes the locks of the packages' reviews.

    Raises:
        Busy: another command judges one of them.
    """
    for found, _ in made:
        lock = project.state / "locks" / f"review-{found.feature}-{found.wp}.lock"
        held.enter_context(files.lock(lock, timeout=0, what=f"the review of {found.feature} {found.wp}"))
    if not _holds(project, [found for found, _ in made]):
        return []
    limit = project.settings.agent.max_review_cycles
    with project.ledger.write() as tx:
        for found, evidence in made:
            transition.judged(tx, found, limit, evidence)
    project.poke()
    return [found for found, _ in made]


def _holds(project: Project, reviews: Sequence[ReviewRow]) -> bool:
    """Every branch tip and definition is what was judged, the target where the first one stands; nobody is asked."""
    target = project.target_tip(project.target(project.read(reviews[0].feature)))
    return target == reviews[0].base and all(_same(project, one) for one in reviews)


def _same(project: Project, found: ReviewRow) -> bool:
    row = project.row(found.feature, found.wp)
    if row.state is not State.FOR_REVIEW or project.branch_tip(row.branch or "") != found.head:
        return False
    package = frozen.work_package(project, row)
    key = definitions_key(project.settings, project.policy, package, frozen.digests(project, row))
    return key == found.definitions and approvals.prepare(project, found) is None


def seconds(project: Project, feature: str) -> float | None:
    """How long the configured checks took together when a package was last judged; None where that is not known."""
    entry = project.ledger.newest(feature, "review")
    checks = {spec.run for spec in project.settings.review.checks}
    evidence = [one["evidence"] for one in entry.metadata["checks"]] if entry else []
    ran = [reuse.read(frozen.store(project), one).get("data") or {} for one in evidence]
    took = [data.get("milliseconds", 0) for data in ran if data.get("command") in checks]
    return sum(took) / 1000 if took else None
