"""A run without a terminal: the same command in a process of its own, whose words go to a log."""

import os
import sys
import threading

from agentpkg import proc
from agentpkg.core.errors import FellShort
from agentpkg.engine.project import Project
from agentpkg.engine.running import owner
from agentpkg.engine.running.values import Options

#: seconds a new run has to take the feature
_PATIENCE = 60.0
_LOOK = 0.05
#: bytes of the log that an error quotes from
_TAIL = 2000


def start(project: Project, feature: str, options: Options) -> int:
    """Starts a run of a feature that outlives this process, and waits until it has begun; gives its pid.

    Raises:
        Busy: somebody runs the feature already.
        FellShort: it ended before it began; the error says why.
    """
    project.require_person("run a feature")
    owner.require_free(project.state, feature)
    log = owner.log_path(project.repository.make_state(), feature)
    log.parent.mkdir(mode=0o700, exist_ok=True)
    log.unlink(missing_ok=True)
    pid = proc.spawn_detached(
        [sys.executable, "-P", "-m", "agentpkg", "run", feature, *_words(project, options)],
        env=dict(project.environ), cwd=project.work_tree, log=log,
    )  # fmt: skip
    quiet = threading.Event()
    for _ in range(round(_PATIENCE / _LOOK)):
        found = owner.last(project.state, feature)
        if found is not None and found.pid == pid:
            return pid
        if pid not in proc.detached():
            break
        quiet.wait(_LOOK)
    # another one may have been quicker
    owner.require_free(project.state, feature)
    raise FellShort(
        f"the run ended before it began: {_last_line(project, feature)}", f"{log} has all it said", code="not_begun"
    )


def _words(project: Project, options: Options) -> list[str]:
    words = ["--in-background", "--repo", os.fspath(project.work_tree), "--jobs", str(options.jobs)]
    words += ["--agent", options.agent] if options.agent else []
    words += ["--until", options.until] if options.until else []
    words += ["--until-done"] if options.until_done else []
    return words + (["--max-cycles", str(options.max_cycles)] if options.max_cycles is not None else [])


def _last_line(project: Project, feature: str) -> str:
    try:
        said = owner.log_path(project.state, feature).read_bytes()[-_TAIL:].decode("utf-8", "replace")
    except FileNotFoundError:
        return "it said nothing"
    lines = [line for line in said.splitlines() if line.strip() and not line.startswith("hint:")]
    return lines[-1].removeprefix("error: ") if lines else "it said nothing"
