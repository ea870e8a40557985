"""The configured agents: which can start here, and trying one on a small package in a scratch repository."""

import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from agentpkg import harnesses
from agentpkg.config import AgentSettings, agent_named
from agentpkg.core.errors import AgentpkgError
from agentpkg.core.model import Outcome, Verdict
from agentpkg.core.records import CheckStatus, SessionRow
from agentpkg.engine import attach, looking
from agentpkg.engine.dispatching import dispatch
from agentpkg.engine.judging.review import review
from agentpkg.engine.programs import Programs, Said
from agentpkg.engine.project import Project, open_project
from agentpkg.engine.scratch import first_commit
from agentpkg.engine.supervising import control, conversation
from agentpkg.files import write_atomic
from agentpkg.harnesses import harness_named

#: seconds that the trial of an agent may take
TRIAL = 300

_FEATURE = "001-trial"


@dataclass(frozen=True, slots=True)
class AgentFacts:
    """One agent as ``agents list`` tells it.

    Attributes:
        path: its program, None when it is not found.
        version: what the program says, None when it says nothing.
        ready: it can be started here and now.
        sessions: how many of its sessions run in this repository.
        detail: why it is not ready, else what it is set to.
        signed_in: whether its program's user is; None: it cannot be known without spending.
        model: what it is told to use, else what a running session of its said it uses.
        last_heard: when one of those sessions was last heard of (RFC 3339); None: there is none, or it said nothing.
    """

    name: str
    harness: str
    path: str | None
    version: str | None
    ready: bool
    sessions: int
    detail: str
    last_heard: str | None = None
    signed_in: bool | None = None
    model: str | None = None


def list_agents(project: Project) -> list[AgentFacts]:
    """Every agent that a work package may name, sorted by name."""
    live = looking.lives(project)
    names = sorted(project.agents)
    heard = {name: [life.heard_at for row, life in live if row.agent == name and life.heard_at] for name in names}
    count = Counter(row.agent for row, _ in live)
    programs = Programs(project)
    with ThreadPoolExecutor(max_workers=max(1, len(names))) as pool:
        found = list(pool.map(lambda name: _facts(project, name, count[name], programs), names))
    programs.keep()
    told = {row.agent: conversation.of(project.state / "sessions" / row.id) for row, _ in live}
    models = {name: kept.model for name, kept in told.items() if kept is not None and kept.model}
    return [
        replace(one, last_heard=max(heard[one.name], default=None), model=one.model or models.get(one.name))
        for one in found
    ]


def unknown_harnesses(project: Project) -> list[str]:
    """A sentence on each agent of the configuration whose harness nothing installed brings."""
    known = harnesses.names()
    found = {name: agent.harness for name, agent in project.settings.agents.items()}
    return [
        f"{project.loaded.origin(f'agents.{agent}.harness')}: agent {agent}: no harness is called {harness}; "
        f"known ones: {', '.join(known)}"
        for agent, harness in found.items()
        if harness is not None and harness not in known
    ]


def _facts(project: Project, name: str, sessions: int, programs: Programs) -> AgentFacts:
    agent = agent_named(project.settings, name)
    try:
        harness = harness_named(agent.harness)
        problem = harness.problem(agent, str(project.work_tree))
        path = harness.program(agent)
        said = programs.ask(harness, agent, problem)
    except AgentpkgError as error:
        return AgentFacts(name, agent.harness, None, None, False, sessions, error.message)
    good = problem is None and said.signed.ok is not False
    return AgentFacts(
        name, agent.harness, path, said.version, good, sessions, problem or _detail(agent, said),
        signed_in=said.signed.ok, model=agent.model,
    )  # fmt: skip


def _detail(agent: AgentSettings, said: Said) -> str:
    model = f"model {agent.model}" if agent.model else ""
    words = {True: "signed in: ", False: "not signed in: ", None: "sign-in: "}[said.signed.ok]
    return "; ".join(part for part in (model, said.signed.detail and words + said.signed.detail, said.late) if part)


