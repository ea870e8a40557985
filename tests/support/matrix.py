"""Long lists of points that are much like each other."""

from collections.abc import Iterable
from typing import Any

import pytest


def points(*groups: Iterable[Any]) -> list[Any]:
    """Parameters: every fifth point runs wherever slow tests do, the others in ``make test-all`` alone."""
    every = [point for group in groups for point in group]
    return [pytest.param(at, marks=pytest.mark.exhaustive if n % 5 else ()) for n, at in enumerate(every)]
