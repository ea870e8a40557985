"""``stop``: end a run, in a terminal or detached."""

import threading
from pathlib import Path

import click

from agentpkg.cli.attach import the_run
from agentpkg.cli.common import Speaker, project_at, verb
from agentpkg.engine.running import owner, steering

#: seconds between two looks at the run
_LOOK = 0.1


@verb(
    """agentpkg stop 003
agentpkg stop --now"""
)
@click.argument("feature", required=False)
@click.option("--now", is_flag=True, help="Stop its sessions as well; their commits are kept.")
def command(feature: str | None, now: bool, repo: Path | None, speak: Speaker) -> int:
    """End a run: it starts nothing more, lets its sessions finish and ends; with --now it stops them.

    Waits until it has ended; Ctrl-C leaves it ending.
    """
    project = project_at(repo)
    name = the_run(project, feature)
    runner = steering.stop(project, name, now)
    if not speak.json:
        speak.note(f"asked process {runner.pid} to end{'' if now else ' once its sessions have'}")
    quiet = threading.Event()
    while (found := owner.current(project.state, name)) is not None and found.pid == runner.pid:
        found.wake()
        quiet.wait(_LOOK)
    if speak.json:
        speak.document({"feature": name, "pid": runner.pid, "stopped": True, "now": now})
    else:
        speak.say(f"the run of {name} has ended; `agentpkg run {name}` goes on with it")
    return 0
