"""Processes: start, read and feed them, know them again, end all of a tree. ``subprocess`` is used nowhere else."""

from agentpkg.proc.child import Child, default_signals, detached, spawn_detached, tell_detached
from agentpkg.proc.load import Load, Meter, fair_memory, tasks
from agentpkg.proc.own import chase_adopted, own, reap_adopted, start_own
from agentpkg.proc.pen import Pen, make_pen, penned
from agentpkg.proc.rlimits import PerProcess, per_process
from agentpkg.proc.run import Kept, Result, run
from agentpkg.proc.tree import (
    Process,
    ProcessIdentity,
    alive,
    become_subreaper,
    carries,
    descendants,
    here,
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
    "Load",
    "Meter",
    "Pen",
    "PerProcess",
    "Process",
    "ProcessIdentity",
    "Result",
    "alive",
    "become_subreaper",
    "carries",
    "chase_adopted",
    "default_signals",
    "descendants",
    "detached",
    "fair_memory",
    "here",
    "identity",
    "kill_all",
    "kill_marked",
    "look",
    "make_pen",
    "members",
    "own",
    "penned",
    "per_process",
    "reap_adopted",
    "run",
    "send",
    "spawn_detached",
    "start_own",
    "table",
    "tasks",
    "tell_detached",
]
