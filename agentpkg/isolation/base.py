"""What a level of isolation is: how it is probed, and how a process is put inside."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

#: the port inside of the proxy, see :mod:`agentpkg.isolation.proxy`
PORT = 3128


@dataclass(frozen=True, slots=True)
class Network:
    """The way out that there is, see :mod:`agentpkg.isolation.proxy`.

    Attributes:
        folder: where its sockets lie, for a level that has them appear as ports.
        sockets: their names by the port that each has inside.
        port: the port of the proxy on this machine, for a level that has no other ports to offer.
        ports: it, and those of the services of this machine that may be reached.
    """

    folder: str = ""
    sockets: Mapping[int, str] = field(default_factory=dict)
    port: int = 0
    ports: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """The paths a session is about; all absolute and resolved.

    Attributes:
        worktree: the package's worktree.
        private: the session's private git dir.
        repository: the main work tree.
        common_dir: the repository's common git dir.
        session: the session's folder, with its private home and temporary folder.
        program: what is started, beneath whatever stands before it in the command; it has to be seen.
        reads: what else must be readable, and executable where it is a program.
        mounts: files and folders that the user wants to be seen, read-only; those that are missing are left out.
        states: files and folders of the agent's program's own, which it reads and writes; below the home as a rule.
        network: the way out; None: there is none, where the level cuts the network.
        lent: folders of objects that the repository borrows from others.
    """

    worktree: str
    private: str
    repository: str
    common_dir: str
    session: str
    program: str = ""
    reads: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    network: Network | None = None
    lent: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Room:
    """A throw-away copy of the project in which something is tried; all paths absolute and resolved.

    Attributes:
        root: the project's files.
        seen_as: the path under which they appear inside, where the level can move things.
        temporary: an empty folder.
        home: another, for the home.
        reads: what else must be readable: the objects that the copy's git borrows.
        writes: what else may be written.
        mounts: as in :class:`Place`.
        closed: folders that are not to be seen as a whole: the user's work tree, the git common dir.
        network: the way out; None: there is none, where the level cuts the network.
        programs: what else must be readable, and executable where it is a program.
        states: as in :class:`Place`: copies of them lie in the home.
        sealed: the project's files may be read alone.
    """

    root: str
    seen_as: str
    temporary: str
    home: str
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()
    network: Network | None = None
    programs: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    sealed: bool = False


class Status(Protocol):
    """What is known from outside of a process that runs inside."""

    def group(self) -> int | None:
        """The process group to ask politely: the agent's own, as the caller's pids go; None while there is none."""

    def ended(self) -> int | None:
        """The exit code of what ran inside; None when it has not ended, or was never started."""

    def close(self) -> None:
        """Gives up what it holds."""


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A command as it runs inside: arguments and whole environment.

    Attributes:
        keep: descriptors that the process needs; :meth:`close` closes them.
        status: what tells of the process inside; None where it is the started process itself.
        failure: the exit code with which the walls themselves end, where there is no ``status``.
        voice: what each line of their own begins with.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str]
    keep: tuple[int, ...] = ()
    status: Status | None = None
    failure: int | None = None
    voice: str = ""

    def failed_to_start(self, exit_code: int | None, said: str) -> str | None:
        """Why the walls, and not what was to run inside, ended with ``exit_code``; None when they did not.

        Args:
            said: what was printed.
        """
        # a negative code is a signal: it was killed, which says nothing of the walls
        if not self.voice or not exit_code or exit_code < 0:
            return None
        last = next((line for line in reversed(said.splitlines()) if line.startswith(self.voice)), "")
        if self.status is not None:
            failed = self.status.ended() is None or (exit_code == 1 and last.startswith(f"{self.voice}execvp "))
        else:
            failed = exit_code == self.failure and bool(last)
        why = last.removeprefix(self.voice) or f"it ended with {exit_code}"
        return f"the sandbox did not start: {why[:300]}" if failed else None

    def close(self) -> None:
        """Gives up what is held for the process, which has ended."""
        if self.status is not None:
            self.status.close()


@dataclass(frozen=True, slots=True)
class Probe:
    """Whether a level works on this machine.

    Attributes:
        works: it was tried and it does.
        detail: one line for people: what it promises, or why it does not work.
        fix: what would make it work; empty when it does or nothing would.
        facts: what the level has to know again to be used (the program, its version).
    """

    works: bool
    detail: str
    fix: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)


class Isolation(Protocol):
    """One level."""

    name: str
    #: nothing can be reached but through :class:`Network`
    cuts_network: bool
    #: how a :class:`Network` is offered inside: by ``sockets``, by ``port``, or (empty) not at all
    network_over: str
    #: things can appear under another path than their own
    moves: bool
    #: the private git dir appears in place of the repository's own; otherwise the worktree's ``.git`` names it
    covers_git: bool

    def stamp(self) -> str:
        """Changes whenever a probe might say something else (within one boot)."""

    def probe(self) -> Probe:
        """Whether it works here; by trying, not by guessing."""

    def wrap(self, argv: tuple[str, ...], env: Mapping[str, str], place: Place, facts: Mapping[str, str]) -> Wrapped:
        """The command that runs ``argv`` inside, for a session.

        Args:
            argv: program and arguments.
            env: the whole environment it is to have.
            place: what it may see and write.
            facts: what the probe found.

        Raises:
            Lacking: when the program cannot be seen inside, or the place is not as it has to be.
        """

    def wrap_room(self, argv: tuple[str, ...], env: Mapping[str, str], room: Room, facts: Mapping[str, str]) -> Wrapped:
        """The command that runs ``argv`` inside, in a copy of the project; see :meth:`wrap`."""

    def reader(
        self, program: str, reads: tuple[str, ...], writes: tuple[str, ...], facts: Mapping[str, str]
    ) -> tuple[str, ...]:
        """What stands before a command that reads what an agent wrote; its environment stays as it is.

        Args:
            program: what is run; all that it may see beside the system's folders is ``reads`` and ``writes``.
        """


def within(path: str, folder: str) -> bool:
    """Whether ``path`` is ``folder`` or lies below it; both absolute and normalised."""
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
