"""The queue of questions, and policies, as a person reads them."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from agentpkg.cli import render
from agentpkg.cli.render import Part, line

Json = Mapping[str, Any]

#: paths of one need that are shown
_PATHS = 5


def listed(found: Sequence[Json]) -> list[Text]:
    """Every question with what it is about and how it is answered."""
    if not found:
        return [line("Nothing waits for an answer.")]
    lines = [text for one in found for text in (*_question(one), Text(""))]
    return lines[:-1]


def brief(one: Json) -> Text:
    """A question in one line, for ``status``."""
    return line(("? ", "yellow"), (one["question"], "bold"), f" {one['wp']}: ", one["text"], (f"  {_how(one)}", "dim"))


def _question(one: Json) -> list[Text]:
    rows: list[Sequence[Part]] = [("about:", *_about(one))]
    for need in one["needs"]:
        paths = need["paths"]
        more = f" and {len(paths) - _PATHS} more" if len(paths) > _PATHS else ""
        shown = f"  ({', '.join(paths[:_PATHS])}{more})" if paths else ""
        rows.append((f"{need['action']}:", need["detail"], (shown, "dim")))
    rows += [("who:", _who(one)), ("deadline:", _deadline(one))]
    for given in one["answers"]:
        rows.append(("said:", f"{given['answer']} by {given['by']}", f"{given['reason'] or ''}"))
    state = (_state(one), _STYLES.get(one["state"], "dim"))
    head = line((one["question"], "bold"), f"  {one['feature']} {one['wp']}  ", state)
    told = [line("  ", (_how(one), "bold"))] if one["state"] == "open" else []
    return [head, *render.table(rows, "  "), *told]


def _about(one: Json) -> Sequence[Part]:
    if one["kind"] == "permission":
        return (f"{one['text']}", (f"  ({one['why']})" if one["why"] else "", "dim"))
    if one["kind"] == "approval":
        return (f"approval of candidate {render.short(one['candidate'])}",)
    return (one["text"],)


_STYLES = {"open": "yellow", "answered": "green"}


def _state(one: Json) -> str:
    if one["state"] != "open":
        return f"{one['state']}{': ' if one['answer'] else ''}{one['answer'] or ''}"
    return "past its deadline" if one["overdue"] else "open"


def _how(one: Json) -> str:
    if one["kind"] == "approval":
        ours = f"{one['feature']} {one['wp']}"
        return f"agentpkg approve {ours}, or agentpkg deny {ours} --reason TEXT"
    return f"agentpkg answer {one['question']} {'|'.join(one['options'])}"


def _who(one: Json) -> str:
    named = [who for who in one["approvers"] if who not in one["excluded"]]
    whom = ", ".join(named) or ("nobody" if one["approvers"] else "any person")
    but = f", but not {', '.join(one['excluded'])}" if one["excluded"] and not one["approvers"] else ""
    more = f"; {one['people']} different people, {one['missing']} still missing" if one["people"] > 1 else ""
    return f"{whom}{but}{more}"


def _deadline(one: Json) -> str:
    if one["deadline"] is None:
        return "none"
    return f"{str(one['deadline'])[:19].replace('T', ' ')} UTC, then {one['default']}"


def answered(one: Json) -> list[Text]:
    """After an answer."""
    last = one["answers"][-1]
    what = f"{one['feature']} {one['wp']}"
    good = last["answer"] == one["options"][0]
    said = f"{what}: {last['answer']} by {last['by']}"
    lines = [line(render.mark("pass" if good else "fail"), (f" {one['question']} ", "bold"), said)]
    if one["state"] == "open":
        return [*lines, line(f"  {render.count(one['missing'], 'more person has', 'more people have')} to approve it")]
    if one["kind"] != "approval":
        return lines
    if good:
        return [*lines, line("  A run that is under way lands it; else: ", (f"agentpkg move {what} --to done", "bold"))]
    again = f"agentpkg move {what} --to planned"
    return [*lines, line("  It stays for_review. Have it done differently: ", (again, "bold"))]


# --------------------------------------------------------------------------- beforehand


_KINDS = (
    ("forbidden", "fail", "forbidden"), ("needs", "warn", "needs approval"), ("may", "skip", "may need approval"),
    ("may_not", "skip", "forbidden, should it do that"),
)  # fmt: skip


def forecasts(document: Json) -> list[Text]:
    """What packages will need, a block each."""
    lines: list[Text] = []
    for one in document["packages"]:
        basis = "by what its branch changes" if one["basis"] == "branch" else "by what its file plans"
        lines.append(line((one["wp"], "bold"), (f"  {basis}", "dim")))
        for key, mark, word in _KINDS:
            told = [f" {word}: {need['action']}: {need['detail']}" for need in one[key]]
            lines += [line("  ", render.mark(mark), text) for text in told]
        if not any(one[key] for key, _, _ in _KINDS):
            lines.append(line("  ", render.mark("pass"), " needs nobody"))
    return [*lines, *_terms(document)]


def _terms(document: Json) -> list[Text]:
    if not any(one["needs"] or one["may"] for one in document["packages"]):
        return []
    terms = document["approval"]
    who = ", ".join(terms["approvers"]) or "any person"
    but = ", not whoever dispatched it" if terms["exclude_dispatcher"] else ""
    by = f" within {render.effort(terms['deadline_seconds'])}" if terms["deadline_seconds"] else ""
    return [line((f"Approved by {render.count(terms['people'], 'person', 'people')} of: {who}{but}{by}", "dim"))]
