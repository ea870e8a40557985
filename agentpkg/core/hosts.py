"""Where a process behind walls may connect to: ``host:port``, ``*.host:port``, and services of this machine (pure)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_NAME = re.compile(r"(\*\.)?[a-z0-9]([a-z0-9._-]*[a-z0-9])?")
_LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Target:
    """One thing that may be reached.

    Attributes:
        host: in lower case; ``*.example.org`` means every name below ``example.org``, but not that itself.
        local: a service that listens on this machine's loopback, which appears on the same port inside.
    """

    host: str
    port: int
    local: bool = False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'tcp:' if self.local else ''}{host}:{self.port}"

    @property
    def any_below(self) -> bool:
        """Whether every name below one is meant, and not one host."""
        return self.host.startswith("*.")

    def admits(self, host: str, port: int) -> bool:
        """Whether a connection to ``host`` on ``port`` is meant."""
        name = host.lower().rstrip(".").strip("[]")
        if port != self.port:
            return False
        return name.endswith(self.host[1:]) if self.any_below else name == self.host


def parse(text: str) -> Target:
    """A target from the configuration.

    Args:
        text: ``api.example.org:443``, ``*.example.org:443``, ``[::1]:80``, ``tcp:127.0.0.1:5432``.

    Raises:
        ValueError: it is none; the message says what would be.
    """
    asked, local = text.strip().lower(), text.startswith("tcp:")
    host, _, digits = asked.removeprefix("tcp:").rpartition(":")
    plain = host.strip("[]")
    port = int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 5 else 0
    good = bool(_NAME.fullmatch(plain)) or (host.startswith("[") and re.fullmatch(r"[0-9a-f:.]+", plain) is not None)
    if not good or not 0 < port < 65536:
        raise ValueError("should be `host:port`, as `api.example.org:443`, or `tcp:127.0.0.1:5432`")
    if local and plain not in _LOCAL:
        raise ValueError("`tcp:` is for services of this machine: `tcp:127.0.0.1:5432`")
    return Target(plain, port, local or plain in _LOCAL)


def parse_all(texts: Iterable[str]) -> tuple[Target, ...]:
    """Targets from the configuration, each once."""
    return tuple(dict.fromkeys(parse(text) for text in texts))
