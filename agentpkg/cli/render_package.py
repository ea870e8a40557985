"""One work package as a person sees it: its state in words, and the facts below it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agentpkg.cli import render
from agentpkg.cli.render import Part

Json = Mapping[str, Any]

_MOST_NAMED = 4
_Facts = list[list[str | tuple[str, str] | None]]


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at a feature shows.

    Attributes:
        document: as ``status --json`` has it.
        now: the time of the look.
        forecast: seconds to the end with ``jobs`` packages at a time.
        jobs: how many a ``run`` starts at once.
    """

    document: Json
    now: datetime
    forecast: int
    jobs: int


def state_word(package: Json) -> str:
    """A package's state with what belongs to it: ``planned (ready)``, ``doing (claude-code)``."""
    state, verdict = package["state"], package.get("verdict")
    more = ""
    if state == "planned":
        more = "ready" if package["ready"] else "blocked"
    elif state == "doing":
        more = package["agent"] or ""
    elif state == "for_review" and verdict:
        more = word(verdict).lower()
    elif state == "done" and package.get("forced"):
        more = "forced"
    return f"{state} ({render.safe(more)})" if more else str(state)


def running_time(look: Look, package: Json) -> str:
    """How long its session has been running; empty when none is."""
    if package["state"] != "doing":
        return ""
    seconds = render.elapsed(package["started_at"], None, look.now)
    return render.clock(seconds) if seconds is not None else ""


def suffix(look: Look, package: Json) -> str:
    """The most important fact of a package whose facts are not shown."""
    if package["state"] == "planned":
        after = [one["wp"] for one in package.get("behind", ())]
        goes = f"after {some(after)}" if after else ""
        return f"waits for {some(package['blocked_by'])}" if package["blocked_by"] else goes
    if package["state"] == "done":
        return f"{render.count(package['commits'], 'commit')}, {render.ago(package['finished_at'], look.now)}"
    if package["state"] == "doing":
        life = _life(look, package)
        said = life[0] if life and life[1] == "red" else render.safe(package["activity"] or "")
        return " ".join(filter(None, [running_time(look, package), said]))
    return render.safe(package["reason"] or "")[:100]


def facts(look: Look, package: Json) -> list[list[Part]]:
    """The lines of facts below a package, each as parts."""
    found = _FACTS[package["state"]](look, package)
    return [_joined(parts) for parts in found if any(parts)]


def _joined(facts: Sequence[str | tuple[str, str] | None]) -> list[Part]:
    out: list[Part] = []
    for fact in facts:
        if fact:
            out += [(" | ", "dim"), fact] if out else [fact]
    return out


def _planned(look: Look, package: Json) -> _Facts:
    states = {p["id"]: p["state"] for p in look.document["work_packages"]}
    waits = [f"{need} ({states[need]})" if need in states else need for need in package["blocked_by"]]
    freed = package["dependencies"] and not package["blocked_by"]
    return [
        [f"Deliverables: {some(package['deliverables'])}" if package.get("deliverables") else None],
        [f"Waits for: {some(package['waits_for_stages'])}" if package.get("waits_for_stages") else None],
        [_after(package)],
        [f"Blocked by: {some(waits)}" if waits else None,
         f"Depends on: {some(package['dependencies'])} ✓" if freed else None],
        [_estimate(package)],
    ]  # fmt: skip


def _after(package: Json) -> str | None:
    """The last of those that go first because they own the same files, and why."""
    behind = package.get("behind")
    if not behind:
        return None
    more = f" and {len(behind) - 1} more" if len(behind) > 1 else ""
    return f"After: {behind[-1]['wp']}{more} ({render.safe(behind[-1]['reason'])})"


def _doing(look: Look, package: Json) -> _Facts:
    return [
        [f"Session: {package['session']}", f"Isolation: {package['isolation']}" if package["isolation"] else None],
        [f"Started: {render.at(package['started_at'], look.now)}", _life(look, package), _cycle(package)],
        [f"Files changed: {package['files_changed']}", f"Commits: {package['commits']}", _tests(package)],
        [f"Current task: {package['activity']}" if package["activity"] else ("Current task: starting", "dim")],
    ]


#: what a session is at, in words, and how that is to be seen
_LIFE = {
    "starting": ("starting", "dim"), "running": ("running", ""), "silent": ("silent", "yellow"),
    "waiting_for_permission": ("waiting for permission", "yellow"), "stopping": ("stopping", "yellow"),
    "ending": ("taking in what it made", ""), "not_answering": ("does not answer", "red"),
    "lost": ("lost its supervisor", "red"), "unknown": ("unknown whether it runs", "red"),
}  # fmt: skip


