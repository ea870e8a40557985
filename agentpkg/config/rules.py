"""What no single key can tell: rules between the keys of the configuration."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from agentpkg.config.document import Path
from agentpkg.config.messages import nearest
from agentpkg.config.settings import BUILT_IN_AGENTS, AgentDefinition, Settings
from agentpkg.core.references import malformed

#: a broken rule: ``(path of the key, offending value, what is wrong)``
Broken = tuple[Path, str, str]


def broken_rules(settings: Settings) -> Iterator[Broken]:
    """Everything wrong between the keys of settings whose single values are good."""
    yield from _default_agent(settings)
    for name, agent in settings.agents.items():
        yield from _agent(name, agent)
        yield from _fallback(settings, name, agent)
        yield from _references(("agents", name, "environment"), agent.environment)
    yield from _references(("agent", "environment"), settings.agent.environment)
    yield from _checks(settings)
    yield from _places(settings)
    if "command" in settings.secrets.providers and not settings.secrets.command:
        yield ("secrets", "providers"), "command", 'needs `secrets.command: [program, "{name}"]`'


def known_agents(settings: Settings) -> tuple[str, ...]:
    """The names an agent may be called by: those of ``agents`` and the built-in ones."""
    return tuple(dict.fromkeys([*settings.agents, *BUILT_IN_AGENTS]))


def _default_agent(settings: Settings) -> Iterator[Broken]:
    chosen: dict[Path, str | None] = {
        ("agent", "harness"): settings.agent.harness, ("review", "agent", "name"): settings.review.agent.name,
        **{("agent", "tags", tag): name for tag, name in settings.agent.tags.items()},
    }  # fmt: skip
    for path, name in chosen.items():
        if name is not None and name not in known_agents(settings):
            yield path, name, "no such agent" + nearest(name, known_agents(settings))


def _agent(name: str, agent: AgentDefinition) -> Iterator[Broken]:
    harness = agent.harness or BUILT_IN_AGENTS.get(name)
    if harness is None:
        yield ("agents", name), name, "`harness` is missing; `harness: command` drives any program"
    if harness == "command" and not any(agent.command[:1]):
        yield ("agents", name), name, "a `command` agent needs `command: [program, argument, …]`"
    if harness == "replay" and agent.transcripts is None:
        yield ("agents", name), name, "a `replay` agent needs `transcripts: FOLDER`"


def _fallback(settings: Settings, name: str, agent: AgentDefinition) -> Iterator[Broken]:
    other = agent.fallback
    if other is None:
        return
    if other not in known_agents(settings):
        yield ("agents", name, "fallback"), other, "no such agent" + nearest(other, known_agents(settings))
    elif name in fallbacks(settings, other):
        yield ("agents", name, "fallback"), other, f"goes round in a circle: it falls back to {name} again"


def fallbacks(settings: Settings, name: str) -> tuple[str, ...]:
    """An agent and those that take over from it, in their order; each once, should they go round in a circle."""
    line: list[str] = []
    following: str | None = name
    while following is not None and following not in line:
        line.append(following)
        following = settings.agents.get(following, AgentDefinition()).fallback
    return tuple(line)


def _references(path: Path, environment: dict[str, str]) -> Iterator[Broken]:
    for variable, value in environment.items():
        for bad in malformed(value):
            yield (*path, variable), bad, "should be ${{ secrets.NAME }}"


def _checks(settings: Settings) -> Iterator[Broken]:
    seen: set[str] = set()
    for index, check in enumerate(settings.review.checks):
        if check.name in seen:
            yield ("review", "checks", index, "name"), check.name, "another check has this name"
        seen.add(check.name)


def _places(settings: Settings) -> Iterator[Broken]:
    worktrees = PurePosixPath(settings.project.worktrees_dir)
    for folder in (PurePosixPath(settings.project.features_dir), PurePosixPath("kitty-specs")):
        if worktrees.is_relative_to(folder) or folder.is_relative_to(worktrees):
            yield ("project", "worktrees_dir"), str(worktrees), f"should lie apart from {folder}/"
