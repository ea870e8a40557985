"""Shops for the tests of the engine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engine_shop import ShopFactory


@pytest.fixture
def shops(tmp_path: Path) -> Iterator[ShopFactory]:
    """Makes scratch repositories with a feature; ends their processes afterwards."""
    factory = ShopFactory(tmp_path)
    yield factory
    factory.close()
