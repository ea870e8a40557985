"""Lists as a person reads them: features, agents, settings, checks of the machine, entries, leftovers."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.text import Text

from agentpkg.cli import render
from agentpkg.cli.render import Part, line

Json = Mapping[str, Any]

_HEAD = "bold"

#: characters; terminals wrap long lines themselves, but some reasons are whole logs
_LONGEST_FACT = 500


# --------------------------------------------------------------------------- features


def features(document: Json) -> list[Text]:
    """One line for each feature."""
    found = document["features"]
    if not found:
        return [
            line("No features yet."),
            line("hint: a feature is a folder features/001-name with spec.md, plan.md and tasks/"),
        ]
    return render.table([_feature(one) for one in found])


def _feature(one: Json) -> Sequence[Part]:
    done, total = one["progress"]["done"], one["progress"]["total"]
    title = one["title"] if one["title"] != one["id"] else ""
    return (
        (one["id"], _HEAD), (one["state"], render.state_style(one["state"])), render.progress_bar(done, total),
        f"{done}/{total}", title,
    )  # fmt: skip


def overview(document: Json, busy: Mapping[str, Sequence[str]]) -> list[Text]:
    """Every feature with what happens in it.

    Args:
        busy: by feature, sentences on packages that somebody works on or waits for.
    """
    lines = []
    for row, one in zip(features(document), document["features"] or [None, None], strict=False):
        lines.append(row)
        lines += [line(("    ", "dim"), text) for text in (busy.get(one["id"], ()) if one else ())]
    return lines


# --------------------------------------------------------------------------- agents, settings, machine


def agents(document: Json, default: str | None) -> list[Text]:
    """Every agent with whether it can start."""
    lines = [line(("Agents", _HEAD))]
    for one in document["agents"]:
        ready = render.mark("pass" if one["ready"] else "fail")
        word = ("ready", "green") if one["ready"] else ("not ready", "red")
        star = " (default)" if one["name"] == default else ""
        lines.append(line("  ", ready, " ", (one["name"], _HEAD), star, "  ", word))
        lines += [line("      ", *row) for row in _agent(one)]
    return [*lines, line(("Choose one with --agent, or set agent.harness in .kittify/config.yaml.", "dim"))]


def _agent(one: Json) -> Iterable[Sequence[Part]]:
    yield (f"Harness: {one['harness']}",)
    if one["path"]:
        yield (f"Program: {one['path']}", f"  ({one['version']})" if one["version"] else "")
    heard = f", last heard {render.ago(one['last_heard'], render.now())}" if one.get("last_heard") else ""
    yield (f"Sessions: {one['sessions']} active{heard}",)
    if one["detail"]:
        yield ((one["detail"], "" if one["ready"] else "red"),)


def settings(document: Json) -> list[Text]:
    """Every key with its value and origin."""
    rows = [
        (one["key"], (one["origin"], "dim" if one["origin"] == "default" else "cyan"), _value(one["value"]))
        for one in document["values"]
    ]
    return render.table([(("key", "dim"), ("from", "dim"), ("value", "dim")), *rows])


def _value(value: object) -> Part:
    import json

    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return (render.safe(text), "dim" if value is None else "")


def checks(found: Sequence[Json]) -> list[Text]:
    """What was looked at, with the way out where something lacks."""
    lines = []
    width = max((len(one["name"]) for one in found), default=0)
    for one in found:
        lines.append(line(render.mark(one["status"]), " ", (one["name"].ljust(width), _HEAD), "  ", one["detail"]))
        if one["fix"] and one["status"] != "pass":
            lines.append(line(" " * (width + 4), ("fix: ", "bold"), one["fix"]))
    return lines


def mended(done: Sequence[str]) -> list[Text]:
    """What ``doctor --fix`` did, a line each."""
    shown = ("not done", "not known", "kept")
    lines = [line(render.mark("warn" if text.startswith(shown) else "pass"), " ", text) for text in done]
    return lines or [line(render.mark("pass"), " nothing needed mending")]


def written(document: Json) -> list[Text]:
    """What ``init`` wrote."""
    lines = [line(render.mark("pass"), f" wrote {path}") for path in document["written"]]
    lines += [line(render.mark("skip"), f" kept  {path}", (" (it was there)", "dim")) for path in document["kept"]]
    return [
        *lines,
        line("Next: ", ("agentpkg doctor", _HEAD), ", then put a feature under ", ("features/", _HEAD)),
    ]  # fmt: skip


# --------------------------------------------------------------------------- entries and leftovers


def entry(one: Json) -> Text:
    """An entry of the audit chain in one line."""
    facts = _facts(one["metadata"])
    return line(
        (str(one["timestamp"])[:19].replace("T", " "), "dim"), " ", (f"{one['feature_id']} #{one['id']}", "dim"), "  ",
        (one["transition"], _HEAD), f"  {one['actor']}", (f"  {facts}" if facts else "", "dim"),
    )  # fmt: skip


def _facts(metadata: Json) -> str:
    shown = ("kind", "verdict", "cycle", "outcome", "reason", "forced", "session", "job_id", "merge_commit")
    return ", ".join(f"{key} {_short(metadata[key])}" for key in shown if metadata.get(key) not in (None, ""))


def _short(value: object) -> str:
    """A fact of an entry: whole, or marked where it is cut."""
    text = render.safe(value)
    return text if len(text) <= _LONGEST_FACT else f"{text[: _LONGEST_FACT - 1]}…"


def audit(document: Json, feature: str, ends: tuple[str, str] | None) -> list[Text]:
    """The result of an audit.

    Args:
        ends: first and last transition, None for an empty chain.
    """
    if not document["ok"]:
        return [
            line(
                render.mark("fail"), (f" Audit chain of {feature} broken at entry {document['first_bad']}", "bold red")
            ),
            line(f"  {document['reason']}"),
        ]
    number = render.count(document["entries"], "entry", "entries")
    lines = [line(render.mark("pass"), f" Audit chain intact ({number} verified)", (f"  {feature}", "dim"))]
    if ends:
        lines.append(line((f"  Hash coverage: {ends[0]} (id=1) → {ends[1]} (id={document['entries']})", "dim")))
    signed = document.get("signed")
    if signed:
        worth = f"by {signed['by']}" if signed["good"] else f"not verified: {signed['reason']}"
        lines.append(line((f"  Signed up to entry {signed['entries']} {worth}", "dim" if signed["good"] else "yellow")))
    return lines


def endpoint(document: Json) -> list[Text]:
    """How a dashboard subscribes."""
    rows = [(f"{key}:", document[key] or "none") for key in ("url", "prefix", "stream", "credentials")]
    prefix = document["prefix"]
    flag = "--nkey" if str(document["credentials"]).endswith(".nk") else "--creds"
    creds = f" {flag} {document['credentials']}" if document["credentials"] else ""
    return [*render.table(rows), line((f"try: nats --server {document['url']}{creds} sub '{prefix}.>'", "dim"))]


def cleaned(document: Json, dry_run: bool) -> list[Text]:
    """What went and what stays."""
    word = "would remove" if dry_run else "removed"
    lines = [line(render.mark("pass"), f" {word} {path}") for path in document["removed"]]
    lines += [
        line(render.mark("skip"), f" kept {one['path']}", (f"  {one['reason']}", "dim")) for one in document["kept"]
    ]
    return lines or [line("Nothing is left over.")]
