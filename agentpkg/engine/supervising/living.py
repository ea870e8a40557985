"""Finds out whether live sessions live: the process that owns each, its signs of life, the last event of its log."""

import time
from datetime import UTC, datetime
from pathlib import Path

from agentpkg import proc
from agentpkg.core import questions
from agentpkg.core.life import Facts, Life, derive
from agentpkg.core.records import QuestionRow, SessionRow
from agentpkg.engine.supervising import lease
from agentpkg.sessions.log import NAME, tail
from agentpkg.sessions.pulse import Pulse, read_pulse


def life_of(state: Path, row: SessionRow, asked: QuestionRow | None = None) -> Life:
    """What is to be said of a live session of the repository with this state folder.

    Args:
        asked: what its agent waits for.
    """
    folder = state / "sessions" / row.id
    alive = lease.alive(row)
    owner = proc.look(row.pid) if alive and row.pid is not None else None
    pulse = read_pulse(folder)
    last = next(iter(tail(folder / NAME, 1)), None)
    heard = last["time"] if last else None
    return derive(
        Facts(
            alive=alive, pid=row.pid, stopped=owner is not None and owner.stopped,
            phase=pulse.phase if pulse else None, unanswered=_age(pulse) if alive else None,
            stopping=pulse.stopping if pulse else None, heard_at=heard, silence=_since(heard),
            asking=questions.name(asked.number) if asked else None,
            asked_at=asked.asked_at if asked else None,
        )
    )  # fmt: skip


def _age(pulse: Pulse | None) -> float | None:
    # the clock of this boot, which a living owner shares
    return time.monotonic() - pulse.at if pulse else None


def _since(moment: str | None) -> float:
    """Seconds since then by the machine's clock; 0 where that says nonsense, as after it was set back."""
    try:
        then = datetime.fromisoformat(str(moment).replace("Z", "+00:00"))
        return max(0.0, (datetime.now(UTC) - then).total_seconds())
    except (ValueError, TypeError):
        return 0.0
