"""What the parts of a run share: the repository, the feature as its files say it now, and what the run remembers.

Only what a run may forget when it is killed is remembered here; everything else is read from the ledger.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agentpkg import files
from agentpkg.core import graph, overlap, schedule, stages
from agentpkg.core.errors import BadInput
from agentpkg.core.model import Feature, State, Verdict
from agentpkg.core.records import PackageRow
from agentpkg.core.stages import Progress
from agentpkg.engine.project import Project
from agentpkg.engine.running.lane import Lane
from agentpkg.engine.running.refusals import Refusals
from agentpkg.engine.running.train import Train
from agentpkg.engine.running.values import Options, Stop
from agentpkg.engine.running.waiting import Patience
from agentpkg.engine.supervising.plan import config_digest


@dataclass
class Scene:
    """One run in progress.

    Attributes:
        refusals: what was refused, until it changes.
        patience: what is tried again later, and when.
        checks: the lane of done checks and entry conditions.
        train: the candidates whose checks run before their turn has come.
        progress: how far stages and the feature's done check are.
        unjudged: checks that gave no verdict: the target's tip then, and why, by check.
        trouble: why nothing may start or land: files that cannot be read.
        paused: a person has paused the feature's runs.
        told: how far the train is, as it was last written down.
        seconds: how long the checks take, where that is known.
    """

    project: Project
    feature: Feature
    options: Options
    stop: Stop
    lane: Lane
    patience: Patience
    checks: Lane
    train: Train
    progress: Progress = field(default_factory=Progress)
    unjudged: dict[str, tuple[str, str]] = field(default_factory=dict)
    refusals: Refusals = field(default_factory=Refusals)
    trouble: str | None = None
    paused: bool = False
    told: Sequence[Mapping[str, Any]] = ()
    seconds: float | None = None
    #: gets what a person should know and no event says
    warn: Callable[[str], None] = lambda text: None
    _files: object = None
    _paths: dict[str, graph.Length] = field(default_factory=dict)
    _behind: Mapping[str, tuple[overlap.Behind, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._files = self._stamp()
        self._behind = overlap.behind(self.feature)

    # ----------------------------------------------------------------- packages

    @property
    def max_cycles(self) -> int:
        """How often ``--until-done`` tries again what failed."""
        wanted = self.options.max_cycles
        return self.project.settings.run.max_cycles if wanted is None else wanted

    def rows(self) -> list[PackageRow]:
        """The packages this run is about: all, also those whose file has vanished, or one and what it needs."""
        rows = self.project.ledger.packages(self.feature.id)
        if self.options.until is not None:
            wanted = self.needed_by(self.options.until)
            rows = [row for row in rows if row.wp in wanted]
        return rows

    def needed_by(self, until: str) -> set[str]:
        """A package and all that it needs, with the stages before its own."""
        packages = self.feature.packages
        wanted: set[str] = set()
        left = [until]
        while left:
            wp = left.pop()
            if wp in packages and wp not in wanted:
                wanted.add(wp)
                left += packages[wp].dependencies
                left += stages.needed(self.feature, wanted, self.progress.stage_of(wp))
        return wanted

    def open_dependencies(self, row: PackageRow) -> list[str]:
        """What a package still waits for, with what will not change by itself named."""
        if not row.dependencies:
            return []
        with self.project.ledger.snapshot() as look:
            found = {name: look.package(name.rpartition("/")[0] or row.feature, name.rpartition("/")[2])
                     for name in row.dependencies}  # fmt: skip
        return [_named(name, found[name]) for name in found if not _is_done(found[name])]

    @property
    def shares_files(self) -> bool:
        """Some packages own the same files."""
        return bool(self._behind)

    def behind(self, wp: str) -> tuple[overlap.Behind, ...]:
        """The packages that own the same files and go before this one."""
        return self._behind.get(wp, ())

    def candidate(self, row: PackageRow) -> schedule.Candidate:
        """The package as the schedule sees it."""
        if not self._paths:
            needs = {wp: p.dependencies for wp, p in self.feature.packages.items()}
            known = {wp: p.estimate_seconds for wp, p in self.feature.packages.items() if p.estimate_seconds}
            self._paths = graph.remaining_paths(stages.in_stages(self.feature, needs), known, ())
        remaining = self._paths.get(row.wp, graph.Length(0, 0))
        return schedule.Candidate(row.wp, self.feature.packages[row.wp].priority, remaining)

    def may_try(self, row: PackageRow) -> bool:
        """The package has its file, is in nobody's hands, and was not refused as it is."""
        free = row.wp in self.feature.packages and row.wp not in self.lane and self.refusals.held.may_try(row.wp)
        return free and self.refusals.why(self.project, row) is None

    def moved(self, row: PackageRow) -> bool:
        """Somebody has moved the package's branch since it was last looked at."""
        return self.refusals.tip(self.project, row) != row.head

    def wants_changes(self, row: PackageRow) -> bool:
        """The package's branch is as a review has rejected it."""
        return row.state is State.FOR_REVIEW and row.verdict is Verdict.CHANGES_REQUESTED and not self.moved(row)

    # ----------------------------------------------------------------- the files

    def follow_files(self) -> None:
        """Goes on with what the files say now; while they say nonsense, nothing starts and nothing lands."""
        now = self._stamp()
        if now == self._files:
            return
        self._files = now
        try:
            project = self.project.reread()
            feature = project.good_feature(self.feature.id)
            project.ensure_registered(feature)
        except BadInput as error:
            self.trouble = error.message
            return
        self.trouble = None
        # a refusal may have had its reason in what was written there
        self.refusals.clear()
        self.project, self.feature, self._paths, self._behind = project, feature, {}, overlap.behind(feature)

    def reload(self) -> None:
        """Reads the feature again, as the ledger has more packages of it now."""
        self.feature = self.project.good_feature(self.feature.id)
        self._paths, self._behind = {}, overlap.behind(self.feature)

    def _stamp(self) -> object:
        """What tells whether the configuration or the feature's files have changed."""
        return config_digest(self.project.work_tree), files.stamp(self.project.work_tree / self.feature.path)


def _is_done(row: PackageRow | None) -> bool:
    return row is not None and row.state is State.DONE


def _named(name: str, row: PackageRow | None) -> str:
    """A dependency, with its state where that will not change by itself."""
    return f"{name}, which is cancelled" if row is not None and row.state is State.CANCELLED else name
