"""The user's configuration: read once, refused early, with the origin of every value."""

from agentpkg.config.agents import AgentSettings, Effective, agent_named, effective
from agentpkg.config.constitution import Constitution, load_constitution
from agentpkg.config.load import CONFIG_FILE, Loaded, load, parse
from agentpkg.config.placeholders import PLACEHOLDERS, expand
from agentpkg.config.policy import always_forbidden, commit_expression
from agentpkg.config.rules import fallbacks, known_agents
from agentpkg.config.settings import BUILT_IN_AGENTS, RESERVED, Check, Coverage, Settings

__all__ = [
    "BUILT_IN_AGENTS",
    "CONFIG_FILE",
    "PLACEHOLDERS",
    "RESERVED",
    "AgentSettings",
    "Check",
    "Constitution",
    "Coverage",
    "Effective",
    "Loaded",
    "Settings",
    "agent_named",
    "always_forbidden",
    "commit_expression",
    "effective",
    "expand",
    "fallbacks",
    "known_agents",
    "load",
    "load_constitution",
    "parse",
]
