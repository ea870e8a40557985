"""What a person sees of one session and of one landing: dispatch, live lines, end, and what to do next."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.text import Text

from agentpkg.cli import render
from agentpkg.cli.render import Part, line

if TYPE_CHECKING:
    from agentpkg.engine.dispatching.dispatch import Started
    from agentpkg.engine.moving import Moved

Json = Mapping[str, Any]

_KIND_STYLES = {"commit": "green", "notice": "yellow", "permission": "yellow", "tool": "cyan", "output": "dim",
                "diagnostic": "dim", "tool_result": "dim", "network": "dim", "started": "bold",
                "ended": "bold"}  # fmt: skip
_PREFIXES = {"commit": "Commit: ", "started": "Started: ", "ended": "Session ended: "}
#: lines of one record that are shown while a session runs; the log has all
_MOST_LINES = 6
#: characters of one line that are shown
_LONGEST_LINE = 2000


# --------------------------------------------------------------------------- dispatch


def dispatching(wp: str, agent: str, attempt: int) -> list[Text]:
    """The first line, before anything is made."""
    again = f" (try {attempt})" if attempt > 1 else ""
    return [line((f"Dispatching {wp} to {agent}{again}…", "bold"))]


def started(found: "Started", worktree: str, target: str) -> list[Text]:
    """Workspace, prompt and session."""
    session = found.session
    rows: list[Sequence[Part]] = [
        ("Worktree:", worktree),
        ("Branch:", found.branch),
        ("Base commit:", f"{render.short(session.base)} ({target})"),
    ]
    if session.old_head != session.base:
        rows.append(("Continues at:", f"{render.short(session.old_head)} (work of an earlier session)"))
    return [
        line("Workspace setup:"),
        *render.table(rows, "  "),
        line("Prompt prepared:"),
        *render.table([(f"{label}:", (render.size(size), "cyan")) for label, size in found.bundle.sizes], "  "),
        line(f"Dispatching to {session.agent}…"),
        *render.table(_session(session, found.isolation), "  "),
    ]


def _session(session: Any, isolation: str) -> list[Sequence[Part]]:
    rows: list[Sequence[Part]] = [("Session:", (session.id, "bold"))]
    if session.model:
        rows.append(("Model:", session.model))
    rows.append(("Isolation:", isolation or session.isolation))
    began = render.moment(session.started_at) or render.now()
    return [*rows, ("Started:", f"{began:%Y-%m-%d %H:%M:%S} UTC")]


def log_lines(record: Json, most: int | None = None) -> list[Text]:
    """A record of a session log: ``[10:15:33] text``, further lines below it.

    Args:
        most: lines to show, and of each the beginning; None: all.
    """
    words = [_cut(text) if most is not None else text for text in _words(record)]
    if not words:
        return []
    first, *rest = words
    style = _KIND_STYLES.get(str(record.get("kind")), "")
    kept = rest if most is None else rest[: most - 1]
    lines = [line((render.seconds_of_day(str(record.get("time"))), "dim"), " ", (first, style))]
    lines += [line(" " * 11, (text, style)) for text in kept]
    if len(kept) < len(rest):
        lines.append(line((f"{' ' * 11}… {render.count(len(rest) - len(kept), 'more line')}", "dim")))
    return lines


def logged(records: Iterable[Json], most: int) -> Iterator[Text]:
    """A session's log, with what programs say of their own workings cut down to the last line of each block.

    Args:
        most: lines to show of each record.
    """
    block: list[Json] = []
    for record in records:
        if record.get("kind") == "diagnostic":
            block.append(record)
            continue
        yield from _diagnostics(block)
        block = []
        yield from log_lines(record, most)
    yield from _diagnostics(block)


def _diagnostics(block: Sequence[Json]) -> Iterator[Text]:
    if len(block) > 1:
        more = f"… {render.count(len(block) - 1, 'line')} of diagnostics (--json has them)"
        yield line((f"{render.seconds_of_day(str(block[0].get('time')))} {more}", "dim"))
    for record in block[-1:]:
        yield from log_lines(record, _MOST_LINES)


def _cut(text: str) -> str:
    return (
        text if len(text) <= _LONGEST_LINE else f"{text[:_LONGEST_LINE]}… {len(text) - _LONGEST_LINE} characters more"
    )


def live_lines(record: Json) -> list[Text]:
    """The same while a command waits for the session, shortened, and without diagnostics."""
    return [] if record.get("kind") == "diagnostic" else log_lines(record, _MOST_LINES)


def _words(record: Json) -> list[str]:
    text = [part for part in str(record.get("text", "")).split("\n") if part.strip()]
    kind = record.get("kind")
    if kind in ("tool", "tool_result") and record.get("tool"):
        return [f"{record['tool']}: {text[0] if text else ''}".rstrip(": "), *text[1:]]
    if kind in _PREFIXES:
        return [f"{_PREFIXES[kind]}{text[0] if text else ''}", *text[1:]]
    return text


# --------------------------------------------------------------------------- the end of a session


def ended(document: Json, *, target: str, worktree: str, retried: bool, timeout: int | None = None) -> list[Text]:
    """How a session ended, and the next steps.

    Args:
        document: as ``implement --json`` has it.
        retried: another try follows at once.
        timeout: the seconds it had.
    """
    if document["outcome"] == "completed":
        return _completed(document, target)
    lines = [Text(""), *_failed(document, timeout)]
    if retried:
        return [*lines, line(f"{document['wp']} is tried again.")]
    lines.append(
        line(f"{document['wp']} moved to {document['state']}.", f"  Reason: {document['reason'] or 'not recorded'}")
    )
    return lines + (_next_steps(document, worktree) if document["state"] == "blocked" else [])


def _completed(document: Json, target: str) -> list[Text]:
    wp, feature = document["wp"], document["feature"]
    files = render.count(document["files_changed"], "file")
    return [
        Text(""),
        line(render.mark("pass"), (f" {wp} moved to {document['state']}", "bold"),
             f" after {render.clock(document['duration_seconds'])}"),
        line(f"  Commits: {len(document['commits'])} (ahead of {target}), {files} changed"),
        *_usage(document),
        line("Next: ", (f"agentpkg review {feature} {wp}", "bold")),
    ]  # fmt: skip


def _usage(document: Json) -> Iterable[Text]:
    usage = document["usage"]
    if usage:
        yield line("  Usage: ", ", ".join(f"{key} {value}" for key, value in usage.items()))


def _failed(document: Json, timeout: int | None) -> list[Text]:
    outcome = document["outcome"]
    what = {"timeout": "Agent session timed out", "cancelled": "Agent session was stopped"}.get(outcome, "Agent failed")
    after = f" (it had {render.clock(timeout)})" if outcome == "timeout" and timeout else ""
    rows: list[Sequence[Part]] = [
        ("Exit code:", _exit_code(document["exit_code"], outcome)),
        ("Commits made:", f"{len(document['commits'])}{' (partial work)' if document['commits'] else ''}"),
        ("Reason:", str(document["reason"] or "not recorded")),
        ("Tries:", str(document["attempts"])),
    ]
    return [
        line(render.mark("fail"), (f" {what} after {render.clock(document['duration_seconds'])}{after}:", "bold")),
        *render.table(rows, "    "),
    ]


def _exit_code(code: int | None, outcome: str) -> str:
    if code is None:
        return "none"
    why = f" ({outcome})" if outcome == "timeout" else ""
    return f"{code}{why}" if code >= 0 else f"ended by signal {-code}{why}"


def _next_steps(document: Json, worktree: str) -> list[Text]:
    feature, wp = document["feature"], document["wp"]
    return [
        line(("Next steps:", "bold")),
        line("  See what happened"),
        line((f"    agentpkg logs {feature} {wp} --tail 40", "bold")),
        line("  Option 1: look at the partial work and continue by hand"),
        line((f"    cd {worktree}", "bold")),
        line(("    git log --oneline", "bold"), ("      # what was done; commit your own work", "dim")),
        line((f"    agentpkg move {feature} {wp} --to for_review", "bold")),
        line("  Option 2: try again with a fresh session"),
        line(
            (f"    agentpkg implement {feature} --wp {wp}", "bold"), ("             # continues on the branch", "dim")
        ),
        line((f"    agentpkg implement {feature} --wp {wp} --fresh", "bold"), ("     # starts at the target", "dim")),
    ]


def detached(document: Json) -> list[Text]:
    """After ``--detach``."""
    feature, wp = document["feature"], document["wp"]
    return [
        line(f"{wp} runs in session ", (document["session"], "bold"), "; this command does not wait for it."),
        line("Next: ", (f"agentpkg logs {feature} {wp} --follow", "bold")),
    ]


# --------------------------------------------------------------------------- landing


def moved(found: "Moved", titles: Mapping[str, str]) -> list[Text]:
    """What became of a package that was moved.

    Args:
        titles: of the packages, by id.
    """
    lines = [line((f"{found.wp} moved to {found.to}", "bold"), (f"  (was {found.frm})", "dim"))]
    if found.merge_commit is not None:
        lines += _landed(found)
    if found.unblocked:
        lines.append(line("Dependency resolution:"))
        lines += [line("  ", *_unblocked(wp, titles)) for wp in found.unblocked]
    lines += [line(("  kept: ", "yellow"), text) for text in found.kept]
    return lines


def _landed(found: "Moved") -> list[Text]:
    merged = f" Merged ({render.count(found.commits, 'commit')}, {render.count(found.files_changed, 'file')})"
    lines = [
        line(f"Merging branch {found.branch} → {found.target}"),
        line("  ", render.mark("pass"), merged, (f"  {render.short(found.merge_commit)}", "dim")),
    ]
    if found.forced:
        lines.append(line("  ", render.mark("warn"), " forced, without an approval; the audit chain says so for ever"))
    return lines


def _unblocked(wp: str, titles: Mapping[str, str]) -> list[Part]:
    title = f" ({titles[wp]})" if wp in titles else ""
    return [f"{wp}{title} is now unblocked"]


def cancelled(document: Json, kept: str | None) -> list[Text]:
    """After ``cancel``."""
    lines = [line((f"{document['wp']} is cancelled", "bold"))]
    if document["session"]:
        lines.append(line(f"  Session {document['session']} has ended"))
    if kept:
        lines.append(line(f"  Its commits are kept on {kept}"))
    again = f"agentpkg move {document['feature']} {document['wp']} --to planned"
    return [*lines, line("Bring it back: ", (again, "bold"))]
