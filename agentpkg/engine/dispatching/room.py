"""Room for a session: where its branch begins, and the worktree it works in."""

from pathlib import Path

from agentpkg.core.errors import NotAllowed
from agentpkg.core.records import PackageRow, SessionRow
from agentpkg.engine.project import Project
from agentpkg.git import private, provision, removal, worktrees
from agentpkg.git.discover import admin_dir_of
from agentpkg.git.relocation import follow


def require_own_branch(project: Project, row: PackageRow, branch: str) -> None:
    """Raises :class:`NotAllowed` when a branch of the package's name is there that no session of it ever had."""
    if row.branch is None and project.branch_tip(branch) is not None:
        raise NotAllowed(
            f"a branch of yours is in the way: {branch} is there, and no session of {row.wp} made it",
            f"rename it (`git branch -m {branch} NAME`), or set project.branch_prefix",
            code="branch_in_the_way",
        )


def starting_point(project: Project, path: Path, branch: str, base: str, fresh: bool) -> str:
    """Where the session begins: the branch's tip, or the target's where the branch adds nothing to it.

    A branch whose worktree holds uncommitted work stays where it is: the agent finds that work as it was left.

    Raises:
        NotAllowed: it is to begin anew and something in the worktree would be lost.
    """
    tip = project.branch_tip(branch)
    if tip is None or tip == base:
        return base
    if not fresh and not _is_ancestor(project, tip, base):
        return tip
    kept = removal.hindrance(
        project.repository, project.control, path, branch, (tip,), excludes=project.user.excludes_file, force=False
    )
    if kept is None or (fresh and private.is_entered(project.repository, path)):
        return base
    if fresh:
        raise _worktree_kept(kept)
    return tip


def _worktree_kept(kept: removal.Kept) -> NotAllowed:
    return NotAllowed(
        f"{kept.path} cannot be made anew, {kept.reason}: {', '.join(kept.paths[:5])}",
        "commit, move or remove what is in it", code="worktree_kept",
    )  # fmt: skip


def _is_ancestor(project: Project, old: str, new: str) -> bool:
    asked = project.repository.git.run("merge-base", "--is-ancestor", old, new, ok=(0, 1))
    return asked.returncode == 0


def make(project: Project, path: Path, branch: str, session: SessionRow, fresh: bool, folder: Path) -> frozenset[str]:
    """Makes branch and worktree of a session, which holds the lease; gives values of copied files, for redaction.

    Args:
        folder: of the session.

    Raises:
        NotAllowed: something of the user's is in the way.
    """
    repo = project.repository
    # what is made here is found again in another place by what this remembers
    follow(repo)
    worktrees.ensure_excluded(repo, f"/{project.settings.project.worktrees_dir}/")
    give_back(project, path, folder)
    _free_branch(project, path, branch, session, fresh)
    worktrees.create(repo, project.control, path, branch, session.base, session.old_head)
    tree = project.settings.worktree
    return provision.provide(repo, path, copy=tree.copy, link=tree.link).values


def give_back(project: Project, path: Path, folder: Path) -> None:
    """Takes a worktree back from a session that ended without doing so; this session holds the lease."""
    repo = project.repository
    if path.is_dir() and admin_dir_of(repo.common_dir, path) is not None and private.is_entered(repo, path):
        private.leave(repo, project.control, path, folder)


def _free_branch(project: Project, path: Path, branch: str, session: SessionRow, fresh: bool) -> None:
    """Lets the branch begin where the session begins: anew with ``--fresh``, or forward to the target."""
    tip = project.branch_tip(branch)
    if tip is None or tip == session.old_head:
        return
    if fresh:
        kept = f"{removal.ABANDONED}/{branch}/{tip[:12]}"
        project.repository.git.run("update-ref", "-m", "agentpkg: --fresh", kept, tip)
    elif not _is_ancestor(project, tip, session.old_head):
        raise NotAllowed(f"{branch} moved while the session was prepared", "try again", code="branch_moved")
    gone = removal.remove(
        project.repository, project.control, path, branch, (tip,), excludes=project.user.excludes_file
    )
    if isinstance(gone, removal.Kept):
        raise _worktree_kept(gone)
