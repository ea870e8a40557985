"""A person's ``move`` of a package or a feature."""

from dataclasses import dataclass, replace
from typing import Any

from agentpkg.core import states
from agentpkg.core.errors import Lacking, NotAllowed
from agentpkg.core.model import FeatureState, State
from agentpkg.core.records import PackageRow
from agentpkg.engine import attach, transition
from agentpkg.engine.asking.approvals import Waiting
from agentpkg.engine.judging import frozen
from agentpkg.engine.landing import merging
from agentpkg.engine.project import Project
from agentpkg.engine.supervising import control, insisting
from agentpkg.engine.upkeep import recovery


@dataclass(frozen=True, slots=True)
class Wish:
    """Where to, and with what words.

    Attributes:
        force: land without an approval.
        feedback: what the next agent is told.
    """

    to: State
    force: bool = False
    reason: str | None = None
    feedback: str | None = None


@dataclass(frozen=True, slots=True)
class Moved:
    """A package, or a feature (``wp`` None), is where it was asked to be.

    Attributes:
        branch: the package's branch, where it landed.
        commits: how many of its commits landed.
        kept: what could not be cleaned up.
    """

    feature: str
    wp: str | None
    frm: str
    to: str
    merge_commit: str | None = None
    unblocked: tuple[str, ...] = ()
    branch: str | None = None
    target: str | None = None
    commits: int = 0
    files_changed: int = 0
    forced: bool = False
    kept: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The document of ``move --json``."""
        return {
            "feature": self.feature, "wp": self.wp, "from": self.frm, "to": self.to,
            "merge_commit": self.merge_commit, "unblocked": list(self.unblocked),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class NotApproved:
    """The candidate on today's target was judged and needs changes."""

    reason: str


def move(project: Project, feature: str, wp: str, wish: Wish) -> Moved | NotApproved:
    """Moves a package.

    Raises:
        NotAllowed: an agent asks, the transition is illegal, there is no approval, the user's changes are in the way.
        Busy: a session holds the package.
    """
    actor = project.require_person(f"move {wp} to {wish.to}")
    row = _registered(project, feature, wp, wish.to, actor)
    if wish.to is State.DONE:
        return _land(project, row, wish, actor)
    if wish.to is State.CANCELLED and row.state is State.DOING:
        return _cancel(project, row, wish.reason or "cancelled by move", actor)
    return _plain(project, row, wish, actor)


def _registered(project: Project, feature: str, wp: str, to: State, actor: str) -> PackageRow:
    """The package's row; a package that is not registered yet is, unless the move would be refused anyway."""
    known = project.read(feature)
    file = known.packages.get(wp)
    if file is not None:
        if project.ledger_if_any is None or project.ledger.package(feature, wp) is None:
            states.check(PackageRow(feature, wp, file.title, file.lane), to, actor)
        project.ensure_registered(known)
    recovery.reconcile(project)
    return project.row(feature, wp)


def cancel(project: Project, feature: str, wp: str, reason: str) -> PackageRow:
    """Stops a package's session, if it has one, and makes the package ``cancelled``; its commits are kept."""
    actor = project.require_person(f"cancel {wp}")
    row = _registered(project, feature, wp, State.CANCELLED, actor)
    if row.state is State.DOING:
        _cancel(project, row, reason, actor)
    else:
        _plain(project, row, Wish(State.CANCELLED, reason=reason), actor)
    return project.row(feature, wp)


def move_feature(project: Project, name: str, to: FeatureState, reason: str | None) -> Moved:
    """Moves a whole feature: to ``shipped`` once all its packages are done."""
    actor = project.require_person(f"move a feature to {to}")
    feature = project.good_feature(name)
    project.ensure_registered(feature)
    with project.ledger.write() as tx:
        before = tx.feature(feature.id)
        after = transition.move_feature(tx, feature.id, to, actor, {"reason": reason} if reason else {})
    project.poke()
    return Moved(feature.id, None, before.state if before else "", after.state)


def _land(project: Project, row: PackageRow, wish: Wish, actor: str) -> Moved | NotApproved:
    if wish.force:
        merged: merging.Merged | merging.Rejected | Waiting = merging.force(
            project, row.feature, row.wp, actor, wish.reason or ""
        )
    else:
        merged = merging.land_approved(project, row.feature, row.wp, actor)
    if isinstance(merged, Waiting):
        raise merged.error()
    if isinstance(merged, merging.Rejected):
        return NotApproved(merged.judged.row.reason or "see the review")
    feature = project.ledger.feature(row.feature)
    return Moved(
        row.feature, row.wp, row.state, State.DONE, merged.merge_commit, merged.unblocked, row.branch,
        feature.target if feature else None, row.commits, row.files_changed, wish.force, merged.kept,
    )  # fmt: skip


def _cancel(project: Project, row: PackageRow, reason: str, actor: str) -> Moved:
    """Asks the session to stop and waits until it has."""
    if row.session is None:
        raise Lacking(f"{row.wp} is doing without a session", "run `agentpkg doctor`")
    control.cancel(project.state, row.session, actor, reason)
    attach.wait(project, row.session, insisting.Patience(project, row.session).look)
    after = project.row(row.feature, row.wp)
    if after.state is not State.CANCELLED:
        # it had ended by itself before the request reached it
        return _plain(project, after, Wish(State.CANCELLED, reason=reason), actor)
    return Moved(row.feature, row.wp, row.state, after.state)


def _plain(project: Project, row: PackageRow, wish: Wish, actor: str) -> Moved:
    said: dict[str, Any] = {"reason": wish.reason} if wish.reason else {}
    if wish.feedback:
        said |= {"kind": "feedback", "feedback": frozen.store(project).put(wish.feedback.encode())}
    head = _branch_for_review(project, row) if wish.to is State.FOR_REVIEW else None
    with project.ledger.write() as tx:
        if head is not None:
            tx.put_package(replace(transition.require(tx, row.feature, row.wp), head=head))
        transition.move(tx, row.feature, row.wp, wish.to, actor, said)
    project.poke()
    return Moved(row.feature, row.wp, row.state, wish.to)


def _branch_for_review(project: Project, row: PackageRow) -> str | None:
    """The branch's tip, with whatever a person committed to it by hand."""
    if row.state is not State.BLOCKED:
        return None
    head = project.branch_tip(row.branch or "")
    feature = project.ledger.feature(row.feature)
    assert feature is not None
    target = project.target_tip(feature.target)
    if (
        head is None
        or project.repository.git.run("merge-base", "--is-ancestor", head, target, ok=(0, 1)).returncode == 0
    ):
        raise NotAllowed(
            f"there is nothing to review: {row.branch or 'its branch'} has no commits beyond {feature.target}",
            f"commit in its worktree first, or try again with `agentpkg implement {row.feature} --wp {row.wp}`",
            code="nothing_to_review",
        )
    return head
