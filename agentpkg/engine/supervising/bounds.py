"""What bounds one session while it runs, and the signs of life that its supervisor leaves meanwhile."""

import os
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from agentpkg.core.errors import AgentpkgError
from agentpkg.engine.asking import budgets
from agentpkg.engine.supervising import raising
from agentpkg.engine.supervising.plan import SessionPlan
from agentpkg.files import temporary_folder
from agentpkg.ledger.ledger import Ledger
from agentpkg.proc import Pen, make_pen
from agentpkg.sessions import limits
from agentpkg.sessions.fulldisk import Rooms
from agentpkg.sessions.pulse import Heart, Pulse, read_pulse


@dataclass
class Bounds:
    """The bounds of one session, as its plan has them.

    Attributes:
        folder: the session's.
        ledger: tells which other sessions live.
        heart: leaves the signs of life.
    """

    plan: SessionPlan
    folder: Path
    ledger: Ledger
    heart: Heart
    _spent: dict[str, budgets.Amounts] = field(default_factory=dict)

    @cached_property
    def disk(self) -> limits.DiskMeter:
        """Measures what the session keeps on disk."""
        return limits.disk_meter(self.plan.worktree, Path(self.plan.private))

    @cached_property
    def rooms(self) -> Rooms:
        """Watches for a disk that is full."""
        # not by whose home it is, which nobody may know
        elsewhere = (temporary_folder(), os.environ.get("HOME") or "/")
        return Rooms((self.plan.worktree, Path(self.plan.private), *map(Path, elsewhere)))

    def chosen(self) -> list[limits.Limit]:
        """Those of the session, and those of all sessions together."""
        money = limits.Spending(raising.Budgets(self.plan, self.ledger), self._spent_by_others)
        together = {name: bound for name, bound in self.plan.run_limits.items() if bound}
        whole = [limits.Whole(together, self.plan.session, self._others, self.disk)] if together else []
        return [*limits.chosen(self.plan.limits, self.disk), *whole, money]

    def _spent_by_others(self) -> dict[str, budgets.Amounts]:
        """What the feature's other sessions have used; while the ledger cannot say, what it said last."""
        feature, wp = str(self.plan.job["feature"]), str(self.plan.job["wp"])
        with suppress(AgentpkgError, OSError):
            used = budgets.usages(self.folder.parent.parent, self.ledger, feature, but=self.plan.session)
            self._spent = budgets.spent(used, wp)
        return self._spent

    def _others(self) -> dict[str, Pulse]:
        """What the repository's other live sessions last said of themselves."""
        live = [row.id for row in self.ledger.sessions(live=True) if row.id != self.plan.session]
        found = {name: read_pulse(self.folder.parent / name) for name in live}
        return {name: pulse for name, pulse in found.items() if pulse is not None}

    @cached_property
    def _pen(self) -> Pen | None:
        most = self.plan.limits.get("processes")
        return make_pen(self.plan.session, 2 * most + 100) if most else None

    def pen(self) -> AbstractContextManager[None]:
        """For the block, what starts is bound against storms of forks that are faster than the limit can look."""
        return self._pen.around() if self._pen else nullcontext()

    def close(self) -> None:
        """Removes what was made for that, when all of the session is dead."""
        if self._pen is not None:
            self._pen.close()

    def looked(self, usage: limits.Usage, stop: str | None) -> None:
        """Tells what the session takes."""
        self.rooms.look()
        self.heart.looked(usage, stop, self.disk.used)
