"""A feature as a person sees it: every package with its bar, state and facts, and what is to be expected."""

from collections.abc import Sequence

from rich.text import Text

from agentpkg.cli import render, render_budget, render_questions
from agentpkg.cli.render import Part, line
from agentpkg.cli.render_package import Json, Look, facts, running_time, some, state_word, suffix, word

#: filled cells of a package's bar, of twelve
_FILLED = {"planned": 0, "doing": 6, "for_review": 9, "done": 12, "blocked": 6, "cancelled": 0}
_WIDEST_TITLE = 44
#: features with more packages show facts of those alone that somebody may act on
_MANY = 24
_ACTIVE = ("doing", "for_review", "blocked")
_INDENT = "        "


def status(look: Look) -> list[Text]:
    """All of it, however long."""
    packages = look.document["work_packages"]
    detailed = None if len(packages) <= _MANY else _ACTIVE
    return [*head(look), *_blocks(look, packages, detailed), *_asked(look), Text(""), *foot(look)]


def _asked(look: Look) -> list[Text]:
    """What waits for people's answers."""
    return [render_questions.brief(one) for one in look.document.get("questions", ())]


def board(look: Look, height: int) -> list[Text]:
    """As much of it as ``height`` lines can hold, what somebody may act on first."""
    packages = look.document["work_packages"]
    around = [*head(look), *_asked(look), Text(""), *foot(look)]
    room = max(3, height - len(around))
    for body in (
        _blocks(look, packages, None),
        _blocks(look, packages, _ACTIVE),
        _blocks(look, packages, ()),
        _folded(look, packages, ("doing", "blocked")),
        _folded(look, packages, ()),
    ):
        if len(body) <= room:
            break
    if len(body) > room:
        body = [*body[: room - 1], line((f"  … {len(body) - room + 1} more lines", "dim"))]
    return [*head(look), *body, *_asked(look), Text(""), *foot(look)]


def head(look: Look) -> list[Text]:
    """Name and state of the feature."""
    feature = look.document["feature"]
    title = feature["title"] if feature["title"] != feature["id"] else ""
    return [
        line(("Feature: ", "bold"), (feature["id"], "bold"), f"  {title}" if title else ""),
        line(("State:   ", "bold"), (word(feature["state"]), render.state_style(feature["state"])),
             (f"  (merges into {feature['target']})", "dim")),
        *_run(look.document.get("run") or {}),
        Text(""),
    ]  # fmt: skip


def _run(run: Json) -> list[Text]:
    """Who runs it, and what that run waits for."""
    owner, paused, held = run.get("owner"), run.get("paused"), run.get("held")
    lines = []
    if owner:
        how = ", detached" if owner["detached"] else ""
        idle = f", stopped: nothing starts or lands before kill -CONT {owner['pid']}" if owner["stopped"] else ""
        lines.append(line(("Run:     ", "bold"), f"process {owner['pid']} of {owner['by']}{how}", (idle, "yellow")))
    if paused:
        why = f": {paused['reason']}" if paused["reason"] else ""
        lines.append(line(("Paused:  ", "bold"), (f"by {paused['by']}{why}", "yellow")))
    if held:
        when = f"next try at {render.seconds_of_day(held['until'])}" if held["until"] else "it gives up"
        lines.append(line(("Held:    ", "bold"), (f"{held['failures']} failures in a row, {when}", "yellow"),
                          (f"  {held['reason']}", "dim")))  # fmt: skip
    return lines


def foot(look: Look) -> list[Text]:
    """Progress and forecast."""
    document = look.document
    done, total = document["progress"]["done"], document["progress"]["total"]
    cancelled = sum(p["state"] == "cancelled" for p in document["work_packages"])
    also = f", {cancelled} cancelled" if cancelled else ""
    lines = [
        line(
            "Total WP progress: ",
            render.progress_bar(done, total),
            f" {done}/{total} ({render.percent(done, total)}{also})",
        )
    ]
    lines += _stages(document)
    lines += render_budget.lines(document)
    path = document["critical_path"]
    if path:
        lines.append(line("Critical path: ", _chain(path), _time_of_path(document)))
        lines.append(line("Estimated completion: ", *_completion(look)))
    return lines


