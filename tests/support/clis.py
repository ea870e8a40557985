"""Real agent programs for tests: where they are, and shops whose packages they do against a scripted model.

They are looked for in the folder that ``AGENTPKG_TEST_CLIS`` names (its ``node_modules/.bin`` and ``bin``), then on
PATH. A test whose program is missing is skipped; with ``CI`` set it fails, unless the variable says ``none``.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.engine_shop import Shop, ShopFactory

# read here, since the still world takes it away
_FOLDER = os.environ.get("AGENTPKG_TEST_CLIS")
_PLACES = os.pathsep.join([f"{_FOLDER}/node_modules/.bin", f"{_FOLDER}/bin"]) if _FOLDER else ""


def cli(name: str, *, required: bool = True) -> str:
    """The absolute path of a program; skips or fails the test without it, and skips if it is not ``required``."""
    found = (shutil.which(name, path=_PLACES) if _PLACES else None) or shutil.which(name)
    if found is None:
        what = f"{name} is not installed (see docs/agents.md)"
        if required and os.environ.get("CI") and _FOLDER != "none":
            pytest.fail(what)
        pytest.skip(what)
    return os.path.abspath(found)


def agent_shop(
    shops: ShopFactory,
    definition: Mapping[str, Any],
    *,
    agent: Mapping[str, Any] | None = None,
    level: str = "basic",
    **more: Any,
) -> Shop:
    """A shop whose default agent is called ``robot``.

    Args:
        definition: its entry under ``agents``.
        agent: more keys of the section ``agent``.
        level: of isolation.
        more: for the factory.
    """
    shop = shops(**more)
    config = {
        "agent": {"harness": "robot", "timeout_seconds": 120, "kill_grace_seconds": 2, "retries": 0, **(agent or {})},
        "agents": {"robot": definition},
        "isolation": {"level": level},
        "review": {"checks": [{"name": "ok", "run": "true"}]},
        "nats": {"server": str(shop.repo / "no-nats-server")},
    }
    # JSON is YAML
    (shop.repo / ".kittify" / "config.yaml").write_text(json.dumps(config))
    shop.save("configuration")
    return shop


def log_of(shop: Shop, wp: str = "WP01") -> list[dict[str, Any]]:
    """The log of a package's last session."""
    session = shop.row(wp).session
    path = Path(shop.state, "sessions", str(session), "events.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]