def _life(look: Look, package: Json) -> tuple[str, str] | None:
    """Whether its session lives, in words: ``Running, last heard 3s ago``, ``Silent since 14:02``."""
    life = package.get("life")
    if not life:
        return None
    words, style = _LIFE[life["state"]]
    if life["since"]:
        words += f" since {render.at(life['since'], look.now)} ({render.ago(life['since'], look.now)})"
    elif life["heard_at"]:
        words += f", last heard {render.ago(life['heard_at'], look.now)}"
    more = f" ({render.safe(life['detail'])})" if life["detail"] else ""
    return words[0].upper() + words[1:] + more, style


def _for_review(look: Look, package: Json) -> _Facts:
    ahead = f"Commits: {package['commits']} (ahead of {look.document['feature']['target']})"
    rejected = package.get("verdict") == "changes_requested"
    return [
        [ahead, f"Files: {package['files_changed']} changed", _tests(package)],
        [f"Agent: {package['agent']} (completed {render.ago(package['finished_at'], look.now)})", _cycle(package)],
        [(str(package["reason"]), "yellow") if rejected and package["reason"] else None],
        [_next_of_review(look, package)],
    ]


def _next_of_review(look: Look, package: Json) -> tuple[str, str]:
    feature, wp = look.document["feature"]["id"], package["id"]
    asked = look.document.get("questions", ())
    if any((one["wp"], one["kind"]) == (wp, "approval") for one in asked):
        return (f"Next: agentpkg approve {feature} {wp}", "dim")
    verb = {
        "approved": f"agentpkg move {feature} {wp} --to done",
        "changes_requested": f"agentpkg implement {feature} --wp {wp}",
    }.get(package.get("verdict") or "", f"agentpkg review {feature} {wp}")
    return (f"Next: {verb}", "dim")


def _blocked(look: Look, package: Json) -> _Facts:
    feature, wp = look.document["feature"]["id"], package["id"]
    return [
        [(f"Reason: {package['reason'] or 'not recorded'}", "red")],
        [f"Agent: {package['agent']}", f"Session: {package['session']}" if package["session"] else None],
        [f"Commits: {package['commits']}", f"Files: {package['files_changed']}", _tests(package), _cycle(package)],
        [
            f"Blocked: {render.ago(package['finished_at'], look.now)}" if package["finished_at"] else None,
            f"Next try: {render.at(package['retry_at'], look.now)}" if package.get("retry_at") else None,
        ],
        [(f"Next: agentpkg logs {feature} {wp}", "dim")],
    ]


def _done(look: Look, package: Json) -> _Facts:
    took = render.elapsed(package["started_at"], package["finished_at"], look.now)
    when = f"Completed: {render.ago(package['finished_at'], look.now)}"
    if not package["session"] and not package["merge_commit"]:
        return [[("Adopted as done", "dim"), when if package["finished_at"] else None]]
    passes = {1: "1 (approved on first pass)"}.get(package["review_cycle"], str(package["review_cycle"]))
    return [
        [f"Commits: {package['commits']}", f"Files: {package['files_changed']}", _tests(package)],
        [f"Agent: {package['agent']}" if package["agent"] else None,
         when + (f" (took {render.clock(took)})" if took is not None else "")],
        [f"Review cycles: {passes}" if not package.get("forced") else ("Forced: landed without an approval", "red"),
         f"Merge: {render.short(package['merge_commit'])}" if package.get("merge_commit") else None],
    ]  # fmt: skip


def _cancelled(look: Look, package: Json) -> _Facts:
    return [[(f"Reason: {package['reason']}", "dim") if package["reason"] else None]]


_FACTS = {
    "planned": _planned, "doing": _doing, "for_review": _for_review, "blocked": _blocked, "done": _done,
    "cancelled": _cancelled,
}  # fmt: skip


def _tests(package: Json) -> str | None:
    tests = package["tests"]
    if not tests:
        return None
    total = tests["passed"] + tests["failed"]
    return f"Tests: {tests['passed']}/{total} passing"


def _cycle(package: Json) -> str | None:
    return f"Review cycle: {package['review_cycle']}" if package["review_cycle"] > 1 else None


def _estimate(package: Json) -> str | None:
    seconds = package.get("estimate_seconds")
    return f"Est. effort: {render.effort(seconds)}" if seconds else None


def some(names: Sequence[str], most: int = _MOST_NAMED) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def word(name: str) -> str:
    """A stored name as a person writes it: ``Changes requested``."""
    return str(name).replace("_", " ").capitalize()
