"""The conversation behind a session: kept beside its log when its agent tells it, so that the next can go on in it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentpkg.core.model import Outcome
from agentpkg.core.records import SessionRow
from agentpkg.files import read_bounded, write_atomic
from agentpkg.harnesses.faults import conversation_full

if TYPE_CHECKING:
    from agentpkg.engine.project import Project

FILE = "conversation.json"
#: folder beside it, with what the agent's program wrote down of it in a home of the session's own
KEPT = "conversation"
_LIMIT = 1 << 16


@dataclass(frozen=True, slots=True)
class Conversation:
    """What an agent's program said of itself when it began.

    Attributes:
        id: what its program goes on with.
        model: empty when it did not say.
        resumed: it went on with an earlier session's.
    """

    id: str
    model: str = ""
    resumed: bool = False


def remember(folder: Path, told: Mapping[str, Any], resumed: str | None) -> None:
    """Keeps what an event of kind ``session`` tells, in the session's folder.

    Args:
        resumed: the conversation that the session was to go on with.
    """
    found = Conversation(str(told.get("conversation") or ""), str(told.get("model") or ""))
    kept = asdict(found) | {"resumed": bool(resumed) and resumed == found.id}
    write_atomic(folder / FILE, json.dumps(kept))


def of(folder: Path) -> Conversation | None:
    """What was kept in a session's folder, None when its agent told nothing, or the folder is gone."""
    try:
        return Conversation(**json.loads(read_bounded(folder / FILE, _LIMIT)))
    except (OSError, ValueError, TypeError):
        return None


def last(project: "Project", session: SessionRow) -> tuple[str | None, str, Mapping[str, Any]]:
    """The conversation that a new session may go on with: that of the last one, by its agent.

    Returns:
        Its id, the folder in which it was kept (empty where it was not), and what it has used up.

    One that had gone on already and failed again is not taken up a third time: it may be what fails. One that has
    become too long for its model is not taken up at all.
    """
    before = [row for row in project.ledger.sessions(session.feature, session.wp) if row.id != session.id]
    newest = before[-1] if before else None
    if newest is None or (newest.agent, newest.harness) != (session.agent, session.harness):
        return None, "", {}
    found = of(project.state / "sessions" / newest.id)
    blamed = newest.reason_class is None or newest.reason_class.counted
    if (
        found is None
        or conversation_full(newest.reason or "")
        or (found.resumed and newest.outcome is Outcome.FAILED and blamed)
    ):
        return None, "", {}
    kept = project.state / "sessions" / newest.id / KEPT
    return found.id or None, str(kept) if kept.is_dir() else "", _used(project, before, found.id)


def _used(project: "Project", rows: Sequence[SessionRow], conversation: str) -> Mapping[str, Any]:
    """The counts and the money of all sessions of a conversation, added up."""
    total: dict[str, Any] = {}
    for row in rows:
        there = of(project.state / "sessions" / row.id)
        for key, value in row.usage.items() if there is not None and there.id == conversation else ():
            if isinstance(value, int):
                total[key] = total.get(key, 0) + value
            elif key.startswith("cost_"):
                total[key] = str(Decimal(total.get(key, "0")) + Decimal(value))
    return total
