"""What the tests of worktrees and private dirs share: planted code, and a package with a session."""

from dataclasses import dataclass
from pathlib import Path

from agentpkg.git.control import open_control
from agentpkg.git.discover import Repository, discover
from agentpkg.git.identity import agent_identity
from agentpkg.git.private import enter, make_private
from agentpkg.git.repo import Git
from agentpkg.git.worktrees import create
from tests.support.repos import git

BRANCH = "feat/003-auth-WP02"


@dataclass
class Package:
    """A package's worktree with everything around it."""

    repo: Repository
    control: Git
    worktree: Path
    admin: Path
    base: str
    session: Path

    @property
    def tip(self) -> str:
        return git(self.repo.work_tree, "rev-parse", f"refs/heads/{BRANCH}")

    def private(self) -> Path:
        return make_private(self.repo, self.session, self.worktree, BRANCH, self.tip, agent_identity("replay"))

    def begin(self) -> Path:
        """Makes the private dir and lets the worktree name it."""
        private = self.private()
        enter(self.repo, self.worktree, private)
        return private


def package(work_tree: Path, worktree: Path | None = None) -> Package:
    repo = discover(work_tree)
    control = open_control(repo)
    path = worktree or work_tree / ".worktrees" / "003-auth-WP02"
    base = git(work_tree, "rev-parse", "HEAD")
    admin = create(repo, control, path, BRANCH, base)
    session = repo.state / "sessions" / "sess_01"
    session.mkdir(parents=True)
    return Package(repo, control, path, admin, base, session)


def plant(repo: Path, marker: Path) -> None:
    """Plants code wherever git would run some by its configuration; each writes ``marker``."""
    script = repo / ".git" / "planted.sh"
    script.write_text(f"#!/bin/sh\necho \"$0 $*\" >> '{marker}'\ncat\n")
    script.chmod(0o755)
    for hook in ("post-checkout", "reference-transaction", "post-index-change", "pre-commit", "post-commit"):
        path = repo / ".git" / "hooks" / hook
        path.parent.mkdir(exist_ok=True)
        path.write_text(script.read_text().replace("cat\n", "exit 0\n"))
        path.chmod(0o755)
    for key in (
        "core.fsmonitor", "core.pager", "core.editor", "core.sshCommand", "core.askPass", "diff.external",
        "core.alternateRefsCommand", "filter.evil.clean", "filter.evil.smudge", "merge.evil.driver",
        "diff.evil.command", "diff.evil.textconv", "gpg.program", "credential.helper",
    ):  # fmt: skip
        git(repo, "config", key, str(script))
    for key in ("commit.gpgSign", "filter.evil.required", "log.showSignature"):
        git(repo, "config", key, "true")
    (repo / ".git" / "info").mkdir(exist_ok=True)
    (repo / ".git" / "info" / "attributes").write_text("* filter=evil merge=evil diff=evil\n")
