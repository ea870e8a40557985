"""``graph``: a feature's work packages and what depends on what."""

from pathlib import Path

import click

from agentpkg.cli.common import Speaker, project_at, verb
from agentpkg.core import diagram
from agentpkg.engine import looking


@verb(
    """agentpkg graph 003
agentpkg graph 003 --format mermaid >> README.md
agentpkg graph 003 --format dot | dot -Tsvg > graph.svg"""
)
@click.argument("feature")
@click.option("--format", "form", type=click.Choice(["text", "mermaid", "dot", "json"]), default="text",
              show_default=True, help="How to draw it.")  # fmt: skip
def command(feature: str, form: str, repo: Path | None, speak: Speaker) -> int:
    """Draw a feature's work packages and what depends on what."""
    project = project_at(repo)
    found = project.good_feature(feature)
    seen = looking.see(project, found)
    waits = {wp for wp in found.packages if seen.stages.waits_for(wp)}
    graph = diagram.view(found, {wp: seen.state(wp) for wp in found.packages}, seen.done(), waits)
    speak.warn_all([str(warning) for warning in found.warnings])
    if speak.json or form == "json":
        speak.document(diagram.as_json(graph))
    else:
        draw = {"text": diagram.text, "mermaid": diagram.mermaid, "dot": diagram.dot}[form]
        # titles come from files: line by line without what would act on a terminal
        from agentpkg.secrets.controls import strip_controls

        print(strip_controls(draw(graph)), end="")
    return 0
