from collections.abc import Iterator

import pytest

from tests.support import relay_world
from tests.support.relay_world import RelayWorld
from tests.support.repos import ScratchFactory


@pytest.fixture
def world(scratch: ScratchFactory) -> Iterator[RelayWorld]:
    relay_world.need_server()
    with relay_world.opened(scratch()) as made:
        yield made
