"""One look at a feature: files, ledger and running sessions together, for the commands that only read."""

from collections.abc import Iterable
from dataclasses import replace

from agentpkg.core.model import Feature, SessionRow, State
from agentpkg.engine.lease import is_dead
from agentpkg.engine.project import Project
from agentpkg.features.folder import load_all
from agentpkg.sessions.log import last_activity
from agentpkg.views import Seen


def see(project: Project, feature: Feature) -> Seen:
    """Everything ``status`` shows of a feature; writes nothing."""
    ledger = project.ledger_if_any
    if ledger is None:
        return _bare(project, feature)
    with ledger.snapshot() as look:
        rows = {row.wp: row for row in look.packages(feature.id)}
        sessions = {s.wp: s for s in look.sessions(feature.id) if rows[s.wp].session == s.id}
        return replace(
            _bare(project, feature), row=look.feature(feature.id), rows=rows, sessions=sessions,
            done_elsewhere=frozenset(f"{r.feature}/{r.wp}" for r in look.packages() if r.state is State.DONE),
            activity=_activity(project, sessions.values()), questions=look.questions(feature.id, open_only=True),
            lost=frozenset(s.id for s in sessions.values() if s.ended_at is None and is_dead(s)),
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
    return load_all(project.work_tree, folder, project.agents, project.registered())


def _bare(project: Project, feature: Feature) -> Seen:
    """A look at a feature that no command has registered yet."""
    settings = project.settings.project
    return Seen(
        feature=feature, row=None, target=project.target(feature), branch_prefix=settings.branch_prefix,
        worktrees_dir=settings.worktrees_dir, default_agent=project.settings.agent.harness,
        warnings=tuple(str(w) for w in project.loaded.warnings),
    )  # fmt: skip


def _activity(project: Project, sessions: Iterable[SessionRow]) -> dict[str, str]:
    live = [s.id for s in sessions if s.ended_at is None]
    found = {name: last_activity(project.state / "sessions" / name) for name in live}
    return {name: text for name, text in found.items() if text}


def lost_sessions(project: Project) -> list[SessionRow]:
    """The live sessions whose supervisor is known to be dead; the next command that changes state ends them."""
    ledger = project.ledger_if_any
    return [row for row in ledger.sessions(live=True) if is_dead(row)] if ledger else []
