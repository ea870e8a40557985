"""What one package's agent may change and run, and why not: one answer for hooks, permission requests and sandboxes."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from agentpkg.core.commandline import forbidden_command
from agentpkg.core.patterns import Patterns


@dataclass(frozen=True, slots=True)
class Scope:
    """The bounds of a package; all patterns are gitignore-style, relative to the worktree.

    A path is in scope when it is in ``allowed`` and in ``owned``, each where given, and in no list of ``forbidden``.

    Attributes:
        forbidden: several lists, none of which can take back what another forbids.
        commands: beginnings of commands that must not be run.
    """

    owned: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    forbidden: tuple[tuple[str, ...], ...] = ()
    commands: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Scope":
        """The inverse of :meth:`as_json`."""
        return cls(
            tuple(data["owned"]), tuple(data["allowed"]), tuple(tuple(lines) for lines in data["forbidden"]),
            tuple(data["commands"]),
        )  # fmt: skip

    def refuse_change(self, worktree: str, path: str) -> str | None:
        """Why a file must not be written, None when it may be; the reason is made for the agent to read.

        Args:
            worktree: absolute path.
            path: absolute, or relative to the worktree; links on the way are followed.
        """
        inside = _inside(worktree, path)
        if inside is None:
            return f"{path} is outside of the worktree; change files below {worktree} only"
        if inside.split("/", 1)[0].casefold() == ".git":
            return f"{inside} is git's own; use git commands"
        for lines in self.forbidden:
            # without the last slash a file or a link in a folder's place is meant as well
            found = _compiled(tuple(line.rstrip("/") for line in lines), True).match(inside)
            if found:
                return f"{inside} is forbidden for this work package ({found})"
        for lines, what in ((self.allowed, "the project allows agents"), (self.owned, "this work package owns")):
            if lines and inside not in _compiled(lines, False):
                return f"{inside} is out of scope: {what} only {', '.join(lines)}"
        return None

    def refuse_command(self, line: str) -> str | None:
        """Why a shell command must not be run, None when it may be."""
        found = forbidden_command(line, self.commands)
        return f"the command `{found}` is forbidden in this project" if found else None


@cache
def _compiled(lines: Sequence[str], fold: bool) -> Patterns:
    return Patterns(lines, fold=fold)


def _inside(worktree: str, path: str) -> str | None:
    """The path below the worktree, with its links followed, None when it is not below it."""
    root = os.path.realpath(worktree)
    real = os.path.realpath(os.path.join(root, path))
    relative = os.path.relpath(real, root)
    return None if relative == os.curdir or relative.startswith(os.pardir) else relative.replace(os.sep, "/")
