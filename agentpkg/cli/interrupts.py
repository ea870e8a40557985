"""Ctrl-C as a number that a command looks at when it can, instead of an exception in the middle of anything."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self


class Interrupts:
    """Counts Ctrl-C while the block runs.

    A command that makes a lease, a worktree and a process must not be torn apart between them; it looks at
    :attr:`presses` where it can stop in good order.

    Attributes:
        presses: how often Ctrl-C was pressed.
    """

    def __init__(self) -> None:
        self.presses = 0
        self._before: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._count)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _count(self, number: int, frame: FrameType | None) -> None:
        self.presses += 1
