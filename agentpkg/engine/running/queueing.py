"""The merge queue as it stands: what waits for review, in which order it lands and why, and how far its checks are.

The order is that of :mod:`agentpkg.core.queue`. A run that is at work tells how far its train is in a file that it
writes for those who look; nothing is ever decided by it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentpkg import files
from agentpkg.core import graph, questions, stages
from agentpkg.core.model import Feature, State, Verdict
from agentpkg.core.queue import order
from agentpkg.core.records import PackageRow, QuestionRow
from agentpkg.core.schedule import Candidate
from agentpkg.engine.project import Project
from agentpkg.engine.running import owner
from agentpkg.git.diff import changed_paths

_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class Waiting:
    """A package in the queue.

    Attributes:
        place: from 1; None for one that does not land by itself as it is.
        state: ``queued``, ``checking``, ``passed``, ``failed``, ``landing`` or ``approved``; of those without a place
            ``rejected`` (its agent is to change it) or ``person`` (a person has to decide).
        reason: why it stands there.
        shares: packages before it that change the same paths, and those paths; empty: it is independent of them.
        base: what its candidate stands on, as far as a run is at work on it.
        behind: the package whose candidate that is; None: the target's tip.
        batch: the packages that are judged by one run of the commands, this one among them; empty: it is judged alone.
    """

    feature: str
    wp: str
    title: str
    target: str
    place: int | None
    state: str
    reason: str
    shares: Mapping[str, Sequence[str]]
    base: str | None = None
    candidate: str | None = None
    behind: str | None = None
    batch: Sequence[str] = ()

    def as_json(self) -> dict[str, Any]:
        """One of ``queue --json``."""
        return {
            "feature": self.feature, "wp": self.wp, "title": self.title, "target": self.target, "place": self.place,
            "state": self.state, "reason": self.reason, "independent": not self.shares,
            "shares": [{"wp": wp, "paths": list(paths)} for wp, paths in self.shares.items()], "base": self.base,
            "candidate": self.candidate, "behind": self.behind, "batch": list(self.batch),
        }  # fmt: skip


def look(project: Project, feature: str | None = None) -> list[Waiting]:
    """The queue of one feature, or of all, each in its order; writes nothing."""
    ledger = project.ledger_if_any
    if ledger is None:
        return []
    waiting: dict[str, list[PackageRow]] = {}
    for row in ledger.packages(feature) if feature else ledger.packages():
        if row.state is State.FOR_REVIEW:
            waiting.setdefault(row.feature, []).append(row)
    return [one for name, rows in sorted(waiting.items()) for one in _of(project, project.read(name), rows)]


def _of(project: Project, feature: Feature, rows: Sequence[PackageRow]) -> list[Waiting]:
    cars = told(project, feature.id)
    asked = {q.wp: q for q in project.ledger.questions(feature.id, open_only=True)}
    held = {row.wp: why for row in rows if (why := _held(project, row, asked.get(row.wp))) is not None}
    free = {row.wp: row for row in rows if row.wp not in held}
    needs = {wp: package.dependencies for wp, package in feature.packages.items()}
    placed = order(
        _candidates(feature, list(free)), needs, cars, {wp: car.get("passed_by") or () for wp, car in cars.items()}
    )
    touched = {place.wp: paths(project, feature, free[place.wp]) for place in placed}
    found = []
    for at, place in enumerate(placed):
        row, car = free[place.wp], cars.get(place.wp, {})
        before = [other.wp for other in placed[:at]]
        shares = {wp: both for wp in before if (both := sorted(touched[wp] & touched[row.wp]))}
        state = car.get("state") or ("approved" if row.verdict is Verdict.APPROVED else "queued")
        found.append(Waiting(
            row.feature, row.wp, row.title, project.target(feature), at + 1, state, place.reason, shares,
            car.get("base"), car.get("candidate") or row.candidate, car.get("behind"),
            car.get("batch") or (),
        ))  # fmt: skip
    left = [row for row in rows if row.wp in held]
    return found + [
        Waiting(row.feature, row.wp, row.title, project.target(feature), None, *held[row.wp], {}) for row in left
    ]


def _held(project: Project, row: PackageRow, question: QuestionRow | None) -> tuple[str, str] | None:
    """Why a package does not land by itself as it is: a state and the reason."""
    if row.verdict is Verdict.CHANGES_REQUESTED and project.branch_tip(row.branch or "") == row.head:
        return "rejected", row.reason or "its review asked for changes"
    if question is not None:
        return "person", f"{questions.name(question.number)}: {question.text}"
    if row.verdict is Verdict.APPROVED and not project.settings.merge.auto:
        return "person", f"merge.auto is off: `agentpkg move {row.feature} {row.wp} --to done`"
    return None


def _candidates(feature: Feature, wps: Sequence[str]) -> list[Candidate]:
    packages = feature.packages
    needs = stages.in_stages(feature, {wp: package.dependencies for wp, package in packages.items()})
    seconds = {wp: package.estimate_seconds for wp, package in packages.items() if package.estimate_seconds}
    paths = {} if graph.cycles(needs) else graph.remaining_paths(needs, seconds, ())
    blank = graph.Length(0, 0)
    return [Candidate(wp, packages[wp].priority if wp in packages else 0, paths.get(wp, blank)) for wp in wps]


def paths(project: Project, feature: Feature, row: PackageRow) -> frozenset[str]:
    """What a package's branch changes, by its trees."""
    head, git = project.branch_tip(row.branch or ""), project.control
    if head is None:
        return frozenset()
    fork = git.run("merge-base", project.target_tip(project.target(feature)), head, ok=(0, 1)).text
    return frozenset(change.path for change in changed_paths(git, fork, head, sizes=False)) if fork else frozenset()


# --------------------------------------------------------------------------- what a run tells


def tell(project: Project, feature: str, cars: Sequence[Mapping[str, Any]]) -> None:
    """Writes down how far a run's train is, for :func:`look`."""
    path = _file(project, feature)
    if not cars:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(mode=0o700, exist_ok=True)
    files.write_atomic(path, json.dumps({"cars": list(cars)}))


def told(project: Project, feature: str) -> dict[str, Mapping[str, Any]]:
    """How far the train of the run at work is, by package; empty when there is none."""
    if owner.current(project.state, feature) is None:
        return {}
    try:
        cars = json.loads(files.read_bounded(_file(project, feature), _LIMIT))["cars"]
        return {str(car["wp"]): car for car in cars}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _file(project: Project, feature: str) -> Path:
    return project.state / "trains" / f"{feature}.json"
