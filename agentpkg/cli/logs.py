"""``logs``: what an agent said and did."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from agentpkg.cli.common import Speaker, package_words, project_at, verb
from agentpkg.core.errors import BadInput, NotAllowed
from agentpkg.core.records import SessionRow
from agentpkg.engine.project import Project
from agentpkg.sessions import log

#: of one record; with --json all of it is shown
_MOST_LINES = 100


@verb(
    """agentpkg logs WP02 --tail 20
agentpkg logs 003 WP02 --follow"""
)
@click.argument("words", nargs=-1, required=True, metavar="[FEATURE] WP")
@click.option("--tail", "last", type=click.IntRange(min=0), metavar="N", help="Only the last N records.")
@click.option("--follow", "-f", is_flag=True, help="Wait for more until the session ends.")
@click.option("--session", metavar="ID", help="Another session than the last one.")
def command(
    words: tuple[str, ...], last: int | None, follow: bool, session: str | None, repo: Path | None, speak: Speaker
) -> int:
    """Show what an agent said and did in its last session; times are UTC."""
    name, wp = package_words(words)
    project = project_at(repo)
    feature, wp = project.find_package(wp, name)
    row = _session(project, feature, wp, session)
    path = project.state / "sessions" / row.id / log.NAME
    _print(_records(project, row, path, last, follow), speak)
    return 0


def _session(project: Project, feature: str, wp: str, wanted: str | None) -> SessionRow:
    ledger = project.ledger_if_any
    rows = ledger.sessions(feature, wp) if ledger else []
    if wanted is not None:
        rows = [row for row in rows if row.id == wanted or row.id.removeprefix("sess_") == wanted]
        if not rows:
            raise BadInput(f"{feature} {wp} has no session {wanted}", f"see `agentpkg status {feature}`",
                           code="unknown_session")  # fmt: skip
    if not rows:
        raise NotAllowed(
            f"no agent has worked on {feature} {wp} yet",
            f"start one with `agentpkg implement {feature} --wp {wp}`",
            code="no_session",
        )
    return rows[-1]


def _records(
    project: Project, row: SessionRow, path: Path, last: int | None, follow: bool
) -> Iterator[Mapping[str, Any]]:
    """The records asked for, and with ``follow`` those that come."""
    shown: Iterable[Mapping[str, Any]] = log.records(path) if last is None else log.tail(path, last)
    after = 0
    for record in shown:
        after = record["seq"]
        yield record
    if follow:
        if last == 0:
            after = next((record["seq"] for record in log.tail(path, 1)), 0)
        yield from log.follow(path, lambda: _has_ended(project, row.id), after)


def _has_ended(project: Project, session: str) -> bool:
    ledger = project.ledger_if_any
    row = ledger.session(session) if ledger else None
    return row is None or row.ended_at is not None


def _print(records: Iterable[Mapping[str, Any]], speak: Speaker) -> None:
    if speak.json:
        for record in records:
            speak.line(record)
        return
    from agentpkg.cli import render, render_work

    render.show(render_work.logged(records, _MOST_LINES))
