"""``prompt``: exactly what an agent would get."""

import sys
from pathlib import Path

import click

from agentpkg.cli.common import Speaker, package_words, project_at, verb
from agentpkg.core.errors import BadInput
from agentpkg.engine.dispatching import prompting


@verb(
    """agentpkg prompt 003 WP02
agentpkg prompt 003 WP02 | wc -c"""
)
@click.argument("words", nargs=-1, required=True, metavar="[FEATURE] WP")
@click.option("--agent", help="As this agent would get it.")
def command(words: tuple[str, ...], agent: str | None, repo: Path | None, speak: Speaker) -> int:
    """Print exactly what an agent would get for a work package now; nothing is started or written."""
    name, wp = package_words(words)
    project = project_at(repo)
    feature_id, wp = project.find_package(wp, name)
    feature = project.good_feature(feature_id)
    if wp not in feature.packages:
        raise BadInput(
            f"the file of {feature_id} {wp} has vanished", "bring it back, then try again", code="unknown_package"
        )
    bundle = prompting.bundle(project, feature, feature.packages[wp], agent)
    speak.warn_all(bundle.warnings)
    if speak.json:
        speak.document(
            {
                "feature": feature_id, "wp": wp, "prompt": bundle.prompt, "task": bundle.task,
                "sha256": bundle.sha256, "sizes": [{"part": part, "bytes": size} for part, size in bundle.sizes],
                "warnings": list(bundle.warnings),
            }
        )  # fmt: skip
    else:
        # the same bytes that the agent gets, whatever this terminal's encoding is
        sys.stdout.flush()
        sys.stdout.buffer.write(bundle.prompt.encode())
    return 0
