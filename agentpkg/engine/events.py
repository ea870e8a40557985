"""Following published events, of everything or of one feature with its sessions."""

from collections.abc import Iterator
from typing import Any

from agentpkg.core.errors import Lacking
from agentpkg.engine.project import Project


def tail(project: Project, feature: str | None, *, history: bool = False) -> Iterator[tuple[str, dict[str, Any]]]:
    """Events as they are published: ``(subject, payload)``, without end.

    Args:
        feature: its events and those of its sessions; None: all.
        history: first what the server still holds.

    Raises:
        Lacking: there is no server.
    """
    from agentpkg.bus import listen
    from agentpkg.bus.nats import BusDown
    from agentpkg.relay import client

    project.repository.make_state()
    where = client.where(project.state, project.settings.nats, project.work_tree, viewer=True)
    mine = _Mine(project, feature)
    try:
        for subject, payload in listen.tail(where, None, history=history):
            if feature is None or mine.has(subject, payload):
                yield subject, payload
    except BusDown as down:
        raise Lacking(
            f"events cannot be followed: {down}",
            "see `agentpkg doctor`; `agentpkg events query` reads the ledger, which needs no server",
            code="no_server",
        ) from down


class _Mine:
    """Which events belong to a feature; sessions have subjects of their own."""

    def __init__(self, project: Project, feature: str | None) -> None:
        self._project = project
        self._feature = feature
        self._prefix = len(project.settings.nats.prefix.split("."))
        #: by session
        self._known: dict[str, str | None] = {}

    def has(self, subject: str, payload: dict[str, Any]) -> bool:
        parts = subject.split(".")[self._prefix :]
        if len(parts) < 3:
            return False
        if parts[0] == "feature":
            return parts[1] == self._feature
        return self._of_session(parts[2], payload) == self._feature

    def _of_session(self, session: str, payload: dict[str, Any]) -> str | None:
        if session not in self._known:
            told = payload.get("feature_slug")
            self._known[session] = str(told) if told else self._in_ledger(session)
        return self._known[session]

    def _in_ledger(self, session: str) -> str | None:
        ledger = self._project.ledger_if_any
        row = ledger.session(session) if ledger else None
        return row.feature if row else None
