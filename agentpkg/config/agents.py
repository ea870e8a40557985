"""Which agent a work package gets, and with what settings: the one place that knows the order of precedence."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from agentpkg.config.load import Loaded
from agentpkg.config.messages import nearest
from agentpkg.config.rules import known_agents
from agentpkg.config.settings import BUILT_IN_AGENTS, AgentDefinition, Settings
from agentpkg.core.errors import BadInput
from agentpkg.core.model import Feature, WorkPackage


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """An agent as its harness sees it; field meanings are those of ``agents`` in the configuration.

    Attributes:
        environment: ``agent.environment`` with the agent's own laid over it; secrets are still references.
    """

    name: str
    harness: str
    command: tuple[str, ...] = ()
    prompt: Literal["stdin", "file", "argument"] = "stdin"
    transcripts: str | None = None
    model: str | None = None
    timeout_seconds: int | None = None
    retries: int | None = None
    provider_exit_codes: tuple[int, ...] = ()
    environment_exit_codes: tuple[int, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    network: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Effective:
    """What holds for one work package after all of flag, environment, files and defaults have spoken.

    Attributes:
        agent: the agent's name, None when nothing names one.
        origins: for each of the other attributes, where its value comes from.
    """

    agent: str | None
    model: str | None
    timeout_seconds: int
    retries: int
    target_branch: str
    origins: Mapping[str, str]


def agent_named(settings: Settings, name: str | None) -> AgentSettings:
    """The settings of an agent; None means the default one.

    Raises:
        BadInput: when there is no such agent, or no default one.
    """
    name = name or settings.agent.harness
    if name is None:
        raise BadInput(
            "no agent is configured",
            "name one with --agent, or set agent.harness in .kittify/config.yaml",
            code="no_agent",
        )
    if name not in known_agents(settings):
        raise BadInput(
            f"no agent is called {name}{nearest(name, known_agents(settings))}",
            "`agentpkg agents list` shows them; new ones go under agents: in .kittify/config.yaml",
            code="unknown_agent",
        )
    given = settings.agents.get(name, AgentDefinition())
    return AgentSettings(
        name=name,
        harness=given.harness or BUILT_IN_AGENTS[name],
        command=given.command,
        prompt=given.prompt,
        transcripts=given.transcripts,
        model=given.model,
        timeout_seconds=given.timeout_seconds,
        retries=given.retries,
        provider_exit_codes=given.provider_exit_codes,
        environment_exit_codes=given.environment_exit_codes,
        environment={**settings.agent.environment, **given.environment},
        network=given.network,
        options=given.options,
    )


def effective(loaded: Loaded, feature: Feature, wp: WorkPackage | None = None) -> Effective:
    """What holds for a work package, or for a feature as a whole.

    The order is flag, environment, work package file, its tags (for the agent), the feature's meta, the agent's entry
    under ``agents``, ``agent`` and ``project``, default. In ``kitty-specs/`` an agent that is not configured is passed
    over.
    """
    origins: dict[str, str] = {}
    agent = _first("agent", _agent_choices(loaded, feature, wp), origins)
    entry = loaded.settings.agents.get(agent or "", AgentDefinition())

    def choose(attribute: str, key: str | None, last: Any) -> Any:
        stated = [
            (getattr(wp, attribute, None), "work package file"),
            (_meta(feature, attribute), "meta"),
            (getattr(entry, attribute, None), loaded.origin(f"agents.{agent}.{attribute}")),
        ]
        return _first(attribute, _layered(loaded, key, stated, last), origins)

    return Effective(
        agent=agent,
        model=choose("model", None, None),
        timeout_seconds=choose("timeout_seconds", "agent.timeout_seconds", loaded.settings.agent.timeout_seconds),
        retries=choose("retries", "agent.retries", loaded.settings.agent.retries),
        target_branch=_first("target_branch", _targets(loaded, feature), origins),
        origins=origins,
    )


_Choice = tuple[Any, str]


def _agent_choices(loaded: Loaded, feature: Feature, wp: WorkPackage | None) -> list[_Choice]:
    tags = loaded.settings.agent.tags
    tag = next((tag for tag in wp.tags if tag in tags), None) if wp else None
    stated: list[_Choice] = [
        (wp.agent if wp else None, "work package file"), (tags.get(tag or ""), loaded.origin(f"agent.tags.{tag}")),
        (_meta(feature, "agent"), "meta"),
    ]  # fmt: skip
    if feature.lenient:
        known = known_agents(loaded.settings)
        stated = [choice for choice in stated if choice[0] in known]
    return _layered(loaded, "agent.harness", stated, loaded.settings.agent.harness)


def _targets(loaded: Loaded, feature: Feature) -> list[_Choice]:
    stated: list[_Choice] = [(feature.target_branch, "meta")]
    return _layered(loaded, "project.target_branch", stated, loaded.settings.project.target_branch)


def _layered(loaded: Loaded, key: str | None, stated: list[_Choice], last: Any) -> list[_Choice]:
    """``stated`` below flag and environment, and above file and default, of a key of the configuration."""
    origin = loaded.origin(key) if key else "default"
    configured = (last, origin)
    if origin.startswith(("flag ", "environment ")):
        return [configured, *stated]
    return [*stated, configured]


def _first(attribute: str, choices: list[_Choice], origins: dict[str, str]) -> Any:
    for value, origin in choices:
        if value is not None:
            origins[attribute] = origin
            return value
    origins[attribute] = "default"
    return None


def _meta(feature: Feature, attribute: str) -> Any:
    """A value of the feature's meta, where it has the kind it needs; other tools keep keys of the same names there."""
    value = feature.meta.get(attribute)
    if attribute in ("agent", "model"):
        return value if isinstance(value, str) and value else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
