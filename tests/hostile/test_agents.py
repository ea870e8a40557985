"""What hostile agents do at each level, as root and as an ordinary user; and that the docs say so.

Without agentpkg each of them does its harm. All of it takes a quarter of an hour, so CI only looks at the docs.
"""

from pathlib import Path

import pytest

from tests.hostile.agents import ATTACKS, result, table
from tests.hostile.arena import PLAIN, TOKEN, Attack, fight, plainly, world
from tests.isolation.ordinary import pytest_as_user
from tests.isolation.support import require
from tests.support.engine_shop import ShopFactory

DOCS = Path(__file__).parents[2] / "docs" / "security.md"

#: agents of one repository
_TOGETHER = 12


def test_the_docs_have_the_table_of_these_agents() -> None:
    assert DOCS.read_text().count(table()) == 1


def groups() -> list[list[Attack]]:
    """Those that can work in one repository after each other, and the others alone."""
    peaceful = [attack for attack in ATTACKS if not attack.alone and attack.kind != 21]
    together = [peaceful[at : at + _TOGETHER] for at in range(0, len(peaceful), _TOGETHER)]
    return [*together, [a for a in ATTACKS if a.kind == 21], *([a] for a in ATTACKS if a.alone)]


def ids(group: list[Attack]) -> str:
    return group[0].does.replace(" ", "-")


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("group", groups(), ids=ids)
def test_without_agentpkg_each_does_its_harm(shops: ShopFactory, still_world: Path, group: list[Attack]) -> None:
    able = [attack for attack in group if attack.plain]
    with world(shops, still_world, PLAIN, able) as at:
        assert [outcome.attack.does for outcome in plainly(at, able) if outcome.result != "open"] == []


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("level", ["strong", "medium", "basic"])
@pytest.mark.parametrize("group", groups(), ids=ids)
def test_what_the_table_says_is_what_happens(
    shops: ShopFactory, still_world: Path, monkeypatch: pytest.MonkeyPatch, group: list[Attack], level: str
) -> None:
    require(level)
    monkeypatch.setenv("DEPLOY_TOKEN", TOKEN)
    with world(shops, still_world, level, group) as at:
        found = fight(at, group)
    assert {o.attack.does: o.result for o in found} == {a.does: result(a, level) for a in group}, found
    refused = [(o.attack.does, o.told) for o in found if o.attack.honest and o.result == "prevented" and not o.landed]
    assert refused == []


@pytest.mark.slow
@pytest.mark.exhaustive
def test_an_ordinary_user_has_the_same_table() -> None:
    done = pytest_as_user(f"{__file__}::{test_what_the_table_says_is_what_happens.__name__}", seconds=7200)
    assert done.returncode == 0, done.stdout
