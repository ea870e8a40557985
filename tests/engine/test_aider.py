"""The real aider against a scripted model, from dispatch to conclusion."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from agentpkg.core.model import FailureClass, State
from tests.isolation.support import require
from tests.support.clis import agent_shop, cli, log_of
from tests.support.engine_shop import Shop, ShopFactory
from tests.support.models import Fail, ModelServer, Say

pytestmark = pytest.mark.slow

_EDIT = Say("I write it.\n\nsrc/wp01.txt\n```\n<<<<<<< SEARCH\n=======\none\n>>>>>>> REPLACE\n```\n")


@pytest.fixture
def model() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


def _shop(shops: ShopFactory, url: str, level: str = "basic") -> Shop:
    environment = {"OPENAI_API_BASE": f"{url}/v1", "OPENAI_API_KEY": "sk-scripted"}
    command = [cli("aider", required=False), "--edit-format", "diff"]
    definition = {"harness": "aider", "command": command, "environment": environment,
                  "model": "openai/scripted-1", "network": [f"tcp:{urlsplit(url).netloc}"]}  # fmt: skip
    return agent_shop(shops, definition, level=level)


@pytest.mark.parametrize("level", ["strong", "medium", "basic"])
def test_it_does_a_package_and_leaves_nothing_of_its_own(shops: ShopFactory, model: ModelServer, level: str) -> None:
    require(level)
    model.aside = "feat(WP01): add it"
    shop = _shop(shops, model.play((_EDIT,)), level)
    row = shop.implement("WP01")
    assert (row.state, row.commits) == (State.FOR_REVIEW, 1), (row.reason, log_of(shop)[-8:])
    assert "# Mission" in model.asked()[0].text
    worktree = shop.repo / ".worktrees" / "003-auth-system-WP01"
    assert not [path.name for path in worktree.iterdir() if "aider" in path.name or path.name == ".gitignore"]
    session = shop.project.ledger.session(str(row.session))
    assert session is not None
    assert session.usage["input_tokens"] > 0


def test_an_error_of_the_provider_is_one_whatever_its_exit_code(shops: ShopFactory, model: ModelServer) -> None:
    row = _shop(shops, model.play((Fail(401, "bad key"),), loop=True)).implement("WP01")
    assert (row.state, row.reason_class) == (State.BLOCKED, FailureClass.ENVIRONMENT), row.reason
