"""Waiting for a fact instead of sleeping."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(predicate: Callable[[], T], seconds: float = 15.0, what: str = "") -> T:
    """The first true value of ``predicate``; fails the test after ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        value = predicate()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited {seconds} s for {what or predicate}"
        time.sleep(0.01)
