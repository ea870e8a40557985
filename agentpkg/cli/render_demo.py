"""What a person sees of the demo: what it is about to do, and what to try next."""

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from agentpkg.cli import render
from agentpkg.cli.render import line
from agentpkg.core.model import Feature
from agentpkg.ledger.audit import AuditReport


def opening(feature: Feature, place: Path, jobs: int) -> list[Text]:
    """The first lines: what follows, and what in it is played."""
    return [
        line(("agentpkg demo", "bold"), f": {feature.title}, {len(feature.packages)} work packages, {jobs} at a time"),
        line(f"Scratch repository: {place}"),
        line(
            "The agents of this demo replay recorded work. They are real processes that write and commit real code; "
            "no model is asked. All else is as in your own repository."
        ),
        Text(""),
    ]


def closing(report: AuditReport, place: Path, rejected: Sequence[tuple[str, str, str]]) -> list[Text]:
    """The last screen.

    Args:
        rejected: package, finding, and the prompt of the next try, for each rejection.
    """
    return [*_happened(report, rejected), *_look(place), *_own()]


def _happened(report: AuditReport, rejected: Sequence[tuple[str, str, str]]) -> list[Text]:
    lines = [Text(""), line(("What happened", "bold"))]
    lines.append(
        line("  Each package got a worktree, a branch and a prompt; a review judged the very commit that landed.")
    )
    for wp, finding, prompt in rejected:
        lines.append(line(f"  {wp} was rejected once: {finding}"))
        lines.append(line("    its next prompt had the findings: ", (prompt, "dim")))
    if report.ok:
        text = f" audit chain intact: {report.entries} entries, anchored in git"
        return [*lines, line("  ", render.mark("pass"), text)]
    return [*lines, line("  ", render.mark("fail"), f" audit chain broken at {report.first_bad}: {report.reason}")]


def _program() -> str:
    """How this agentpkg is called from a shell: by its name only where that finds it."""
    mine = Path(sys.executable).parent / "agentpkg"
    found = shutil.which("agentpkg")
    return "agentpkg" if found and Path(found).resolve() == mine.resolve() else shlex.quote(str(mine))


def _look(place: Path) -> list[Text]:
    here, name = shlex.quote(str(place)), _program()
    return [
        Text(""),
        line(("Look at it", "bold"), f"  ({place} is yours; remove it when you are done)"),
        line((f"  cd {here}", "bold")),
        *render.table([
            (("  git log --graph --oneline", "bold"), "every package and the merge that landed it"),
            ((f"  {name} status 003", "bold"), "where the feature stands"),
            ((f"  {name} logs 003 WP03", "bold"), "what an agent said and did"),
            ((f"  {name} prompt 003 WP05", "bold"), "what an agent is told"),
            ((f"  {name} events query --feature 003", "bold"), "the audit chain"),
        ]),
    ]  # fmt: skip


def _own() -> list[Text]:
    name = _program()
    return [
        Text(""),
        line(("On your own repository", "bold")),
        *render.table([
            ((f"  {name} init", "bold"), "a first .kittify/config.yaml; put your agent's command in it"),
            ((f"  {name} features", "bold"), "what it finds in features/ or kitty-specs/"),
            ((f"  {name} run 003", "bold"), "dispatch, review and merge it"),
        ]),
    ]  # fmt: skip
