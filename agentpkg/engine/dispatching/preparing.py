"""What is read and checked before a session is begun: its package, agent, secrets and walls. Makes nothing."""

from dataclasses import dataclass, replace

from agentpkg.config import AgentSettings, Effective, agent_named, effective, fallbacks
from agentpkg.core.errors import BadInput, Lacking
from agentpkg.core.model import Feature, Problem, WorkPackage
from agentpkg.engine.enclosing import vault, walls
from agentpkg.engine.project import Project
from agentpkg.harnesses import harness_named
from agentpkg.isolation import Walls
from agentpkg.secrets.resolve import Resolved, referenced, resolve_environment


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line asked for; None means as configured."""

    agent: str | None = None
    timeout: int | None = None
    #: start at the target's tip; the old branch is kept under ``refs/agentpkg/abandoned/``
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Ready:
    """All that was found out before anything is made."""

    feature: Feature
    package: WorkPackage
    effective: Effective
    agent: AgentSettings
    secrets: Resolved
    walls: Walls
    #: the target's tip
    base: str
    #: nothing of earlier sessions goes on
    fresh: bool


def prepare(project: Project, feature: Feature, wp: str, wish: Wish) -> Ready:
    """All that a session needs to know before it begins.

    Raises:
        BadInput: bad files, no such package or agent, an unresolved secret.
        Lacking: the agent's program is missing, or the isolation level cannot be had.
    """
    package = feature.packages.get(wp)
    if package is None:
        raise BadInput(
            f"{feature.id} has no {wp}", f"it has {', '.join(feature.packages) or 'no work packages'}",
            code="unknown_package",
        )  # fmt: skip
    project.require_good_policy()
    chosen = effective(project.loaded, feature, replace(package, agent=wish.agent) if wish.agent else package)
    agent = agent_named(project.settings, wish.agent or chosen.agent)
    if wish.timeout is not None:
        chosen = replace(chosen, timeout_seconds=wish.timeout)
    _require_program(project, agent)
    chosen_walls = walls.of(project)
    _require_known_secrets(package, agent)
    secrets = resolve_environment(
        agent.environment, vault.providers(project), package.secrets, project.loaded.variable_places(agent.name)
    )
    base = project.target_tip(chosen.target_branch)
    return Ready(feature, package, chosen, agent, secrets, chosen_walls, base, wish.fresh)


def _require_known_secrets(package: WorkPackage, agent: AgentSettings) -> None:
    known = referenced(agent.environment)
    unknown = [name for name in package.secrets or () if name not in known]
    if unknown:
        raise BadInput(
            f"{package.path}: no variable of agent.environment refers to the secret {', '.join(unknown)}",
            f"it refers to {', '.join(sorted(known)) or 'none'}; correct `secrets`, or the configuration",
            code="unresolved_secret",
            details={"problems": [Problem(package.path, 1, n, "names no secret of agent.environment").as_json()
                                  for n in unknown]},
        )  # fmt: skip


def _require_program(project: Project, agent: AgentSettings) -> None:
    problem = harness_named(agent.harness).problem(agent, str(project.work_tree))
    if problem:
        raise Lacking(
            f"agent {agent.name} cannot be started: {problem}",
            f"install it, or correct agents.{agent.name} in .kittify/config.yaml; `agentpkg agents list` shows all",
            code="agent_not_ready",
        )


def about_fallbacks(project: Project, agent: AgentSettings) -> list[str]:
    """Agents that are to take over from this one, and could not be started; now is the time to say so."""
    found = []
    for name in fallbacks(project.settings, agent.name)[1:]:
        other = agent_named(project.settings, name)
        problem = harness_named(other.harness).problem(other, str(project.work_tree))
        if problem:
            found.append(f"{name}, the fallback of {agent.name}, cannot be started: {problem}")
    return found
