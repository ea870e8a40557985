"""A work package and its surroundings -> the prompt that its agent gets, and how large each part of it is."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentpkg.prompts.context import PromptContext
from agentpkg.prompts.render import rendered
from agentpkg.prompts.view import view_of
from agentpkg.secrets import strip_controls

#: the prompt's second-level headings, in their order; "Prior work" only where there is any
TITLES = (
    "Context",
    "Specification",
    "Work package plan",
    "Governance constraints",
    "Environment",
    "Prior work",
    "Your task",
)


@dataclass(frozen=True, slots=True)
class Bundle:
    """What an agent gets.

    Attributes:
        prompt: Markdown, on standard input and in ``AGENTPKG_PROMPT``.
        task: the work package file's body (its title when there is none), in ``AGENTPKG_TASK``.
        sha256: of the prompt's UTF-8 bytes, in hex.
        sizes: what the prompt is made of, as ``(label, bytes)``; the last one is the whole.
        warnings: what a person should know before the agent starts.
    """

    prompt: str
    task: str
    sha256: str
    sizes: tuple[tuple[str, int], ...]
    warnings: tuple[str, ...]


def build(context: PromptContext, templates: Path | None = None) -> Bundle:
    """Makes the prompt. The same inputs give the same bytes.

    Args:
        templates: the repository's ``.kittify/templates``; a ``prompt.md.j2`` there replaces the packaged one.

    Raises:
        BadInput: when the repository's template is broken, with its line.
    """
    view, warnings = view_of(context)
    text = _tidy(strip_controls(rendered(view, templates)))
    size = len(text.encode())
    limit = context.settings.agent.prompt_warn_bytes
    if size > limit:
        warnings.append(f"the prompt has {size} bytes, more than agent.prompt_warn_bytes ({limit})")
    return Bundle(
        prompt=text,
        task=strip_controls(context.package.body or context.package.title).rstrip("\n") + "\n",
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        sizes=(*_sizes(text, view), ("Total prompt", size)),
        warnings=tuple(warnings),
    )


def _tidy(text: str) -> str:
    """A blank line around headings, no more than one elsewhere, and one newline at the end.

    Code blocks are other people's words: blank lines in them stay.
    """
    parts = re.split(r"(^(?P<fence>`{3,}|~{3,})[^\n]*\n.*?^(?P=fence)[ \t]*$)", text, flags=re.MULTILINE | re.DOTALL)
    # split() gives text, block, fence, text, …
    for index in range(0, len(parts), 3):
        apart = re.sub(r"^(#{1,6} [^\n]*)$", r"\n\1\n", parts[index], flags=re.MULTILINE)
        parts[index] = re.sub(r"\n[ \t]*\n(?:[ \t]*\n)+", "\n\n", apart)
    return "".join(part for index, part in enumerate(parts) if index % 3 != 2).strip() + "\n"


def _sizes(text: str, view: dict[str, Any]) -> list[tuple[str, int]]:
    labels = {
        "Specification": f"Feature spec: {view['feature']['id']}",
        "Work package plan": f"Work package plan: {view['wp']['id']}",
        "Governance constraints": "Governance constraints",
        "Environment": "Environment and finished dependencies",
        "Prior work": "Prior work",
        "Your task": "Task",
    }
    found = _parts(text)
    return [(label, found[title]) for title, label in labels.items() if title in found]


def _parts(text: str) -> dict[str, int]:
    """The bytes below each of the prompt's own titles."""
    pieces = re.split(rf"^## ({'|'.join(TITLES)})$", text, flags=re.MULTILINE)
    return {title: len(body.strip().encode()) for title, body in zip(pieces[1::2], pieces[2::2], strict=True)}
