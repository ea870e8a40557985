"""Where secrets come from: the environment, a private file, the system's keyring, or a command.

Each provider answers with a value, or None when it has none of that name. A provider that cannot answer at all (the
file is readable by others, there is no keyring) raises :class:`Unanswered`; another one may still have the value.
"""

import os
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from agentpkg.core.errors import BadInput
from agentpkg.secrets.dotenv import parse

#: runs a program: arguments -> exit code and standard output; raises OSError when it cannot be started
Runner = Callable[[Sequence[str]], tuple[int, bytes]]

#: under which service name the keyring is asked; the user name is the secret's name
KEYRING_SERVICE = "agentpkg"

#: bytes; a larger file of secrets is refused unread
MAX_SIZE = 1 << 20


class Unanswered(Exception):
    """A provider cannot answer; the text says why, without any value."""


class Provider(Protocol):
    """One source of secrets; ``name`` is what the configuration calls it."""

    @property
    def name(self) -> str:
        """What the configuration calls it."""
        ...

    def get(self, secret: str) -> str | None:
        """The value called ``secret``, or None. Raises :class:`Unanswered`."""
        ...


@dataclass(frozen=True)
class EnvironmentProvider:
    """The environment of the command that dispatches."""

    environ: Mapping[str, str]
    name: str = "environment"

    def get(self, secret: str) -> str | None:
        """The variable of that name; an empty one counts as none."""
        return self.environ.get(secret) or None


@dataclass(frozen=True)
class FileProvider:
    """A file of ``NAME=value`` lines that nobody but its owner can read and that lies outside the repository."""

    path: Path
    repository: Path
    name: str = "file"

    def get(self, secret: str) -> str | None:
        """The value of that line; a file that does not exist has none."""
        return self._values.get(secret) or None

    @cached_property
    def _values(self) -> dict[str, str]:
        try:
            place = self.path.resolve(strict=True)
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise Unanswered(f"{self.path} cannot be read: {error.strerror}") from None
        if place.is_relative_to(self.repository.resolve()):
            raise Unanswered(f"{self.path} lies inside the repository, where agents and commits can reach it")
        return parse(_read_private(place))


@dataclass(frozen=True)
class KeyringProvider:
    """The system's keyring: service ``agentpkg``, user name = the secret's name."""

    name: str = "keyring"

    def get(self, secret: str) -> str | None:
        """The stored password. The library is loaded here, because it costs more than everything else together."""
        import keyring
        from keyring.errors import KeyringError

        try:
            return keyring.get_password(KEYRING_SERVICE, secret) or None
        except KeyringError as error:
            raise Unanswered(f"the keyring does not answer: {error}") from None


@dataclass(frozen=True)
class CommandProvider:
    """A program that prints the value; ``{name}`` in its arguments is the secret's name."""

    command: tuple[str, ...]
    run: Runner
    name: str = "command"

    def get(self, secret: str) -> str | None:
        """What the program prints, without the last line end; a failure means that it has none."""
        try:
            code, printed = self.run([part.replace("{name}", secret) for part in self.command])
        except OSError as error:
            raise Unanswered(f"{self.command[0]} cannot be started: {error.strerror or error}") from None
        if code != 0:
            return None
        try:
            return printed.decode("utf-8").removesuffix("\n").removesuffix("\r") or None
        except UnicodeDecodeError:
            raise Unanswered(f"{self.command[0]} printed what is not UTF-8") from None


def default_file() -> Path:
    """Where the ``file`` provider looks unless configured: ``~/.config/agentpkg/secrets.env`` on Linux,
    ``~/Library/Application Support/agentpkg/secrets.env`` on macOS.
    """
    from platformdirs import user_config_path

    return user_config_path("agentpkg") / "secrets.env"


def open_providers(
    names: Sequence[str],
    *,
    environ: Mapping[str, str],
    repository: Path,
    file: str | None = None,
    command: Sequence[str] = (),
    run: Runner | None = None,
) -> list[Provider]:
    """The providers of ``secrets.providers``, in that order; none is asked anything yet.

    Args:
        names: of ``environment``, ``file``, ``keyring``, ``command``.
        environ: the environment of the command that dispatches.
        repository: the main work tree, in which no file of secrets may lie.
        file: ``secrets.file``; ``~`` stands for the home folder.
        command: ``secrets.command``.
        run: starts the program of ``command``, with a time limit.
    """
    makers: dict[str, Callable[[], Provider]] = {
        "environment": lambda: EnvironmentProvider(environ),
        "file": lambda: FileProvider(_place(file), repository),
        "keyring": KeyringProvider,
        "command": lambda: _command(tuple(command), run),
    }
    return [makers[name]() for name in names]


def _command(command: tuple[str, ...], run: Runner | None) -> CommandProvider:
    if not command or run is None:
        raise BadInput("the provider `command` has no command", 'set secrets.command: [program, "{name}"]')
    return CommandProvider(command, run)


def _place(file: str | None) -> Path:
    if file is None:
        return default_file()
    place = Path(file).expanduser()
    if not place.is_absolute():
        raise BadInput(f"secrets.file is not absolute: {file}", "write it from / or from ~")
    return place


def _read_private(path: Path) -> str:
    """Reads a file of the user's own. Checked on the open file, so that nobody swaps it in between."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise Unanswered(f"{path} cannot be read: {error.strerror}") from None
    with os.fdopen(handle, "rb") as file:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            raise Unanswered(f"{path} is no file")
        if facts.st_uid != os.geteuid():
            raise Unanswered(f"{path} belongs to another user")
        if facts.st_mode & 0o077:
            raise Unanswered(f"{path} can be read by others: run `chmod 600 {path}`")
        data = file.read(MAX_SIZE + 1)
    if len(data) > MAX_SIZE:
        raise Unanswered(f"{path} is larger than 1 MiB")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise Unanswered(f"{path} is not UTF-8 text") from None
