"""``events``: follow, query, export and verify what happened."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from agentpkg import views
from agentpkg.cli.common import Speaker, group, project_at, verb
from agentpkg.cli.jsontext import escaped
from agentpkg.core import chain
from agentpkg.core.errors import BadInput
from agentpkg.engine.project import Project

_FEATURE = click.option("--feature", metavar="FEATURE", help="Only this feature.")


@group(
    "What happened: follow it live, query it, export it, verify it.",
    """agentpkg events tail
agentpkg events query --feature 003 --wp WP02
agentpkg events export --feature 003 > audit.jsonl
agentpkg events audit-verify --feature 003""",
)
def command() -> None:
    """Holds the verbs."""


# --------------------------------------------------------------------------- live


@verb(
    """agentpkg events tail
agentpkg events tail --feature 003 --json | jq ."""
)
@_FEATURE
@click.option("--history", is_flag=True, help="First what the server still has.")
def tail(feature: str | None, history: bool, repo: Path | None, speak: Speaker) -> int:
    """Print events as they are published, until Ctrl-C; needs the NATS server."""
    from agentpkg.engine import events as publishing

    project = project_at(repo)
    wanted = project.feature_id(feature) if feature else None
    try:
        for subject, payload in publishing.tail(project, wanted, history=history):
            _tell(subject, payload, speak)
    except KeyboardInterrupt:
        return 130
    return 0


def _tell(subject: str, payload: Mapping[str, Any], speak: Speaker) -> None:
    if speak.json:
        speak.line({"subject": subject, **payload})
        return
    from agentpkg.cli import render, render_run

    render.show([render_run.subject(subject, payload)])


@verb("agentpkg events endpoint --json")
def endpoint(repo: Path | None, speak: Speaker) -> int:
    """Tell a dashboard how to subscribe; starts the server and holds it a minute for the first viewer."""
    from agentpkg.relay import client

    project = project_at(repo)
    project.repository.make_state()
    document = client.endpoint(project.state, project.settings.nats, project.work_tree)
    if speak.json:
        speak.document(document)
        return 0
    from agentpkg.cli import render, render_tables

    render.show(render_tables.endpoint(document))
    return 0


# --------------------------------------------------------------------------- the chain


@verb(
    """agentpkg events query --feature 003 --limit 20
agentpkg events query --actor ci:automation --since 2026-03-02 --json"""
)
@_FEATURE
@click.option("--wp", metavar="WP", help="Only this work package.")
@click.option("--actor", help="Only what this actor did: human:LOGIN, agent:NAME, ci:automation, …")
@click.option("--since", metavar="TIME", help="Not before this time (RFC 3339, or a date; UTC).")
@click.option("--until", metavar="TIME", help="Before this time.")
@click.option("--after", type=click.IntRange(min=0), default=0, metavar="SEQ", help="Only entries with a greater seq.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="At most N entries.")
def query(
    feature: str | None, wp: str | None, actor: str | None, since: str | None, until: str | None, after: int,
    limit: int | None, repo: Path | None, speak: Speaker,
) -> int:  # fmt: skip
    """Print entries of the audit chain that fit."""
    project = project_at(repo)
    wanted = project.feature_id(feature) if feature else None
    wp = _package(project, wanted, wp) if wp else None
    begin, end = _time(since, "--since"), _time(until, "--until")
    ledger = project.ledger_if_any
    found = ledger.entries(wanted, after, wp, actor, limit, since=begin, until=end) if ledger else iter(())
    if speak.json:
        for entry in found:
            speak.line(views.entry(entry))
        return 0
    from agentpkg.cli import render, render_tables

    render.show(render_tables.entry(views.entry(entry)) for entry in found)
    return 0


def _package(project: Project, feature: str | None, wp: str) -> str:
    """A package's id, which has to be one of the feature's, or of any feature's."""
    if feature is not None:
        return project.find_package(wp, feature)[1]
    known = {name for names in project.registered().values() for name in names}
    known |= {name for ref in project.refs for name in project.read(ref.id).packages}
    if wp not in known:
        raise BadInput(f"no feature has a {wp}", f"there are {', '.join(sorted(known)) or 'none'}",
                       code="unknown_package", details={"known": sorted(known)})  # fmt: skip
    return wp


def _time(text: str | None, option: str) -> str | None:
    """A time as entries have it."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(f"{option} {text} is no time", "write it as 2026-03-02 or 2026-03-02T12:00:00Z",
                       code="usage") from None  # fmt: skip
    return chain.rfc3339(found if found.tzinfo else found.replace(tzinfo=UTC))


@verb("agentpkg events export --feature 003 > audit.jsonl")
@_FEATURE
def export(feature: str | None, repo: Path | None, speak: Speaker) -> int:
    """Print the audit chain, an entry per line, exactly as it is hashed; of every feature without --feature."""
    project = project_at(repo)
    ledger = project.ledger_if_any
    sys.stdout.flush()
    shown = escaped if sys.stdout.isatty() else str
    for name in _features(project, feature):
        for line in map(shown, chain.export_lines(ledger.entries(name))) if ledger else ():
            # the bytes that were hashed, whatever the encoding is; on a terminal the same JSON, without what acts on it
            sys.stdout.buffer.write(line.encode("utf-8", "backslashreplace") + b"\n")
    sys.stdout.buffer.flush()
    return 0


@verb(
    """agentpkg events audit-verify --feature 003
