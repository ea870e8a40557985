"""The JSON shapes that people and scripts rely on: files and ledger rows in, plain dictionaries out.

Pure: what is derived (ready, blocked by, critical path, progress) is derived here, at the time of looking.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from agentpkg.core import graph, overlap, questions, spending
from agentpkg.core.life import Life, LifeState
from agentpkg.core.model import Feature, FeatureState, State, WorkPackage
from agentpkg.core.records import Entry, EventRow, FeatureRow, PackageRow, QuestionRow, ReviewRow, SessionRow
from agentpkg.core.spending import Spent
from agentpkg.core.stages import Progress, in_stages

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything one look at a feature takes in.

    Attributes:
        feature: as its files say, problems and all.
        row: None while the feature is not registered.
        rows: the registered packages, by id.
        sessions: the last session of each package, by package id.
        done_elsewhere: packages of other features that are done, as ``002-billing/WP04``.
        activity: what a running session did last, by session id.
        run: who runs the feature now, and what holds that run: ``owner paused held``, each None where there is none.
        retry_at: when a blocked package is tried again by the run; RFC 3339, by package.
        life: whether each running session lives, by session id.
        stages: how far the feature's stages and its done check are.
        target: the branch packages merge into.
        questions: those that wait for people's answers.
        spent: what each package's sessions have used, by package; live ones as far as they have told.
        caps: the budgets, by scope and unit.
        parked: agents whose provider has closed, and until when; RFC 3339.
    """

    feature: Feature
    row: FeatureRow | None
    target: str
    rows: Mapping[str, PackageRow] = field(default_factory=dict)
    sessions: Mapping[str, SessionRow] = field(default_factory=dict)
    done_elsewhere: Container[str] = frozenset()
    activity: Mapping[str, str] = field(default_factory=dict)
    run: Mapping[str, Any] = field(default_factory=lambda: {"owner": None, "paused": None, "held": None})
    retry_at: Mapping[str, str] = field(default_factory=dict)
    life: Mapping[str, Life] = field(default_factory=dict)
    stages: Progress = field(default_factory=Progress)
    branch_prefix: str = "feat/"
    worktrees_dir: str = ".worktrees"
    default_agent: str | None = None
    warnings: Sequence[str] = ()
    questions: Sequence[QuestionRow] = ()
    spent: Mapping[str, Spent] = field(default_factory=dict)
    caps: Mapping[str, Mapping[str, Decimal]] = field(default_factory=dict)
    parked: Mapping[str, str] = field(default_factory=dict)

    def ids(self) -> list[str]:
        """Every package, in the files or in the ledger, sorted."""
        return sorted({*self.feature.packages, *self.rows})

    def dependencies(self) -> dict[str, tuple[str, ...]]:
        """The graph: the files' word, else the ledger's."""
        return {wp: self._dependencies(wp) for wp in self.ids()}

    def _dependencies(self, wp: str) -> tuple[str, ...]:
        if wp in self.feature.packages:
            return self.feature.packages[wp].dependencies
        return self.rows[wp].dependencies

    def state(self, wp: str) -> State:
        """A package's lane; one that is not registered yet is what its registration would make it."""
        return self.rows[wp].state if wp in self.rows else self.feature.packages[wp].lane

    def done(self) -> set[str]:
        """The names that count as done for this feature's dependencies."""
        own = {wp for wp in self.ids() if self.state(wp) is State.DONE}
        named = {d for needs in self.dependencies().values() for d in needs if "/" in d}
        return own | {d for d in named if d in self.done_elsewhere}

    def over(self) -> set[str]:
        """Packages that need no more work."""
        return {wp for wp in self.ids() if self.state(wp) in (State.DONE, State.CANCELLED)}

    def seconds(self) -> dict[str, int]:
        """The estimates there are."""
        return {wp: p.estimate_seconds for wp, p in self.feature.packages.items() if p.estimate_seconds is not None}


