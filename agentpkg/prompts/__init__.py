"""What an agent is told: the prompt of one work package, made of plain values, the same in, the same out."""

from agentpkg.prompts.bundle import TITLES, Bundle, build
from agentpkg.prompts.context import Change, Left, Neighbour, PriorWork, PromptContext

__all__ = ["TITLES", "Bundle", "Change", "Left", "Neighbour", "PriorWork", "PromptContext", "build"]
