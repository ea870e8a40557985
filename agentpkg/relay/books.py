"""The relay's own looks at the ledger: one thread and one connection, opened when there is a ledger."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from agentpkg.ledger.ledger import Ledger

T = TypeVar("T")


class Books:
    """The ledger as a background process sees it: it may not exist yet, vanish, or be another file suddenly.

    Args:
        state: the repository's state folder.
        name: of the thread.
    """

    def __init__(self, state: Path, name: str) -> None:
        self._path = state / "ledger.db"
        # always the same thread: the ledger's data_version is that of a connection, and connections are a thread's
        self._thread = ThreadPoolExecutor(1, name)
        self._ledger: Ledger | None = None
        self._file: tuple[int, int] | None = None

    async def ask(self, question: Callable[[Ledger], T], without: T) -> T:
        """The answer of ``question``, asked in the thread; ``without`` where there is no ledger.

        Raises:
            AgentpkgError: the ledger is locked, damaged, too new, or the disk refuses.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._ask, question, without)

    def _ask(self, question: Callable[[Ledger], T], without: T) -> T:
        ledger = self._current()
        return without if ledger is None else question(ledger)

    def _current(self) -> Ledger | None:
        try:
            facts = os.stat(self._path)
        except OSError:
            self._close()
            return None
        if self._file != (facts.st_dev, facts.st_ino):
            self._close()
        if self._ledger is None:
            # opened only if it exists: this process makes no ledgers
            self._ledger = Ledger.open(self._path)
            self._file = (facts.st_dev, facts.st_ino)
        return self._ledger

    def _close(self) -> None:
        if self._ledger is not None:
            self._ledger.close()
        self._ledger = None

    def close(self) -> None:
        """Closes the ledger, after what was asked last has been answered."""
        self._thread.submit(self._close)
        self._thread.shutdown()