def feature_line(seen: Seen) -> Json:
    """One row of ``features --json`` and ``status --json``."""
    return {
        "id": seen.feature.id,
        "title": seen.feature.title,
        "state": seen.row.state if seen.row else FeatureState.PLANNED,
        "progress": progress(seen),
    }


def progress(seen: Seen) -> Json:
    """``{"done", "total"}``; a file that cannot be read is a package all the same."""
    ids = seen.ids()
    return {"done": sum(seen.state(wp) is State.DONE for wp in ids), "total": len({*ids, *seen.feature.unread})}


def status(seen: Seen) -> Json:
    """The document of ``status 003 --json``."""
    dependencies = seen.dependencies()
    done = seen.done()
    dependents = graph.dependents(dependencies)
    path, seconds = _critical(seen, in_stages(seen.feature, dependencies))
    behind = _behind(seen)
    return {
        "feature": {**{k: v for k, v in feature_line(seen).items() if k != "progress"}, "target": seen.target},
        "progress": progress(seen),
        "work_packages": [
            {**_package(seen, wp, dependencies, dependents, done), "behind": behind.get(wp, [])} for wp in seen.ids()
        ],
        "critical_path": path,
        "estimate_seconds": seconds,
        "questions": [question(one) for one in seen.questions],
        "budget": budget(seen, path),
        "parked": dict(seen.parked),
        "run": dict(seen.run),
        "stages": [gate(seen.stages, stage) for stage in seen.stages.gates if stage is not None],
        "done_check": gate(seen.stages, None) if None in seen.stages.gates else None,
        "warnings": [*seen.warnings, *(str(w) for w in seen.feature.warnings), *unsettled(seen)],
    }


def budget(seen: Seen, path: Sequence[str]) -> Json:
    """What the feature's agents have spent, may spend, and will have spent, as far as that is known.

    Args:
        path: the remaining critical path.
    """
    spent = spending.summed(seen.spent.values())
    done = {wp: one.amounts for wp, one in seen.spent.items() if seen.state(wp) is State.DONE}
    waiting = [wp for wp in seen.ids() if wp not in seen.over()]
    ahead = {name: spending.expected(done, wps, seen.seconds()) for name, wps in (("path", path), ("all", waiting))}
    caps = {scope: spending.as_json(found) for scope, found in seen.caps.items()}
    used_up = spending.over(seen.caps, {"feature": spent.amounts})
    total = {unit: spent.amounts.get(unit, Decimal(0)) + more for unit, more in ahead["all"].items()}
    return {
        "spent": spending.as_json(spent.amounts), "unknown": dict(spent.unknown), "sessions": spent.sessions,
        "caps": caps, "used_up": str(used_up) if used_up else None,
        "expected": {name: spending.as_json(found) for name, found in ahead.items()},
        "exceeds": any(total.get(unit, 0) > cap for unit, cap in seen.caps.get("feature", {}).items()),
    }  # fmt: skip


def unsettled(seen: Seen) -> list[str]:
    """Warnings about packages whose state is not the whole truth: their file is gone, or their session is."""
    gone = sorted(set(seen.rows) - set(seen.feature.packages))
    said = [f"{seen.feature.id} {wp}: its file has vanished; its state ({seen.rows[wp].state}) is kept" for wp in gone]
    sick = [(s, seen.life[s.id]) for _, s in sorted(seen.sessions.items()) if s.id in seen.life]
    return said + [unwell(session, life) for session, life in sick if not life.well]


def unwell(session: SessionRow, life: Life) -> str:
    """What is said of a session whose supervisor is dead, does not answer, or cannot be judged."""
    where, name = f"{session.feature} {session.wp}", f"session {session.id}"
    if life.state is LifeState.LOST:
        return (
            f"{where}: {name} has lost its supervisor; the next command that changes state ends it "
            "(`agentpkg doctor` says more)"
        )
    if life.state is LifeState.NOT_ANSWERING:
        return (
            f"{where}: the supervisor of {name} does not answer: {life.detail}; "
            f"`agentpkg cancel {session.feature} {session.wp} --reason TEXT` ends it all the same"
        )
    return f"{where}: it is unknown whether {name} still runs: {life.detail}"


