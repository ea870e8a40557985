"""Templates to text: the packaged one, or the repository's own in its place."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentpkg.core.errors import BadInput
from agentpkg.prompts.markdown import fenced

if TYPE_CHECKING:
    from jinja2 import Environment

PACKAGED = Path(__file__).parent / "templates"

#: the template's name, in either place
PROMPT = "prompt.md.j2"


def rendered(view: dict[str, Any], templates: Path | None = None) -> str:
    """The prompt's text. An unknown name in the template is an error, never an empty string.

    The template runs in jinja2's sandbox: it is a file of the repository and needs no more than text.

    Raises:
        BadInput: when the repository's template cannot be read or rendered, with its line.
    """
    from jinja2 import TemplateError

    environment = _environment(templates)
    try:
        return environment.get_template(PROMPT).render(view)
    except (TemplateError, TypeError, UnicodeDecodeError) as error:
        raise BadInput(
            f"the template {_place(error, templates)} cannot be rendered: {error}",
            f"compare it with the packaged one, {PACKAGED / PROMPT}",
            code="bad_template",
        ) from None


@cache
def _environment(templates: Path | None) -> "Environment":
    """Kept, because a run renders many prompts; a template whose file changes is compiled anew."""
    from jinja2 import ChoiceLoader, FileSystemLoader, PrefixLoader, StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    packaged = FileSystemLoader(PACKAGED)
    own = [FileSystemLoader(templates)] if templates is not None else []
    environment = ImmutableSandboxedEnvironment(
        loader=ChoiceLoader([*own, packaged, PrefixLoader({"agentpkg": packaged})]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        # Markdown, not HTML
        autoescape=False,
    )
    filters: dict[str, Callable[..., str]] = {"fenced": _fenced, "code": _code}
    environment.filters.update(filters)
    return environment


def _fenced(value: str | Sequence[str], language: str = "text") -> str:
    return fenced(value if isinstance(value, str) else "\n".join(value), language)


def _code(values: Sequence[str]) -> str:
    """Words as inline code; a backtick inside asks for longer marks around."""
    return ", ".join(f"`` {value} ``" if "`" in value else f"`{value}`" for value in values)


def _place(error: Exception, templates: Path | None) -> str:
    """``.kittify/templates/prompt.md.j2:12`` as far as it is known."""
    line = getattr(error, "lineno", None) or _line(error)
    folder = ".kittify/templates/" if templates is not None and (templates / PROMPT).exists() else ""
    return f"{folder}{PROMPT}" + (f":{line}" if line else "")


def _line(error: Exception) -> int | None:
    """The template's line in the traceback, which jinja2 rewrites to show it."""
    line = None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.endswith(PROMPT):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
