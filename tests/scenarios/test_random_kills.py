"""A feature ends as it should while random processes are killed: no two rounds are alike, so not in CI."""

import random
from pathlib import Path

import pytest

from tests.scenarios.random_kills import Tally, one_round


@pytest.mark.slow
@pytest.mark.exhaustive
def test_a_feature_ends_well_while_processes_are_killed(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(1 << 20)
    print(f"seed {seed}: python -m tests.scenarios.random_kills 1 {seed}")
    one_round(tmp_path, seed, Tally())
