"""A review as a person reads it: groups of checks with ✓ ✗ ! marks, the verdict, and what to do next."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.text import Text

from agentpkg.cli import render
from agentpkg.cli.render import Part, line

Json = Mapping[str, Any]

_TITLES = {
    "deliverables": "Deliverables Check",
    "test-quality": "Test Quality",
    "code-quality": "Code Quality",
    "specification": "Specification Compliance",
    "governance": "Governance",
    "merge": "Merge",
}

#: lines of a failed check's detail that are shown; its evidence has all of it
_MOST_LINES = 12


def review(document: Json, title: str, *, reused: bool = False, evidence: str | None = None) -> list[Text]:
    """A whole review.

    Args:
        document: as ``review --json`` has it.
        title: the package's.
        reused: it was answered from the record.
        evidence: the folder in which evidence lies, told when something failed.
    """
    lines = [*_head(document, title, reused)]
    for group, checks in _groups(document["checks"]):
        lines += [Text(""), line((_TITLES.get(group, render.safe(group)), "bold"))]
        for check in checks:
            lines += _check(check)
    return [*lines, Text(""), *_result(document, evidence)]


def next_step(document: Json, state: str) -> list[Text]:
    """What to do after a review."""
    feature, wp = document["feature"], document["wp"]
    if document["verdict"] == "approved" and document.get("needs"):
        lines = [line(f"People have to approve it before it lands ({render.count(len(document['needs']), 'reason')}).")]
        return [*lines, line("Next: ", (f"agentpkg approve {feature} {wp}", "bold"), "  # agentpkg questions has more")]
    if document["verdict"] == "approved":
        return [line("Next: ", (f"agentpkg move {feature} {wp} --to done", "bold"))]
    if state == "blocked":
        return [
            line(f"{wp} moved to blocked: its review cycles are used up."),
            line("Next: ", (f"agentpkg move {feature} {wp} --to planned --review-feedback-file notes.md", "bold"),
                 "  # start anew, with your words for the next agent"),
        ]  # fmt: skip
    return [
        line("Next: ", (f"agentpkg implement {feature} --wp {wp}", "bold"),
             "  # the agent gets these findings and continues on its branch")
    ]  # fmt: skip


def explained(document: Json) -> list[Text]:
    """What a recorded review looked at and ran, and what of it would run again."""
    found = document["explain"]
    lines = [*_head(document, document["verdict"].replace("_", " "), False)]
    lines.append(line((f"by {render.safe(found['reviewer'] or 'an unknown reviewer')}", "dim")))
    if found["batch"]:
        tip, packages = str(found["batch"]["tip"])[:10], ", ".join(found["batch"]["packages"])
        lines.append(line((f"in one batch, {packages}: their commands ran once, on {tip}", "dim")))
    if found["stale"]:
        lines.append(line((f"The verdict holds no longer; changed since: {', '.join(found['stale'])}", "yellow")))
    for check in found["checks"]:
        took = "" if check["milliseconds"] is None else f"  {check['milliseconds'] / 1000:.1f} s"
        reused = "  (taken from an earlier review)" if check["reused"] else ""
        name = render.safe(check["name"])
        lines += [Text(""), line(render.mark(check["status"]), " ", (name, "bold"), (took + reused, "dim"))]
        lines.append(line("  looked at ", check["looked_at"]))
        if check["ran"] and check["ran"] != check["name"]:
            lines.append(line("  ran ", render.safe(check["ran"])))
        lines.append(line("  runs again: " if check["again"] else "  does not run again: ", check["why"]))
    return lines


def _head(document: Json, title: str, reused: bool) -> Iterator[Text]:
    yield line((f"Reviewing {document['wp']}: ", "bold"), (title, "bold"))
    base, head = render.short(document["base"]), render.short(document["head"])
    what = f"candidate {render.short(document['candidate'])}" if document["candidate"] else "no candidate"
    yield line((f"{what}: branch {head} on target {base}, review cycle {document['cycle']}", "dim"))
    if reused:
        yield line(("from the record: nothing has changed since this review was made", "dim"))


def _groups(checks: Sequence[Json]) -> list[tuple[str, list[Json]]]:
    groups: dict[str, list[Json]] = {}
    for check in checks:
        groups.setdefault(check["group"], []).append(check)
    order = list(_TITLES)
    return sorted(groups.items(), key=lambda item: order.index(item[0]) if item[0] in order else len(order))


def _check(check: Json) -> list[Text]:
    name, detail = render.safe(check["name"]), str(check["detail"] or "").strip("\n")
    first, *rest = detail.splitlines() or [""]
    style = {"fail": "red", "skip": "dim"}.get(check["status"], "")
    lines = [line("  ", render.mark(check["status"]), " ", *_said(check, name, first, style))]
    shown = rest[-_MOST_LINES:] if check["status"] == "fail" else []
    if len(rest) > len(shown) > 0:
        lines.append(line((f"      … {len(rest) - len(shown)} lines", "dim")))
    return [*lines, *(line("      ", (text, "dim")) for text in shown)]


def _said(check: Json, name: str, detail: str, style: str) -> list[Part]:
    """Name and detail of a check; a passed one whose detail is a whole sentence needs no name before it."""
    if not detail:
        return [(name, style)]
    if name == check["group"]:
        return [(detail, style)]
    if check["status"] == "pass" and check["group"] != "specification":
        return [detail, (f"  {name}", "dim")] if detail[0].isupper() else [f"{name} ({detail})"]
    return [(f"{name}: {detail}", style)]


def _result(document: Json, evidence: str | None) -> Iterator[Text]:
    if document["verdict"] == "approved":
        warnings = sum(c["status"] == "warn" for c in document["checks"])
        also = f"  ({render.count(warnings, 'warning')})" if warnings else ""
        yield line(("Result: APPROVED ✓", "bold green"), (also, "yellow"))
        return
    failed = [c for c in document["checks"] if c["status"] == "fail"]
    yield line(("Result: CHANGES REQUESTED ✗", "bold red"), f"  ({render.count(len(failed), 'check')} failed)")
    kept = [c for c in failed if c["evidence"]]
    if evidence and kept:
        digest = str(kept[0]["evidence"]).removeprefix("sha256:")
        yield line((f"Evidence: {evidence}/{digest[:2]}/{digest}", "dim"))
