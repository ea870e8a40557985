"""The budgets that hold for a session while it works: as files and people's answers have them now, not at its start.

What is spent is spent, so a budget that is raised lets a session go on that would have been stopped, and one that is
lowered stops it. Files are read again only when they have changed; while they cannot be read, what held last holds.
"""

import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from agentpkg.core import questions
from agentpkg.core.errors import AgentpkgError
from agentpkg.core.spending import Caps
from agentpkg.engine.asking import budgets
from agentpkg.engine.supervising.plan import SessionPlan
from agentpkg.files import stamp
from agentpkg.ledger.ledger import Ledger


@dataclass
class Budgets:
    """The budgets of one session, by a call."""

    plan: SessionPlan
    ledger: Ledger
    _caps: Caps = field(default_factory=dict)
    _seen: object = None

    def __post_init__(self) -> None:
        self._caps = budgets.from_plan(self.plan.budget)
        with suppress(AgentpkgError, OSError):
            self._seen = self._stamp()

    def __call__(self) -> Caps:
        """The budgets as they are now."""
        with suppress(AgentpkgError, OSError):
            now = self._stamp()
            if now != self._seen:
                self._caps = budgets.from_plan(self._read())
                self._seen = now
        return self._caps

    def _stamp(self) -> object:
        """What tells whether files or people have said something new."""
        work_tree, feature = Path(self.plan.repository["work_tree"]), str(self.plan.job["feature"])
        folders = [work_tree / name / feature for name in self.plan.features_dirs]
        rules = [_seen(work_tree / ".kittify" / name) for name in ("config.yaml", "governance.yaml")]
        asked = self.ledger.questions(feature, kind=questions.SPENDING)
        return rules, [stamp(folder) for folder in folders], [(one.number, one.answer) for one in asked]

    def _read(self) -> dict[str, dict[str, str]]:
        from agentpkg.config import load
        from agentpkg.engine.project import Project

        repository = self.plan.as_repository()
        project = Project(repository, load(repository.work_tree, os.environ, {}), os.environ, {})
        feature = project.good_feature(str(self.plan.job["feature"]))
        return budgets.plan(project, feature, str(self.plan.job["wp"]))


def _seen(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