def life(found: Life | None) -> Json | None:
    """The key ``life`` of a package in ``status --json``; None for one that no session works on."""
    if found is None:
        return None
    return {"state": found.state, "since": found.since, "heard_at": found.heard_at, "detail": found.detail}


def _critical(seen: Seen, dependencies: Mapping[str, Sequence[str]]) -> tuple[list[str], int]:
    if graph.cycles(dependencies):
        return [], 0
    return graph.critical_path(dependencies, seen.seconds(), seen.over())


def _package(
    seen: Seen, wp: str, dependencies: Mapping[str, Sequence[str]], dependents: Mapping[str, Sequence[str]],
    done: Container[str],
) -> Json:  # fmt: skip
    row, file = seen.rows.get(wp), seen.feature.packages.get(wp)
    session = seen.sessions.get(wp)
    state = seen.state(wp)
    still = [] if state in (State.DONE, State.CANCELLED) else graph.open_dependencies(wp, dependencies, done)
    waits = seen.stages.waits_for(wp) if state is State.PLANNED else []
    return {
        "id": wp,
        "title": file.title if file else (row.title if row else wp),
        "state": state,
        "ready": state is State.PLANNED and not still and not waits,
        "stage": seen.stages.stage_of(wp),
        "waits_for_stages": waits,
        "dependencies": list(dependencies[wp]),
        "blocked_by": still,
        "dependents": list(dependents.get(wp, ())),
        "deliverables": list(file.deliverables) if file else [],
        "estimate_seconds": file.estimate_seconds if file else None,
        "branch": (row.branch if row else None) or f"{seen.branch_prefix}{seen.feature.id}-{wp}",
        "worktree": f"{seen.worktrees_dir}/{seen.feature.id}-{wp}",
        **_work(row, session, _agent(seen, file, row)),
        "usage": spending.as_json(seen.spent[wp].amounts) if wp in seen.spent else None,
        "reason_class": row.reason_class if row else None,
        "retry_at": seen.retry_at.get(wp),
        "activity": seen.activity.get(session.id) if session and session.ended_at is None else None,
        "life": life(seen.life.get(session.id)) if session and session.ended_at is None else None,
    }


def _behind(seen: Seen) -> dict[str, list[Json]]:
    """For each planned package, those that own the same files, go first and are not over yet."""
    over = seen.over()
    return {
        wp: [{"wp": one.wp, "reason": one.reason} for one in those if one.wp not in over]
        for wp, those in overlap.behind(seen.feature).items()
        if seen.state(wp) is State.PLANNED
    }


def gate(progress: Progress, stage: str | None) -> Json:
    """A stage, or (``stage`` None) the feature's done check, in a status document."""
    found, last = progress.gates[stage], progress.checked.get(stage)
    return {
        "name": found.stage, "state": _gate_state(progress, stage), "packages": list(found.packages),
        "needs": list(found.needs), "done_check": list(found.commands), "entry_check": list(found.entry),
        "commit": last.commit if last else None, "detail": (last.detail or None) if last else None,
        "tag": last.tag if last and progress.finished(stage) else None,
    }  # fmt: skip


def _gate_state(progress: Progress, stage: str | None) -> str:
    if progress.finished(stage):
        return "done"
    found, last = progress.gates[stage], progress.checked.get(stage)
    if last is not None and not last.passed and progress.over(found):
        return "failed"
    begun = any(progress.states.get(wp, State.PLANNED) is not State.PLANNED for wp in found.packages)
    if stage is None or progress.open_needs(found):
        return "waiting"
    return "active" if begun else "ready"


def _agent(seen: Seen, file: WorkPackage | None, row: PackageRow | None) -> str | None:
    return (row.agent if row else None) or (file.agent if file else None) or seen.default_agent


