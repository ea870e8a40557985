"""A target that others move: ``merge.remote`` names where it lives, the local branch follows it, landings are pushed.

The remote's branch decides. Before anything is judged or dispatched the local target is brought to where the remote's
is, like a landing: all or nothing, by compare-and-swap, checkouts with it. A landing is pushed with a lease while the
local move is prepared, and only what the remote took happens here; a push that is refused is an outcome. Whether a push
that broke off has arrived is asked of the remote, not guessed.
"""

from agentpkg.core.errors import Busy, NotAllowed
from agentpkg.core.proof import Landable, follow
from agentpkg.engine.project import Project
from agentpkg.git import landing
from agentpkg.git.refs import tree_of
from agentpkg.git.remote import Moved, Refused, Remote, open_remote


def remote_of(project: Project) -> Remote | None:
    """The remote that the target lives on; None where it is the repository's own."""
    name = project.settings.merge.remote
    return open_remote(project.repository, project.control, name) if name else None


def catch_up(project: Project, target: str) -> bool:
    """Brings the local target to where the remote's is. The caller holds the lock ``landing``.

    Returns:
        Whether it has moved.

    Raises:
        Unreachable: the remote does not answer.
        NotAllowed: the local target has commits that the remote's lacks, or something of the user's is in the way.
    """
    remote = remote_of(project)
    theirs = remote.tip(target) if remote is not None else None
    ours = project.target_tip(target)
    if remote is None or theirs is None or theirs == ours:
        return False
    remote.fetch(target, theirs)
    if not _is_ancestor(project, ours, theirs):
        raise NotAllowed(
            f"{target} has commits that {remote.name}/{target} lacks",
            f"push them, or move them to a branch of their own: what lands goes to {remote.name}",
            code="target_ahead",
        )
    tree = tree_of(project.control, theirs)
    plan = landing.LandingPlan(
        target=target, warrant=follow(Landable(theirs, tree, ours, ours), theirs),
        filters=project.settings.worktree.filters, identity=project.user, note=f"agentpkg: follow {remote.name}",
    )  # fmt: skip
    _require_followed(target, remote.name, landing.land(project.repository, project.control, plan))
    return True


def _require_followed(target: str, remote: str, outcome: landing.Outcome) -> None:
    if isinstance(outcome, landing.InTheWay):
        raise NotAllowed(
            f"{target} cannot follow {remote}, {outcome.why}: {', '.join(outcome.paths[:10])}",
            "commit, move or stash them, then repeat the command", code="in_the_way",
            details={"paths": list(outcome.paths)},
        )  # fmt: skip
    if not isinstance(outcome, landing.Landed):
        raise Busy(f"another git process moves {target}", "try again when it has ended", code="git_locked")


def publisher(project: Project, target: str) -> landing.Publish | None:
    """What pushes a candidate while its landing is prepared; None where the target is the repository's own."""
    remote = remote_of(project)
    if remote is None:
        return None

    def publish(new: str, old: str) -> landing.TargetMoved | landing.Refused | None:
        # a branch that is not there yet is made by the first landing
        found = remote.push(target, new, old if remote.tip(target) is not None else None)
        if isinstance(found, Refused):
            return landing.Refused(remote.name, found.reason)
        return landing.TargetMoved(None) if isinstance(found, Moved) else None

    return publish


def note_tip(project: Project, target: str) -> None:
    """Lets the repository's remote-tracking branch, where it has one, say what was pushed or fetched."""
    name = project.settings.merge.remote
    if name is None:
        return
    ref, git = f"refs/remotes/{name}/{target}", project.repository.git
    if git.run("rev-parse", "--verify", "--quiet", "--end-of-options", ref, ok=(0, 1)).returncode == 0:
        git.run("update-ref", "-m", "agentpkg", ref, project.target_tip(target), ok=(0, 1, 128))


def _is_ancestor(project: Project, old: str, new: str) -> bool:
    return project.control.run("merge-base", "--is-ancestor", old, new, ok=(0, 1)).returncode == 0
