"""A value that cannot be shown by accident."""

import resource
from typing import NoReturn


def no_core_dumps() -> None:
    """Keeps this process, and all that it starts, from leaving its memory in a file when it crashes."""
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))


class Secret:
    """Wraps a secret value: every way of printing it gives ``***``, and it cannot be pickled.

    Args:
        name: what the value is called; may be shown.
        value: the value; only :meth:`reveal` gives it.
    """

    __slots__ = ("_value", "name")

    def __init__(self, name: str, value: str) -> None:
        self.name = name
        self._value = value

    def reveal(self) -> str:
        """The value, for the one place that hands it on."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return "***"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is never pickled")