def _work(row: PackageRow | None, session: SessionRow | None, agent: str | None) -> Json:
    tests = None
    if row is not None and row.tests_passed is not None:
        tests = {"passed": row.tests_passed, "failed": row.tests_failed or 0}
    live = session if session is not None and session.ended_at is None else None
    return {
        "session": row.session if row else None,
        "agent": agent,
        "isolation": session.isolation if session else None,
        "review_cycle": row.cycle if row else 1,
        "verdict": row.verdict if row else None,
        "commits": (row.commits if row else 0) + (live.commits if live else 0),
        "files_changed": max(row.files_changed if row else 0, live.files_changed if live else 0),
        "tests": tests,
        "merge_commit": row.merge_commit if row else None,
        "forced": bool(row and row.forced),
        "started_at": row.started_at if row else None,
        "finished_at": row.finished_at if row else None,
        "reason": row.reason if row else None,
    }


def review(found: ReviewRow) -> Json:
    """The document of ``review --json``."""
    return {
        "feature": found.feature,
        "wp": found.wp,
        "verdict": found.verdict,
        "cycle": found.cycle,
        "head": found.head,
        "base": found.base,
        "candidate": found.candidate,
        "checks": [
            {"group": c.group, "name": c.name, "status": c.status, "detail": c.detail, "evidence": c.evidence}
            for c in found.checks
        ],
        "needs": [{"action": n.action, "detail": n.detail, "paths": list(n.paths)} for n in found.needs],
    }


def implement(session: SessionRow, row: PackageRow, attempts: int, seconds: int, outcome: str | None) -> Json:
    """The document of ``implement --json``; ``outcome`` is None for a session that was only started."""
    return {
        "feature": session.feature,
        "wp": session.wp,
        "session": session.id,
        "agent": session.agent,
        "outcome": outcome,
        "state": row.state,
        "reason": session.reason,
        "base": session.base,
        "commits": [],
        "files_changed": session.files_changed,
        "exit_code": session.exit_code,
        "duration_seconds": seconds,
        "attempts": attempts,
        "usage": dict(session.usage) or None,
    }


def question(found: QuestionRow, now: str | None = None) -> Json:
    """One of ``questions --json``; the document of ``answer``, ``approve`` and ``deny``.

    Args:
        now: tells whether the deadline has passed.
    """
    return {
        "question": questions.name(found.number),
        "kind": found.kind,
        "feature": found.feature,
        "wp": found.wp,
        "session": found.session,
        "candidate": found.subject,
        "text": found.text,
        "why": found.details.get("why"),
        "tool": found.details.get("tool"),
        "input": found.details.get("input"),
        "needs": list(found.details.get("needs") or ()),
        "options": list(found.options),
        "default": found.fallback,
        "deadline": found.deadline,
        "overdue": now is not None and questions.overdue(found, now),
        "people": found.people,
        "missing": questions.missing(found),
        "approvers": list(found.approvers),
        "excluded": list(found.excluded),
        "asked_at": found.asked_at,
        "state": found.state,
        "answer": found.answer,
        "answers": [dict(given) for given in found.answers],
        "closed_at": found.closed_at,
    }


def entry(found: Entry) -> Json:
    """One line of ``events query --json``: an exported entry, with its ledger-wide ``seq``."""
    return {
        "seq": found.seq,
        "id": found.id,
        "feature_id": found.feature_id,
        "wp_id": found.wp_id,
        "timestamp": found.timestamp,
        "actor": found.actor,
        "transition": found.transition,
        "evidence_refs": [dict(e) for e in found.evidence_refs],
        "metadata": dict(found.metadata),
        "prev_hash": found.prev_hash,
        "hash": found.hash,
    }


def event(found: EventRow, prefix: str) -> Json:
    """One line of ``run --json`` and ``events tail --json``: the payload plus its subject."""
    return {"subject": f"{prefix}.{found.subject}", **found.payload}
