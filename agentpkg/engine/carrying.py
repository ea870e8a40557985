"""Branches that have the work of a package which has landed since by a squash or rebase, and so in other commits.

No session's commits come in with those of another package; people merge such branches by hand. What the target has of
them already must then be neither brought again nor in conflict with itself.
"""

from agentpkg.core.model import State
from agentpkg.core.records import PackageRow
from agentpkg.engine.project import Project
from agentpkg.git.diff import commit_ids


def carried(project: Project, row: PackageRow, head: str, base: str) -> list[str]:
    """The landed branch tips whose work a branch has, as far as it is not on the target as it was made.

    Args:
        head: the branch's tip.
        base: the target's.
    """
    done = {one.wp: one for one in project.ledger.packages(row.feature) if one.state is State.DONE and one.wp != row.wp}
    if not done:
        return []
    tips = {one.new_head: one.wp for one in project.ledger.sessions(row.feature) if one.wp in done and one.new_head}
    tips |= {one.head: wp for wp, one in done.items() if one.head}
    found = sorted({tips[commit] for commit in commit_ids(project.control, head, base) if commit in tips})
    return [tip for wp in found if (tip := done[wp].head) and _is_there(project, tip)]


def _is_there(project: Project, commit: str) -> bool:
    return project.control.run("cat-file", "-e", f"{commit}^{{commit}}", ok=(0, 1, 128)).returncode == 0
