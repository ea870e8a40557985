"""What a runner needs of whoever puts an agent's questions to people."""

from collections.abc import Iterable
from typing import Protocol

from agentpkg.harnesses.base import Ask, Decided


class People(Protocol):
    """Takes what an agent asks, and brings what people decide; neither call waits."""

    @property
    def waiting(self) -> bool:
        """The agent waits for somebody."""

    def ask(self, ask: Ask) -> str | None:
        """Puts a call to people; gives the question's name, None where it is decided already."""

    def decided(self) -> Iterable[Decided]:
        """What was decided since the last call; every call that was put to people is in it some day."""


class Nobody:
    """Refuses whatever is asked."""

    waiting = False

    def __init__(self) -> None:
        self._asked: list[Ask] = []

    def ask(self, ask: Ask) -> str | None:
        """Keeps it for the next look."""
        self._asked.append(ask)
        return None

    def decided(self) -> Iterable[Decided]:
        """Refusals."""
        asked, self._asked = self._asked, []
        return [Decided(ask, False, f"{ask.why}; there is nobody to ask") for ask in asked]
