"""Shops, as the tests of the engine have them."""

from tests.engine.conftest import shops

__all__ = ["shops"]
