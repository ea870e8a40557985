"""What a session may use up: one small class each. The runner keeps a list of them and knows none by name."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from agentpkg.sessions.limits.base import Breach, Limit, Usage
from agentpkg.sessions.limits.disk import Disk, DiskMeter
from agentpkg.sessions.limits.seconds import Silence, WallTime
from agentpkg.sessions.limits.spending import Spending
from agentpkg.sessions.limits.tree import Cpu, Memory, Processes
from agentpkg.sessions.limits.whole import Share, Whole

__all__ = [
    "Breach", "Cpu", "Disk", "DiskMeter", "Limit", "Memory", "Processes", "Share", "Silence", "Spending", "Usage",
    "WallTime", "Whole", "chosen", "disk_meter",
]  # fmt: skip


def chosen(limits: Mapping[str, Any], disk: DiskMeter) -> list[Limit]:
    """The bounds that ``limits`` of the configuration set for one session."""
    bounds: Mapping[str, Callable[[Any], Limit]] = {
        "memory": Memory,
        "processes": Processes,
        "cpu": Cpu,
        "silence": Silence,
        "disk": lambda most: Disk(most, disk),
    }
    return [make(limits[name]) for name, make in bounds.items() if limits.get(name)]


def disk_meter(worktree: Path, private: Path) -> DiskMeter:
    """Measures the folders that a session's ``disk`` is about."""
    return DiskMeter((worktree, private))
