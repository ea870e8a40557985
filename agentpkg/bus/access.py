"""How to reach a server of events: plain values that travel between rooms."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, Self
from urllib.parse import urlsplit, urlunsplit


class Wanted(Protocol):
    """The ``nats`` section of the configuration."""

    @property
    def url(self) -> str | None:
        """The user's own server; None: agentpkg's."""

    @property
    def credentials(self) -> str | None:
        """A credentials or seed file."""

    @property
    def prefix(self) -> str:
        """The first token of every subject."""

    @property
    def server(self) -> str | None:
        """The program for agentpkg's own server."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The effective ``nats`` settings of one command, as handed to a new relay."""

    url: str | None = None
    credentials: str | None = None
    prefix: str = "agentpkg"
    server: str | None = None

    @classmethod
    def of(cls, wanted: Wanted) -> Self:
        """Those of a configuration."""
        return cls(wanted.url, wanted.credentials, wanted.prefix, wanted.server)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """What :meth:`as_json` gave."""
        return cls(
            values.get("url"), values.get("credentials"), values.get("prefix") or "agentpkg", values.get("server")
        )

    def as_json(self) -> dict[str, Any]:
        """JSON data; holds whatever secrets the URL holds."""
        return asdict(self)

    def digest(self) -> str:
        """Tells two settings apart without telling what they are."""
        return hashlib.sha256(json.dumps(self.as_json(), sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Access:
    """Where a server is and who to be there.

    Attributes:
        urls: one or more, tried in turn.
        credentials: a credentials file (JWT and seed) or a file with an NKey seed.
        inbox: the prefix of reply subjects.
    """

    urls: tuple[str, ...]
    prefix: str
    credentials: Path | None = None
    inbox: str = "_INBOX"

    @property
    def shown(self) -> str:
        """The URLs without passwords."""
        return ",".join(_without_secret(url) for url in self.urls)


def of_settings(settings: Settings, folder: Path) -> Access | None:
    """The access that a user's own server is reached by; None where agentpkg's own is meant.

    Args:
        folder: what a relative credentials path starts from.
    """
    if not settings.url:
        return None
    urls = tuple(part.strip() for part in settings.url.split(","))
    file = folder / Path(settings.credentials).expanduser() if settings.credentials else None
    return Access(urls, settings.prefix, file)


def _without_secret(url: str) -> str:
    pieces = urlsplit(url)
    return urlunsplit(pieces._replace(netloc=pieces.netloc.rpartition("@")[2]))
