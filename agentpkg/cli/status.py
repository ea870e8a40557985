"""``status``: where a feature stands, or all of them; ``--watch`` keeps showing it."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from agentpkg import views
from agentpkg.cli.common import Speaker, project_at, verb
from agentpkg.core.errors import BadInput
from agentpkg.engine import looking
from agentpkg.engine.project import Project
from agentpkg.views import Seen

#: seconds between two looks of ``--watch``
_LOOK = 0.5

#: warnings about features that a person is shown at once
MOST = 10


@verb(
    """agentpkg status
agentpkg status 003
agentpkg status 003 --watch"""
)
@click.argument("feature", required=False)
@click.option("--watch", is_flag=True, help="Keep showing it, until Ctrl-C.")
def command(feature: str | None, watch: bool, repo: Path | None, speak: Speaker) -> int:
    """Show where a feature stands; without a name, all of them.

    With --watch and --json, or without a terminal, every change is printed once, and the command ends when the
    feature is validated, shipped or cancelled.
    """
    project = project_at(repo)
    if feature is None:
        return _watch_all(project, speak) if watch else _all(project, speak)
    return _watch(project, feature, speak) if watch else _one(project, feature, speak)


# --------------------------------------------------------------------------- one feature


def _one(project: Project, name: str, speak: Speaker) -> int:
    document = views.status(looking.see(project, project.good_feature(name)))
    speak.warn_all(document["warnings"], MOST)
    if speak.json:
        speak.document(document)
    else:
        _show(project, document)
    return 0


def _show(project: Project, document: Mapping[str, Any]) -> None:
    from agentpkg.cli import looks, render, render_status

    render.show(render_status.status(looks.look_at(document, project.settings.run.jobs)))


def _watch(project: Project, name: str, speak: Speaker) -> int:
    from agentpkg.cli import looks, render

    eye = looks.Eye(project, name)
    said = _Said(speak)
    said.news(eye.document())
    if not speak.json and render.can_redraw():
        return _on_terminal(project, eye, said)

    def show(found: Mapping[str, Any]) -> None:
        said.news(found)
        if speak.json:
            speak.line(found)
        else:
            _show(project, found)

    return _each_change(eye.document, show, lambda found: found["feature"]["state"] in looks.OVER)


class _Said:
    """The warnings that were said already."""

    def __init__(self, speak: Speaker) -> None:
        self._speak = speak
        self._known: set[str] = set()

    def unsaid(self, document: Mapping[str, Any]) -> list[str]:
        """Warnings that are new."""
        return [warning for warning in document["warnings"] if warning not in self._known]

    def news(self, document: Mapping[str, Any]) -> None:
        """Says what is new."""
        found = self.unsaid(document)
        self._known |= {*found}
        self._speak.warn_all(found)


def _each_change(
    look: Callable[[], Mapping[str, Any]], show: Callable[[Mapping[str, Any]], None],
    over: Callable[[Mapping[str, Any]], bool],
) -> int:  # fmt: skip
    """Shows every change, until nothing is left to watch."""
    last: Mapping[str, Any] | None = None
    while True:
        found = look()
        if found != last:
            show(found)
            last = found
        if over(found):
            return 0
        time.sleep(_LOOK)


def _on_terminal(project: Project, eye: Any, said: _Said) -> int:
    """Redraws until Ctrl-C, as ``watch`` does."""
    from agentpkg.cli import looks, render, render_live

    document = eye.document()
    with render_live.Board() as board:
        try:
            while True:
                trouble = None
                try:
                    document = eye.document()
                except BadInput as error:
                    # somebody is in the middle of editing a file; what was good last stays
                    trouble = error.message
                news = [render.line(("! ", "yellow"), warning) for warning in said.unsaid(document)]
                board.draw(looks.look_at(document, project.settings.run.jobs), trouble, news)
                time.sleep(_LOOK)
        except KeyboardInterrupt:
            return 130


# --------------------------------------------------------------------------- all features


def _all(project: Project, speak: Speaker) -> int:
    seen = looking.see_all(project)
    document = listing(project, seen)
    speak.warn_all(document["warnings"], MOST)
    if speak.json:
        speak.document(document)
        return 0
    from agentpkg.cli import render, render_tables

    render.show(render_tables.overview(document, {s.feature.id: _busy(s) for s in seen}))
    return 0


def _watch_all(project: Project, speak: Speaker) -> int:
    from dataclasses import replace

    from agentpkg.cli import looks, render, render_tables

    def look() -> dict[str, Any]:
        here = replace(project)
        seen = looking.see_all(here)
        return {**listing(here, seen), "busy": {s.feature.id: _busy(s) for s in seen}}

    def show(found: Mapping[str, Any]) -> None:
        if speak.json:
            speak.line({key: value for key, value in found.items() if key != "busy"})
        else:
            render.show([*render_tables.overview(found, found["busy"]), ""])

    return _each_change(look, show, lambda found: all(f["state"] in looks.OVER for f in found["features"]))


def listing(project: Project, seen: list[Seen]) -> dict[str, Any]:
    """The document of ``status --json`` and ``features --json``, with what is wrong in any feature as warnings."""
    said = [str(warning) for warning in project.loaded.warnings]
    said += [str(problem) for one in seen for problem in one.feature.problems]
    for one in seen:
        said += [*map(str, one.feature.warnings), *views.unsettled(one)]
    return {"features": [views.feature_line(one) for one in seen], "warnings": list(dict.fromkeys(said))}


def _busy(seen: Seen) -> list[str]:
    """Sentences on the packages that somebody works on, or that wait for somebody."""
    from agentpkg.cli.render_package import state_word

    found = []
    for package in views.status(seen)["work_packages"]:
        if package["state"] in ("doing", "for_review", "blocked"):
            more = package["activity"] or package["reason"] or ""
            found.append(f"{package['id']} {state_word(package)}  {more}".rstrip())
    return found
