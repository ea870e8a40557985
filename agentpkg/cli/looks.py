"""One feature looked at again and again: what ``status``, ``status --watch`` and the board of ``run`` show."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from agentpkg import views
from agentpkg.cli import render
from agentpkg.cli.render_package import Look
from agentpkg.core import graph, schedule
from agentpkg.core.model import FeatureState
from agentpkg.core.records import SessionRow
from agentpkg.core.stages import chained
from agentpkg.engine import looking
from agentpkg.engine.project import Project
from agentpkg.engine.running import owner
from agentpkg.engine.supervising.living import life_of

#: states in which nothing is left to watch
OVER = (FeatureState.VALIDATED, FeatureState.SHIPPED, FeatureState.CANCELLED)

_Stamp = tuple[Any, ...]


def look_at(document: Mapping[str, Any], jobs: int) -> Look:
    """A status document with the time of the look and the forecast for it."""
    now = render.now()
    left = {p["id"]: p for p in document["work_packages"]}
    stages = [(stage["packages"], stage["needs"], stage["name"]) for stage in document.get("stages", ())]
    needs = chained({wp: p["dependencies"] for wp, p in left.items()}, stages)
    over = {wp for wp, p in left.items() if p["state"] in ("done", "cancelled")}
    seconds = {}
    for wp, package in left.items():
        if package["estimate_seconds"]:
            spent = render.elapsed(package["started_at"], None, now) if package["state"] == "doing" else 0
            seconds[wp] = max(0, package["estimate_seconds"] - (spent or 0))
    forecast = 0 if graph.cycles(needs) else schedule.forecast(needs, seconds, over, jobs)
    return Look(document, now, forecast, jobs)


class Eye:
    """Watches one feature; reads again only what has changed.

    Args:
        project: the repository.
        name: the feature as a person named it.
    """

    def __init__(self, project: Project, name: str) -> None:
        self._project = project
        self._feature = project.good_feature(name)
        self._files = self._file_stamp()
        self._seen: _Stamp = ()
        self._live: list[SessionRow] = []
        self._document: dict[str, Any] = {}

    @property
    def last(self) -> dict[str, Any]:
        """The newest good document."""
        return self._document

    def document(self) -> dict[str, Any]:
        """The document of ``status --json`` as of now.

        Raises:
            BadInput: its files have become bad.
        """
        self._find_ledger()
        files = self._file_stamp()
        if files != self._files:
            # a new look at the folders as well: packages may have come
            self._project = replace(self._project)
            self._feature = self._project.good_feature(self._feature.id)
            self._files = files
        if self._stamp() != self._seen or not self._document:
            seen = looking.see(self._project, self._feature)
            self._live = [session for session in seen.sessions.values() if session.ended_at is None]
            self._document = views.status(seen)
            self._seen = self._stamp()
        return self._document

    def _find_ledger(self) -> None:
        """A project remembers that there is no ledger; somebody may have made one since."""
        if self._project.ledger_if_any is None:
            self._project = replace(self._project)

    def _stamp(self) -> _Stamp:
        # a supervisor that dies writes nothing anywhere
        lives = tuple((session.id, life_of(self._project.state, session).state) for session in self._live)
        runner = owner.current(self._project.state, self._feature.id)
        return (self._files, self._ledger_stamp(), lives, runner, *self._log_stamps())

    def _ledger_stamp(self) -> int:
        ledger = self._project.ledger_if_any
        return ledger.data_version() if ledger else -1

    def _log_stamps(self) -> Iterator[_Stamp]:
        """Sizes of the logs of sessions that run: what an agent does is in no ledger."""
        for package in self._document.get("work_packages", ()):
            if package["state"] == "doing" and package["session"]:
                yield _stamp(self._project.state / "sessions" / package["session"] / "events.jsonl")

    def _file_stamp(self) -> _Stamp:
        folder = self._project.work_tree / self._feature.path
        return tuple(_stamp(path) for path in sorted(_files(folder)))


def _files(folder: Path) -> Iterator[Path]:
    for place in (folder, folder / "tasks"):
        try:
            with os.scandir(place) as entries:
                yield from (Path(entry.path) for entry in entries if entry.is_file())
        except OSError:
            continue


def _stamp(path: Path) -> _Stamp:
    try:
        facts = path.stat()
    except OSError:
        return (str(path), 0, 0)
    return (str(path), facts.st_mtime_ns, facts.st_size)
