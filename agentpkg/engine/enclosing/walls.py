"""Which isolation a repository's processes run in, and what of the machine the user wants them to see."""

import os
from pathlib import Path

from agentpkg.engine.project import Project
from agentpkg.isolation import Walls, choose

#: what was found out about this machine, in the state folder
FILE = "isolation.json"


def of(project: Project) -> Walls:
    """The level that the configuration and this machine allow.

    Raises:
        Lacking: there is none that the configuration accepts.
    """
    settings = project.settings.isolation
    return choose(settings.minimum, settings.level, memory(project))


def memory(project: Project) -> Path | None:
    """Where probes are remembered; nowhere while the repository has no state yet."""
    return project.state / FILE if project.state.is_dir() else None


def mounts(project: Project) -> tuple[str, ...]:
    """Absolute paths to be seen read-only: ``isolation.mounts``, and what ``worktree.link`` leads to."""
    configured = (os.path.expanduser(path) for path in project.settings.isolation.mounts)
    paths = [*configured, *project.settings.worktree.link]
    return tuple(os.path.normpath(os.path.join(project.work_tree, path)) for path in paths)