agentpkg events audit-verify
agentpkg events audit-verify --export audit.jsonl --target main"""
)
@_FEATURE
@click.option("--export", "exported", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Verify this export instead of the ledger; - is standard input.")  # fmt: skip
@click.option("--target", metavar="BRANCH", help="With --export: the branch it landed on.")
def audit_verify(
    feature: str | None, exported: Path | None, target: str | None, repo: Path | None, speak: Speaker
) -> int:
    """Recompute the audit chain and compare it with what git holds; of every feature without --feature.

    With --export nothing is needed but the repository, or a clone of it that has refs/agentpkg/audit/*.
    """
    from agentpkg.engine.upkeep import auditing

    project = project_at(repo)
    chains: dict[str, list[str]] = {}
    if exported is not None:
        chains = _exported(exported, feature, auditing.anchored(project))
        reports = {n: auditing.verify_export(project, n, lines, target).as_json() for n, lines in chains.items()}
    else:
        names = [project.feature_id(feature)] if feature is not None else auditing.audited(project)
        reports = {name: auditing.verify(project, name).as_json() for name in names}
    document = _one_report(reports)
    if speak.json:
        speak.document(document)
    else:
        _show_audit(reports, lambda name: _ends_of(chains[name]) if name in chains else _ends(project, name))
    return 0 if document["ok"] else 1


def _exported(path: Path, feature: str | None, anchored: Sequence[str]) -> dict[str, list[str]]:
    """The chains of an export, all or that of one feature; of an empty one those that git knows, without an entry."""
    from agentpkg.features.naming import resolve_name
    from agentpkg.ledger import exported

    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror or error}", "name a file that `agentpkg events export` "
                       "wrote", code="bad_export") from None  # fmt: skip
    # at newlines alone: a text may hold U+2028 as it is
    found = exported.by_feature(data.decode("utf-8", "surrogateescape").split("\n"))
    if feature is None:
        return found or {name: [] for name in anchored}
    names = sorted({*filter(None, found), *anchored})
    known = resolve_name(names, feature) if names else feature
    return {known: found.get(known, [])}


def _ends_of(lines: list[str]) -> tuple[str, str] | None:
    if not lines:
        return None
    said = [json.loads(line)["transition"] for line in (lines[0], lines[-1])]
    return said[0], said[1]


@verb("agentpkg events sign --feature 003")
@_FEATURE
def sign(feature: str | None, repo: Path | None, speak: Speaker) -> int:
    """Sign what git anchors of the audit chain, with the key of git's own configuration.

    With audit.sign on, agentpkg does so by itself wherever the key needs nobody to unlock it.
    """
    from agentpkg.engine.upkeep import auditing

    project = project_at(repo)
    names = [project.feature_id(feature)] if feature is not None else auditing.audited(project)
    signed = [{"feature": name, "entries": auditing.sign(project, name)} for name in names]
    if speak.json:
        speak.document({"signed": signed})
        return 0
    for one in signed:
        speak.say(f"{one['feature']}: {one['entries']} entries signed")
    return 0


@verb(
    """agentpkg events attest --feature 003 > merges.intoto.jsonl
agentpkg events attest --feature 003 --wp WP02 | jq ."""
)
@_FEATURE
@click.option("--wp", metavar="WP", help="Only this work package.")
def attest(feature: str | None, wp: str | None, repo: Path | None, speak: Speaker) -> int:
    """Print an in-toto statement a line for each merge: its checks, its requirements and their evidence."""
    from agentpkg.engine.judging import attesting

    project = project_at(repo)
    wanted = _package(project, feature, wp) if wp else None
    for name in _features(project, feature):
        for statement in attesting.statements(project, name, wanted):
            speak.line(statement)
    return 0


def _one_report(reports: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """One feature's report as it is; several as one, with each under ``features``."""
    if len(reports) == 1:
        return next(iter(reports.values()))
    bad = next(((name, one) for name, one in reports.items() if not one["ok"]), None)
    return {
        "ok": bad is None,
        "entries": sum(one["entries"] for one in reports.values()),
        "head": None,
        "first_bad": bad[1]["first_bad"] if bad else None,
        "reason": f"{bad[0]}: {bad[1]['reason']}" if bad else None,
        "features": [{"feature": name, **one} for name, one in reports.items()],
    }


def _show_audit(reports: Mapping[str, dict[str, Any]], ends: Callable[[str], tuple[str, str] | None]) -> None:
    from agentpkg.cli import render, render_tables

    for name, report in reports.items():
        render.show(render_tables.audit(report, name, ends(name) if report["ok"] else None))
    if not reports:
        render.show(["Nothing is recorded yet."])


def _ends(project: Project, feature: str) -> tuple[str, str] | None:
    """The first and the last transition of a chain."""
    ledger = project.ledger_if_any
    if ledger is None:
        return None
    newest = ledger.head(feature)[0]
    first = [e.transition for e in ledger.entries(feature, limit=1)]
    last = [e.transition for e in ledger.entries(feature, after_id=newest - 1)] if newest else []
    return (first[0], last[-1]) if first and last else None


def _features(project: Project, name: str | None) -> Iterator[str]:
    """The features whose chains are meant."""
    if name is not None:
        yield project.feature_id(name)
        return
    ledger = project.ledger_if_any
    for row in ledger.features() if ledger else ():
        yield row.id


for _name, _verb in (
    ("tail", tail), ("query", query), ("export", export), ("audit-verify", audit_verify), ("sign", sign),
    ("attest", attest),
    ("endpoint", endpoint),
):  # fmt: skip
    command.add_command(_verb, _name)
