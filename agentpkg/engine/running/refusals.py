"""What a run was refused, and may not simply ask for again: until the package changes, or another command lets go."""

import time
from collections.abc import Container

from agentpkg.core.errors import AgentpkgError, Busy, Interrupted
from agentpkg.core.model import State
from agentpkg.core.records import PackageRow
from agentpkg.engine.project import Project

#: seconds between two tries of what another command holds
_PAUSE = 0.5
#: seconds after which what another command holds counts as refused
_PATIENCE = 60.0


class Held:
    """Packages that another command keeps from the run: tried again after a pause, but not for ever."""

    def __init__(self) -> None:
        #: package -> when it may be tried again, and since when it has been held
        self._held: dict[str, tuple[float, float]] = {}

    def __bool__(self) -> bool:
        return bool(self._held)

    def may_try(self, wp: str) -> bool:
        """The package is not held, or was tried long enough ago."""
        return time.monotonic() >= self._held.get(wp, (0.0, 0.0))[0]

    def hold(self, wp: str) -> bool:
        """Notes that a package is held; False when that has lasted too long."""
        now = time.monotonic()
        _, since = self._held.pop(wp, (now, now))
        if now - since > _PATIENCE:
            return False
        self._held[wp] = (now + _PAUSE, since)
        return True

    def let_go(self, wp: str) -> None:
        """Notes that a package's step was taken: whoever held it has let go."""
        self._held.pop(wp, None)

    def keep(self, packages: Container[str]) -> None:
        """Forgets all but these."""
        self._held = {wp: when for wp, when in self._held.items() if wp in packages}


class Refusals:
    """Why packages of one feature were refused a step, and what they were like then."""

    def __init__(self) -> None:
        self.held = Held()
        self._refused: dict[str, tuple[object, str]] = {}
        self._tips: dict[str, str] | None = None

    def new_step(self) -> None:
        """What was read of branches is read again when somebody asks."""
        self._tips = None

    def refuse(self, project: Project, before: PackageRow, error: AgentpkgError) -> None:
        """Remembers why a package was refused, until it changes; what another command holds is tried again.

        Args:
            before: the package before the step.
        """
        if isinstance(error, Interrupted) or (isinstance(error, Busy) and self.held.hold(before.wp)):
            return
        now = project.row(before.feature, before.wp)
        if isinstance(error, Busy) or (before.state, before.session) == (now.state, now.session):
            self._refused[before.wp] = (self._likeness(project, now), error.message)

    def why(self, project: Project, row: PackageRow) -> str | None:
        """Why the package was refused as it is; None when it was not, or has changed since."""
        if row.wp not in self._refused:
            return None
        likeness, why = self._refused[row.wp]
        return why if likeness == self._likeness(project, row) else None

    def clear(self) -> None:
        """Something that many refusals hang on has changed, such as the target."""
        self._refused.clear()

    def tip(self, project: Project, row: PackageRow) -> str | None:
        """The tip of the package's branch; those of all packages are read at once, at most once in a step."""
        if self._tips is None:
            waiting = (State.FOR_REVIEW, State.BLOCKED)
            rows = [r for r in project.ledger.packages(row.feature) if r.branch and r.state in waiting]
            self._tips = _tips(project, [f"refs/heads/{r.branch}" for r in rows])
        return self._tips.get(f"refs/heads/{row.branch}")

    def _likeness(self, project: Project, row: PackageRow) -> object:
        tip = self.tip(project, row) if row.state is State.FOR_REVIEW else None
        return row.state, row.session, row.verdict, row.cycle, tip


def _tips(project: Project, names: list[str]) -> dict[str, str]:
    if not names:
        return {}
    listed = project.repository.git.text("for-each-ref", "--format=%(objectname) %(refname)", *names)
    pairs = (line.split(" ", 1) for line in listed.splitlines())
    return {name: commit for commit, name in pairs}
