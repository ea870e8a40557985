"""What a level of isolation is: how it is probed, and how a process is put inside."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Place:
    """The paths a session is about; all absolute and resolved.

    Attributes:
        worktree: the package's worktree.
        private: the session's private git dir.
        repository: the main work tree.
        common_dir: the repository's common git dir.
        session: the session's folder, with its private home and temporary folder.
        reads: what else must be readable.
    """

    worktree: str
    private: str
    repository: str
    common_dir: str
    session: str
    reads: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A command as it runs inside: arguments and whole environment."""

    argv: tuple[str, ...]
    env: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Probe:
    """Whether a level works on this machine.

    Attributes:
        works: it was tried and it does.
        detail: one line for people: what it promises, or why it does not work.
        fix: what would make it work; empty when it does or nothing would.
    """

    works: bool
    detail: str
    fix: str = ""


class Isolation(Protocol):
    """One level."""

    name: str

    def probe(self) -> Probe:
        """Whether it works here; by trying, not by guessing."""

    def wrap(self, argv: tuple[str, ...], env: Mapping[str, str], place: Place) -> Wrapped:
        """The command that runs ``argv`` inside.

        Args:
            argv: program and arguments.
            env: the whole environment it is to have.
            place: what it may see and write.
        """