_STAGE_STYLES = {"done": "green", "failed": "red", "active": "cyan", "ready": "cyan", "waiting": "dim"}


def _stages(document: Json) -> list[Text]:
    """The stages and the done check, each with its state, and below them why one fails."""
    found = [*document.get("stages", ()), *([last] if (last := document.get("done_check")) else ())]
    if not found:
        return []
    parts: list[Part] = []
    for stage in found:
        name = stage["name"] or "done check"
        parts += [", " if parts else "", name, " ", (stage["state"], _STAGE_STYLES[stage["state"]])]
    failing = [stage for stage in found if stage["state"] == "failed"]
    return [
        line("Stages: ", *parts),
        *(line("  ", (f"{s['name'] or 'done check'} fails: {s['detail']}", "red")) for s in failing),
    ]


def _time_of_path(document: Json) -> Part:
    seconds = document["estimate_seconds"]
    return (f" ({render.effort(seconds)})", "dim") if seconds else ""


def _completion(look: Look) -> list[Part]:
    if not look.forecast:
        return [("unknown: what is left has no estimate", "dim")]
    missing = sum(
        not p.get("estimate_seconds") and p["state"] not in ("done", "cancelled")
        for p in look.document["work_packages"]
    )
    without = f", {missing} without an estimate" if missing else ""
    return [render.effort(look.forecast), (f" with {look.jobs} at a time{without}", "dim")]


def _chain(path: Sequence[str]) -> str:
    if len(path) <= 8:
        return " → ".join(path)
    return " → ".join([*path[:5], f"… {len(path) - 7} more …", *path[-2:]])


# --------------------------------------------------------------------------- packages


def _blocks(look: Look, packages: Sequence[Json], detailed: Sequence[str] | None) -> list[Text]:
    """A block for each package; with facts below it where its state is in ``detailed`` (None: any)."""
    width = _title_width(packages)
    names = max((len(p["id"]) for p in packages), default=0)
    lines: list[Text] = []
    for package in packages:
        full = detailed is None or package["state"] in detailed
        lines.append(_row(look, package, names, width, brief=not full))
        if full:
            lines += [line(_INDENT, *parts) for parts in facts(look, package)]
    return lines or [line(("  no work packages", "dim"))]


def _folded(look: Look, packages: Sequence[Json], detailed: Sequence[str]) -> list[Text]:
    """Done and waiting packages as one line each kind, the others as rows."""
    done = [p["id"] for p in packages if p["state"] in ("done", "cancelled")]
    waiting = [p["id"] for p in packages if p["state"] == "planned" and not p["ready"]]
    told = {*done, *waiting}
    rest = [p for p in packages if p["id"] not in told]
    lines = _blocks(look, rest, detailed) if rest else []
    if done:
        lines.insert(0, line(("  ✓ ", "green"), f"{len(done)} over: {some(done, 12)}"))
    if waiting:
        lines.append(line(("  … ", "dim"), f"{len(waiting)} waiting: {some(waiting, 12)}"))
    return lines


def _row(look: Look, package: Json, names: int, width: int, brief: bool) -> Text:
    shown = "ready" if package["ready"] else package["state"]
    style = render.state_style(shown)
    title = Text(render.safe(package["title"]))
    title.truncate(width, overflow="ellipsis", pad=True)
    row = line(
        "  ", (package["id"].ljust(names), "bold"), "  ", title, "  ",
        render.bar(_filled(package), 12, style), "  ", (state_word(package), style),
    )  # fmt: skip
    more = suffix(look, package) if brief else running_time(look, package)
    return row.append(f"  {more}", "dim") if more else row


def _filled(package: Json) -> int:
    if package["state"] == "blocked" and not package["commits"]:
        return 3
    return _FILLED.get(package["state"], 0)


def _title_width(packages: Sequence[Json]) -> int:
    longest = max((Text(render.safe(p["title"])).cell_len for p in packages), default=0)
    return min(_WIDEST_TITLE, longest)
