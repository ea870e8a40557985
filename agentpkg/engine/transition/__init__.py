"""The one door through which state changes.

Each function takes an open ledger transaction, asks :mod:`agentpkg.core.states` what may happen, and writes the
chain entry, the current rows and the outbox rows together. Nobody else appends to the ledger. A caller pokes the
relay after the transaction has committed.
"""

from agentpkg.engine.transition import questions
from agentpkg.engine.transition.again import RECOVERY, found_branch, found_landing, found_session, tell_again
from agentpkg.engine.transition.door import REVIEWER, SYSTEM, open_dependencies, require
from agentpkg.engine.transition.moves import move, move_feature
from agentpkg.engine.transition.notes import note
from agentpkg.engine.transition.registration import register, register_fix
from agentpkg.engine.transition.reviews import judged, landed, recalled
from agentpkg.engine.transition.sessions import End, agent_started, commit_seen, commits_seen, finish, start

__all__ = [
    "RECOVERY",
    "REVIEWER",
    "SYSTEM",
    "End",
    "agent_started",
    "commit_seen",
    "commits_seen",
    "finish",
    "found_branch",
    "found_landing",
    "found_session",
    "judged",
    "landed",
    "move",
    "move_feature",
    "note",
    "open_dependencies",
    "questions",
    "recalled",
    "register",
    "register_fix",
    "require",
    "start",
    "tell_again",
]
