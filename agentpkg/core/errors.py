"""The error tree: one class per exit code of the command line.

An error says what is wrong, where, and what to do about it. Outcomes that somebody planned for (a rejected
review, a conflict, a target that moved) are values, not errors.
"""

from collections.abc import Mapping
from typing import Any

#: the code and the hint of every error that a full disk causes
DISK_FULL = "disk_full"
MAKE_ROOM = "nothing was half done; make room and repeat the command"


class AgentpkgError(Exception):
    """What every command shows as one line, one hint, and an exit code.

    Args:
        message: what is wrong, in one line, with the place.
        hint: what the user can do about it, in one line.
        code: a stable name for scripts (``unknown_feature``); the class has a default.
        details: JSON data for ``--json``.
    """

    exit_code = 1
    code = "failed"

    def __init__(
        self, message: str, hint: str = "", *, code: str | None = None, details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code or type(self).code
        self.details = dict(details or {})

    def as_json(self) -> dict[str, Any]:
        """The ``error`` document of ``--json``."""
        return {
            "error": {"code": self.code, "message": self.message, "hint": self.hint, "details": self.details},
        }


class FellShort(AgentpkgError):
    """The work itself fell short: an agent failed, a review rejected, a chain is broken."""

    exit_code = 1
    code = "fell_short"


class BadInput(AgentpkgError):
    """Wrong usage, configuration or feature file."""

    exit_code = 2
    code = "bad_input"


class NotAllowed(AgentpkgError):
    """Not allowed now: dependencies open, illegal transition, approval missing, the user's changes in the way."""

    exit_code = 3
    code = "not_allowed"


class Busy(AgentpkgError):
    """Another session or command holds what this one wants."""

    exit_code = 4
    code = "busy"


class Lacking(AgentpkgError):
    """The machine lacks something: no repository, a program missing, a partial clone."""

    exit_code = 5
    code = "lacking"


class Interrupted(AgentpkgError):
    """The user pressed Ctrl-C."""

    exit_code = 130
    code = "interrupted"
