"""One look at a feature: files, ledger and running sessions together, for the commands that only read."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from agentpkg.core.chain import rfc3339
from agentpkg.core.life import Life
from agentpkg.core.model import Feature, State
from agentpkg.core.records import PackageRow, QuestionRow, SessionRow
from agentpkg.engine import retries
from agentpkg.engine.asking import budgets
from agentpkg.engine.dispatching import gates
from agentpkg.engine.project import Project
from agentpkg.engine.running import owner, steering
from agentpkg.engine.supervising.living import life_of
from agentpkg.features.folder import load_all
from agentpkg.ledger.reading import Reader
from agentpkg.sessions.log import last_activity
from agentpkg.views import Seen


def see(project: Project, feature: Feature) -> Seen:
    """Everything ``status`` shows of a feature; writes nothing."""
    ledger = project.ledger_if_any
    if ledger is None:
        return _bare(project, feature)
    with ledger.snapshot() as look:
        rows = {row.wp: row for row in look.packages(feature.id)}
        every = look.sessions(feature.id)
        sessions = {s.wp: s for s in every if rows[s.wp].session == s.id}
        asked = look.questions(feature.id, open_only=True)
        return replace(
            _bare(project, feature), row=look.feature(feature.id), rows=rows, sessions=sessions,
            done_elsewhere=frozenset(f"{r.feature}/{r.wp}" for r in look.packages() if r.state is State.DONE),
            activity=_activity(project, sessions.values()), questions=asked,
            run=_run(project, look, feature.id), retry_at=_retry_at(project, look, feature, list(rows.values())),
            life=_lives(project, [s for s in sessions.values() if s.ended_at is None], asked),
            stages=gates.progress(look, feature, rows),
            spent=budgets.by_package(budgets.usages(project.state, look, feature.id)),
            caps=budgets.configured(project, feature),
            parked=retries.parked(project, every, look.noted(feature.id, budgets.REVIEWED)),
        )  # fmt: skip


def see_all(project: Project) -> list[Seen]:
    """A look at every feature, in the files or in the ledger, sorted by id."""
    features = {f.id: f for f in _read_all(project)}
    ledger = project.ledger_if_any
    for row in ledger.features() if ledger else ():
        if row.id not in features:
            features[row.id] = Feature(id=row.id, title=row.title, path="")
    return [see(project, features[name]) for name in sorted(features)]


def _read_all(project: Project) -> list[Feature]:
    folder = project.settings.project.features_dir
    found = load_all(project.work_tree, folder, project.agents, project.registered())
    return [project.with_fixes(feature) for feature in found]


def _bare(project: Project, feature: Feature) -> Seen:
    """A look at a feature that no command has registered yet."""
    settings = project.settings.project
    return Seen(
        feature=feature, row=None, target=project.target(feature), branch_prefix=settings.branch_prefix,
        worktrees_dir=settings.worktrees_dir, default_agent=project.settings.agent.harness,
        warnings=tuple(str(w) for w in project.loaded.warnings), stages=gates.progress(None, feature, {}),
    )  # fmt: skip


def _run(project: Project, ledger: Reader, feature: str) -> dict[str, Any]:
    """Who runs a feature, and what holds that run."""
    runner = owner.current(project.state, feature)
    pause = steering.paused(ledger, feature)
    hold = ledger.newest(feature, "run_held", "run_released")
    known: dict[str, Any] = {"owner": runner.as_json() if runner else None, "paused": None, "held": None}
    if pause is not None:
        known["paused"] = {"by": pause.actor, "since": pause.timestamp, "reason": pause.metadata.get("reason")}
    # a hold ends with the run that it held
    if runner is not None and hold is not None and hold.timestamp > runner.since and "failures" in hold.metadata:
        said = {key: hold.metadata.get(key) for key in ("reason", "reason_class", "failures", "probes", "until")}
        known["held"] = {"since": hold.timestamp, **said}
    return known


def _retry_at(project: Project, ledger: Reader, feature: Feature, rows: Sequence[PackageRow]) -> dict[str, str]:
    """When a run that is at work tries blocked packages again, and asks a reviewer again whose provider refused."""
    if owner.current(project.state, feature.id) is None:
        return {}
    newest = {str(note.metadata.get("wp")): note.metadata for note in ledger.noted(feature.id, budgets.REVIEWED)}
    waiting = {row.wp for row in rows if row.state is State.FOR_REVIEW and row.verdict is None}
    found = {wp: str(said["until"]) for wp, said in newest.items() if wp in waiting and "until" in said}
    for row in rows:
        cause = row.reason_class
        if row.state is State.BLOCKED and cause is not None and (cause.counted or cause.shared):
            again = retries.again(project, feature, row, ledger=ledger)
            if again is not None and again.ended_at is not None:
                found[row.wp] = rfc3339(datetime.fromisoformat(again.ended_at) + timedelta(seconds=again.rest))
    return found


def _activity(project: Project, sessions: Iterable[SessionRow]) -> dict[str, str]:
    live = [s.id for s in sessions if s.ended_at is None]
    found = {name: last_activity(project.state / "sessions" / name) for name in live}
    return {name: text for name, text in found.items() if text}


def lives(project: Project) -> list[tuple[SessionRow, Life]]:
    """Every live session of the repository, and whether it lives; writes nothing."""
    ledger = project.ledger_if_any
    if ledger is None:
        return []
    live = ledger.sessions(live=True)
    found = _lives(project, live, ledger.questions(open_only=True) if live else ())
    return [(row, found[row.id]) for row in live]


def _lives(project: Project, live: Iterable[SessionRow], asked: Iterable[QuestionRow]) -> dict[str, Life]:
    """Whether sessions live, and what their agents wait for, by id."""
    waiting = {question.session: question for question in asked if question.session}
    return {row.id: life_of(project.state, row, waiting.get(row.id)) for row in live}
