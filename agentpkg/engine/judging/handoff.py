"""What an earlier try of a package hands to the next one: its commits, its last words, how it failed, what it left.

Everything comes from the ledger, the branch, the session's log (redacted when it was written) and its quarantine, so
that the same past gives the same text; places of this machine and names of sessions are taken out of it.
"""

import re
from pathlib import Path

from agentpkg.core.records import PackageRow, SessionRow
from agentpkg.engine.project import Project
from agentpkg.git import snapshots
from agentpkg.git.diff import changed_paths, commits
from agentpkg.git.quarantine import open_quarantine
from agentpkg.prompts import Left
from agentpkg.sessions.log import NAME, tail

#: records of a session's log that are looked at
_LOOK_BACK = 200
#: lines and characters of what a failed session printed last
_LINES, _LONGEST = 30, 4_000
#: paths that are told
_PATHS = 60

_SESSION = re.compile(r"\bsess_[0-9a-z]{26}\b")


def plain(project: Project, row: PackageRow, text: str) -> str:
    """``text`` without this machine's places and without names of sessions."""
    for place in (project.worktree(row.feature, row.wp), project.work_tree, project.state):
        text = text.replace(f"{place}/", "").replace(str(place), ".")
    return _SESSION.sub("the session", text)


def on_branch(project: Project, row: PackageRow, target: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Subjects of the package's own commits, and the files that they change: ``M src/a.py``."""
    tip = project.branch_tip(row.branch or "")
    if tip is None:
        return (), ()
    git, base = project.repository.git, project.target_tip(target)
    own = commits(git, tip, base)
    if not own:
        return (), ()
    fork = git.run("merge-base", base, tip, ok=(0, 1)).text
    changes = changed_paths(git, fork, tip, sizes=False) if fork else []
    return tuple(c.subject for c in own if len(c.parents) < 2), tuple(f"{c.status} {c.path}" for c in changes)


def last_words(project: Project, row: PackageRow, session: SessionRow) -> str:
    """The last thing the agent said in a session: often what it would do next."""
    said = [record for record in _log(project, session) if record["kind"] == "text"]
    return plain(project, row, str(said[-1]["text"])) if said else ""


def failure(project: Project, row: PackageRow, session: SessionRow) -> str:
    """The end of what a session printed, where it failed by its agent's fault; the evidence of a review is its own."""
    cause = session.reason_class
    if cause is None or not cause.counted:
        return ""
    lines = [
        line
        for record in _log(project, session)
        if record["kind"] in ("output", "tool_result")
        for line in str(record["text"]).splitlines()
    ]
    return plain(project, row, "\n".join(lines[-_LINES:])[-_LONGEST:])


def left_over(project: Project, row: PackageRow, session: SessionRow) -> Left | None:
    """What the session left uncommitted, and whether it still lies in the worktree."""
    folder = project.state / "sessions" / session.id
    ends = [kept for kept in snapshots.kept_in(project.repository, folder) if kept.label == snapshots.END]
    if not ends:
        return None
    git = open_quarantine(project.repository.common_dir, folder, project.repository.object_format)
    changes = changed_paths(git, f"{ends[-1].commit}^", ends[-1].commit, sizes=False)
    paths = tuple(f"{change.status} {change.path}" for change in changes[:_PATHS])
    more = len(changes) - len(paths)
    return Left((*paths, f"… and {more} more") if more else paths, project.worktree(row.feature, row.wp).is_dir())


def _log(project: Project, session: SessionRow) -> list[dict[str, object]]:
    path: Path = project.state / "sessions" / session.id / NAME
    return tail(path, _LOOK_BACK) if path.exists() else []
