"""Processes: start, read and feed them, know them again, end all of a tree. ``subprocess`` is used nowhere else."""

from agentpkg.proc.child import Child, default_signals, detached, spawn_detached, tell_detached
from agentpkg.proc.run import Kept, Result, run
from agentpkg.proc.tree import (
    Process,
    ProcessIdentity,
    alive,
    become_subreaper,
    carries,
    descendants,
    identity,
    kill_all,
    kill_marked,
    look,
    members,
    send,
    table,
)

__all__ = [
    "Child",
    "Kept",
    "Process",
    "ProcessIdentity",
    "Result",
    "alive",
    "become_subreaper",
    "carries",
    "default_signals",
    "descendants",
    "detached",
    "identity",
    "kill_all",
    "kill_marked",
    "look",
    "members",
    "run",
    "send",
    "spawn_detached",
    "table",
    "tell_detached",
]
