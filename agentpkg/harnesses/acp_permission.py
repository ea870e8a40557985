"""Answers an ACP agent's requests for permission by the scope of its work package."""

import os
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from agentpkg.core.scope import Scope, Word
from agentpkg.harnesses.programs import items, mapping

Said = Mapping[str, Any]

#: kinds of calls (agentclientprotocol.com/protocol/tool-calls) that change nothing
_HARMLESS = frozenset(("read", "search", "think", "switch_mode"))

#: tools of goose that change nothing; it tells no kinds, but begins a call's title with the tool's own name
_LOOKING = frozenset(("analyze", "load", "load_skill", "read_image", "todo__todo_write", "tree"))

_PATH_KEYS = ("file_path", "filePath", "path", "abs_path", "notebook_path", "absolute_path", "new_path", "old_path",
              "filepath", "parentDir")  # fmt: skip
_COMMAND_KEYS = ("command", "cmd")


class Answer(NamedTuple):
    """What is answered.

    Attributes:
        option: the id of the chosen option, None where none fits.
        refused: why it is refused, None when it is allowed.
    """

    option: str | None
    refused: str | None


def answer(request: Said, refused: str | None) -> Answer:
    """The answer to ``session/request_permission``; never for more than the one call that is asked about.

    Args:
        request: its parameters.
        refused: why it is refused, None when it is allowed.
    """
    wanted = ("reject_once", "reject_always") if refused else ("allow_once",)
    options = {str(mapping(o).get("kind")): str(mapping(o).get("optionId")) for o in items(request.get("options"))}
    option = next((options[kind] for kind in wanted if kind in options), None)
    if option is None and refused is None:
        return Answer(None, "the agent offers no way to allow this one call alone")
    return Answer(option, refused)


def judge(call: Said, scope: Scope, worktree: str, also: frozenset[str] = frozenset()) -> Word:
    """What is to become of a tool call.

    Args:
        also: more kinds of calls that are allowed: ``fetch``, ``other``.
    """
    kind = str(call.get("kind") or "other")
    command = _command(call, kind)
    if command is not None:
        return scope.judge_command(command)
    looks = "kind" not in call and str(call.get("title")).partition(" · ")[0] in _LOOKING
    if kind in _HARMLESS or kind in also or looks:
        return Word("allow")
    paths = [os.path.join(worktree, path) for path in dict.fromkeys(_paths(call, mapping(call.get("rawInput"))))]
    if not paths:
        return Word("ask", f"nothing is known of what this call of kind {kind} would change")
    return scope.judge_changes(worktree, paths)


def _paths(call: Said, given: Said) -> Iterator[str]:
    for place in map(mapping, items(call.get("locations"))):
        yield str(place.get("path") or "")
    for part in map(mapping, items(call.get("content"))):
        if part.get("type") == "diff":
            yield str(part.get("path") or "")
    for key in _PATH_KEYS:
        if isinstance(given.get(key), str):
            yield str(given[key])
    # Codex: what it changes, by path
    yield from map(str, mapping(given.get("changes") or given.get("fileChanges")))


def _command(call: Said, kind: str) -> str | None:
    given = mapping(call.get("rawInput"))
    for key in _COMMAND_KEYS:
        value = given.get(key)
        if isinstance(value, list):
            return " ".join(map(str, value))
        if isinstance(value, str) and kind not in ("edit", "delete", "move"):
            return value
    # where nothing else tells, its title is the command
    return str(call.get("title") or "") if kind == "execute" else None
