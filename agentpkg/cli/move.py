"""``move``: a person moves a package, or a whole feature, to another state."""

import re
from pathlib import Path
from typing import Any

import click

from agentpkg.cli.common import Speaker, package_words, project_at, titles, verb
from agentpkg.core.errors import BadInput, FellShort, NotAllowed
from agentpkg.core.model import FeatureState, State
from agentpkg.engine import moving
from agentpkg.engine.project import Project

#: bytes of a feedback file; it goes into a prompt
_MOST = 1 << 20
_PACKAGE = re.compile(r"WP\d{2,}")
_TARGETS = click.Choice([*(state.value for state in State), FeatureState.SHIPPED.value])


def options(function: Any) -> Any:
    """The options that ``move`` and ``wp transition`` share."""
    for option in (
        click.option("--review-feedback-file", "feedback", type=click.Path(path_type=Path, dir_okay=False, exists=True),
                     help="What the next agent is told about the work so far."),
        click.option("--reason", help="Why; kept in the audit chain."),
        click.option("--force", is_flag=True, help="Land without an approval; needs --reason, and is shown for ever."),
        click.option("--to", required=True, type=_TARGETS, help="The state to move to."),
    ):  # fmt: skip
        function = option(function)
    return function


@verb(
    """agentpkg move 003 WP02 --to done
agentpkg move 003 WP02 --to planned --review-feedback-file notes.md
agentpkg move 003 --to shipped"""
)
@click.argument("words", nargs=-1, required=True, metavar="[FEATURE] [WP]")
@options
def command(words: tuple[str, ...], repo: Path | None, speak: Speaker, **asked: Any) -> int:
    """Move a work package to another state; without a WP, the feature itself."""
    if len(words) == 1 and not _PACKAGE.fullmatch(words[0]):
        return _feature(project_at(repo), words[0], asked, speak)
    feature, wp = package_words(words)
    return package(project_at(repo), feature, wp, speak, **asked)


def package(
    project: Project, feature: str | None, wp: str, speak: Speaker, *, to: str, force: bool, reason: str | None,
    feedback: Path | None,
) -> int:  # fmt: skip
    """Moves a package and tells what became of it."""
    if to == FeatureState.SHIPPED:
        raise BadInput("only a feature is shipped", f"agentpkg move {feature or 'FEATURE'} --to shipped")
    if force and not reason:
        raise BadInput("--force needs --reason", "say why in a few words; it is kept in the audit chain")
    found, wp = project.find_package(wp, feature)
    wish = moving.Wish(State(to), force, reason, _text(feedback) if feedback else None)
    try:
        moved = moving.move(project, found, wp, wish)
    except FellShort as short:
        return _fell_short(project, found, wp, short, speak)
    if isinstance(moved, moving.NotApproved):
        unfit = FellShort(
            f"{wp} was judged anew on the moved target and needs changes: {moved.reason}",
            f"see `agentpkg review {found} {wp}`",
            code="changes_requested",
        )
        return _fell_short(project, found, wp, unfit, speak)
    if speak.json:
        speak.document(moved.as_json())
        return 0
    from agentpkg.cli import render, render_work

    render.show(render_work.moved(moved, titles(project, found)))
    return 0


def _text(path: Path) -> str:
    """A feedback file. Raises :class:`BadInput` for what no agent could read in its prompt."""
    hint = "write what the next agent should know as plain text, and give that file"
    try:
        # a pipe is fine too: --review-feedback-file <(git diff)
        with path.open("rb") as file:
            data = file.read(_MOST + 1)
    except OSError as error:
        raise BadInput(f"--review-feedback-file {path}: {error.strerror or error}", hint, code="bad_feedback") from None
    if len(data) > _MOST:
        raise BadInput(f"--review-feedback-file {path} is over {_MOST} bytes (1 MiB)", hint, code="bad_feedback")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadInput(f"--review-feedback-file {path}:{line}: not UTF-8", hint, code="bad_feedback") from None
    if "\0" in text:
        raise BadInput(f"--review-feedback-file {path}: it has a NUL, so it is no text", hint, code="bad_feedback")
    return text


def _fell_short(project: Project, feature: str, wp: str, short: FellShort, speak: Speaker) -> int:
    """The package is not where it was asked to be: with ``--json`` the command's own document says where it is."""
    if not speak.json:
        raise short
    state = project.row(feature, wp).state
    speak.document(moving.Moved(feature, wp, State.FOR_REVIEW, state).as_json() | {"reason": short.message})
    return short.exit_code


def _feature(project: Project, name: str, asked: dict[str, Any], speak: Speaker) -> int:
    if asked["to"] == FeatureState.CANCELLED:
        raise NotAllowed(
            "a feature is not cancelled as a whole",
            f"cancel the packages nobody wants: agentpkg cancel {name} WP02 --reason TEXT; with the rest done, the "
            f"feature is validated, and shipped with agentpkg move {name} --to shipped",
            code="illegal_transition",
        )
    if asked["to"] not in set(FeatureState):
        raise BadInput(
            f"a feature cannot become {asked['to']}; its packages can", f"agentpkg move {name} WP02 --to {asked['to']}"
        )
    moved = moving.move_feature(project, name, FeatureState(asked["to"]), asked["reason"])
    if speak.json:
        speak.document(moved.as_json())
    else:
        speak.say(f"{moved.feature} moved from {moved.frm} to {moved.to}")
    return 0
