"""``init``: a first configuration for this repository."""

import os
from pathlib import Path

from agentpkg.cli.common import Speaker, verb
from agentpkg.engine import setup
from agentpkg.git.discover import discover


@verb("agentpkg init")
def command(repo: Path | None, speak: Speaker) -> int:
    """Write .kittify/config.yaml and a constitution for this repository; what is there is never overwritten."""
    # not through the configuration, which may be what is wrong
    repository = discover(Path(os.getcwd()) if repo is None else repo.absolute())
    done = setup.init(repository)
    document = {"written": list(done.written), "kept": list(done.kept)}
    if speak.json:
        speak.document(document)
        return 0
    from agentpkg.cli import render, render_tables

    render.show(render_tables.written(document))
    return 0
