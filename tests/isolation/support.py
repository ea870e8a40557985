"""What the tests of isolation share."""

import os

import pytest

from agentpkg.core.records import SessionRow
from agentpkg.engine import attach
from agentpkg.engine.dispatching import dispatch
from agentpkg.isolation import probe_all
from agentpkg.sessions.log import NAME, records
from tests.support.engine_shop import Shop


def require(level: str) -> None:
    """Skips where a level does not work; in CI it has to."""
    probe = probe_all()[level]
    if not probe.works:
        assert not os.environ.get("CI"), f"{level} must work here: {probe.detail}"
        pytest.skip(probe.detail)


def session(shop: Shop, wp: str = "WP01") -> SessionRow:
    """One session to its end."""
    project = shop.project
    started = dispatch.start(project, project.good_feature(shop.feature), wp, dispatch.Wish())
    return attach.wait(shop.project, started.session.id)


def said(shop: Shop) -> list[str]:
    """All lines of all sessions' logs."""
    logs = (shop.state / "sessions").glob(f"*/{NAME}")
    return [line for log in logs for record in records(log) for line in str(record.get("text")).split("\n")]
