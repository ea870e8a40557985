"""What one package's agent may change and run, and why not: one answer for hooks, permission requests and sandboxes."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Literal, NamedTuple

from agentpkg.core.commandline import forbidden_command
from agentpkg.core.patterns import Patterns


class Word(NamedTuple):
    """What is to become of a call, and why, where it is not simply allowed; ``ask``: a person decides."""

    decision: Literal["allow", "deny", "ask"]
    why: str = ""


@dataclass(frozen=True, slots=True)
class Scope:
    """The bounds of a package; all patterns are gitignore-style, relative to the worktree.

    A path is in scope when it is in ``allowed`` and in ``owned``, each where given, and in no list of ``forbidden``.

    Attributes:
        forbidden: several lists, none of which can take back what another forbids.
        commands: beginnings of commands that must not be run.
        asked: beginnings of commands that a person decides on, each time.
        beyond: what becomes of changes beyond ``owned``, as the policy has it; ``approval``: a person decides.
    """

    owned: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    forbidden: tuple[tuple[str, ...], ...] = ()
    commands: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    beyond: Literal["autonomous", "approval", "forbidden"] = "forbidden"

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Scope":
        """The inverse of :meth:`as_json`."""
        return cls(
            tuple(data["owned"]), tuple(data["allowed"]), tuple(tuple(lines) for lines in data["forbidden"]),
            tuple(data["commands"]), tuple(data.get("asked", ())), data.get("beyond", "forbidden"),
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
        if self.allowed and inside not in _compiled(self.allowed, False):
            return f"{inside} is out of scope: the project allows agents only {', '.join(self.allowed)}"
        return self._beyond(inside) if self.beyond == "forbidden" else None

    def unsure_change(self, worktree: str, path: str) -> str | None:
        """Why a person has to decide on a change that is not refused, None when nobody has to.

        Arguments are those of :meth:`refuse_change`.
        """
        inside = _inside(worktree, path)
        return self._beyond(inside) if inside is not None and self.beyond == "approval" else None

    def judge_changes(self, worktree: str, paths: Sequence[str]) -> Word:
        """What is to become of a call that changes these files."""
        refused = filter(None, (self.refuse_change(worktree, path) for path in paths))
        unsure = filter(None, (self.unsure_change(worktree, path) for path in paths))
        return _word(next(refused, None), next(unsure, None))

    def judge_command(self, line: str) -> Word:
        """What is to become of a shell command."""
        return _word(self.refuse_command(line), self.unsure_command(line))

    def _beyond(self, inside: str) -> str | None:
        if not self.owned or inside in _compiled(self.owned, False):
            return None
        return f"{inside} is out of scope: this work package owns only {', '.join(self.owned)}"

    def refuse_command(self, line: str) -> str | None:
        """Why a shell command must not be run, None when it may be."""
        found = forbidden_command(line, self.commands)
        return f"the command `{found}` is forbidden in this project" if found else None

    def unsure_command(self, line: str) -> str | None:
        """Why a person has to decide on a command that is not refused, None when nobody has to."""
        found = forbidden_command(line, self.asked)
        return f"in this project a person decides on the command `{found}`" if found else None


def _word(refused: str | None, unsure: str | None) -> Word:
    return Word("deny", refused) if refused else Word("ask", unsure) if unsure else Word("allow")


@cache
def _compiled(lines: Sequence[str], fold: bool) -> Patterns:
    return Patterns(lines, fold=fold)


def _inside(worktree: str, path: str) -> str | None:
    """The path below the worktree, with its links followed, None when it is not below it."""
    root = os.path.realpath(worktree)
    real = os.path.realpath(os.path.join(root, path))
    relative = os.path.relpath(real, root)
    return None if relative == os.curdir or relative.startswith(os.pardir) else relative.replace(os.sep, "/")