# --------------------------------------------------------------------------- trying one


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was tried."""

    name: str
    status: CheckStatus
    detail: str


@dataclass(frozen=True, slots=True)
class Trial:
    """How an agent did: everything worked when no step failed."""

    agent: str
    steps: tuple[Step, ...]

    @property
    def ok(self) -> bool:
        """Nothing failed."""
        return all(step.status != "fail" for step in self.steps)

    def as_json(self) -> dict[str, Any]:
        """The document of ``agents test``."""
        return {"agent": self.agent, "ok": self.ok, "checks": [asdict(step) for step in self.steps]}


Watch = Callable[[Project, SessionRow], None]


def try_agent(
    project: Project, name: str, timeout: int = TRIAL, stopped: Callable[[], bool] = lambda: False,
    watch: Watch = lambda project, session: None,
) -> Trial:  # fmt: skip
    """Has an agent do a small package in a scratch repository, and judges it.

    Args:
        timeout: seconds the agent may take.
        stopped: asked while it works; True stops it.
        watch: called once with the scratch project and the session that runs in it.

    Raises:
        BadInput: there is no such agent, or a secret it needs is missing.
    """
    agent = agent_named(project.settings, name)
    facts = _facts(project, name, 0, Programs(project))
    if not facts.ready:
        return Trial(name, (Step("program", "fail", facts.detail),))
    version = f" ({facts.version})" if facts.version else ""
    steps = [Step("program", "pass", f"{facts.path or agent.harness}{version}")]
    with _scratch(project, agent, timeout) as scratch:
        steps += _session(scratch, name, stopped, watch)
        if steps[-1].status == "pass":
            steps.append(_judgement(scratch))
    return Trial(name, tuple(steps))


def _session(project: Project, name: str, stopped: Callable[[], bool], watch: Watch) -> Iterator[Step]:
    started = dispatch.start(project, project.good_feature(_FEATURE), "WP01", dispatch.Wish(agent=name))
    yield Step("dispatch", "pass", f"isolation {started.session.isolation}, prompt {started.bundle.sizes[-1][1]} bytes")
    asked = False

    def tick() -> None:
        nonlocal asked
        if stopped() and not asked:
            asked = True
            control.interrupt(project.state, started.session.id, project.actor)

    watch(project, started.session)
    row = attach.wait(project, started.session.id, tick)
    good = row.outcome is Outcome.COMPLETED
    why = "" if good else f": {row.reason or 'no reason recorded'}"
    yield Step("session", "pass" if good else "fail", f"{row.outcome}{why}")
    if good:
        yield Step("commits", "pass", f"{row.commits} admitted, {row.files_changed} files changed")


def _judgement(project: Project) -> Step:
    judged = review(project, _FEATURE, "WP01").review
    failed = [f"{c.group}/{c.name}: {c.detail}" for c in judged.checks if c.status == "fail"]
    good = judged.verdict is Verdict.APPROVED
    return Step("task", "pass" if good else "fail", "it did what it was asked to" if good else "; ".join(failed))


# --------------------------------------------------------------------------- the scratch repository

_TASK = """\
---
work_package_id: WP01
title: A greeting
deliverables: [hello.txt]
requirement_refs: [FR-1]
acceptance: ["grep -qx hello hello.txt"]
---

Write a file `hello.txt` at the top of the repository. It holds the one line `hello` and nothing else.
Then commit it with the message `feat(WP01): add a greeting`. That is all.
"""

_SPEC = """\
# Trial

FR-1: The repository greets
- `hello.txt` holds the line `hello`
"""


@contextmanager
def _scratch(project: Project, agent: AgentSettings, timeout: int) -> Iterator[Project]:
    """A repository with one small package and the agent as it is configured; gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="agentpkg-trial-"))
    try:
        _fill(folder, _config(project, agent, timeout))
        yield open_project(folder, _environment(project.environ))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The caller's, without settings for this repository that would be laid over the scratch one's."""
    return {key: value for key, value in environ.items() if not key.startswith("AGENTPKG_")}


def _config(project: Project, agent: AgentSettings, timeout: int) -> str:
    settings = project.settings
    definition: dict[str, Any] = {
        "harness": agent.harness, "command": [_from(project, part) for part in agent.command],
        "prompt": agent.prompt, "model": agent.model, "environment": dict(agent.environment),
        "options": dict(agent.options), "network": list(agent.network),
    }  # fmt: skip
    if agent.transcripts:
        definition["transcripts"] = str(Path(project.work_tree, agent.transcripts))
    values = {
        "agent": {"timeout_seconds": timeout, "kill_grace_seconds": 5, "retries": 0},
        "agents": {agent.name: definition},
        "secrets": {key: value for key, value in asdict(settings.secrets).items() if value},
        "isolation": asdict(settings.isolation),
    }
    # JSON is YAML
    return json.dumps(values, indent=1, default=list)


def _from(project: Project, part: str) -> str:
    """An argument that names a file of the repository, as an absolute path."""
    there = project.work_tree / part
    return str(there) if not os.path.isabs(part) and os.sep in part and there.exists() else part


def _fill(folder: Path, config: str) -> None:
    files = {
        ".kittify/config.yaml": config,
        f"features/{_FEATURE}/spec.md": _SPEC,
        f"features/{_FEATURE}/tasks/WP01-greeting.md": _TASK,
        "README.md": "# A repository to try an agent in\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / name, text, 0o644)
    first_commit(folder, "agentpkg-trial", "A repository to try an agent in")
