"""Shops for the tests of the engine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engine_shop import ShopFactory
from tests.support.models import ModelServer


@pytest.fixture
def shops(tmp_path: Path) -> Iterator[ShopFactory]:
    """Makes scratch repositories with a feature; ends their processes afterwards."""
    factory = ShopFactory(tmp_path)
    yield factory
    factory.close()


@pytest.fixture
def model() -> Iterator[ModelServer]:
    """An endpoint that plays scripts."""
    with ModelServer() as server:
        yield server
