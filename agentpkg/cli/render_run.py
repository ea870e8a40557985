"""What a person sees of a ``run``: a line for every event, a live board where there is a terminal, and the end."""

from collections.abc import Callable, Mapping
from typing import Any

from rich.text import Text

from agentpkg.cli import render
from agentpkg.cli.render import Part, line
from agentpkg.core.records import EventRow

Json = Mapping[str, Any]


class Teller:
    """Turns events into sentences.

    Args:
        package: gives the package that a session is about, for sessions whose start was not told here.
    """

    def __init__(self, package: Callable[[str], str | None]) -> None:
        self._package = package
        self._packages: dict[str, str] = {}

    def sentence(self, row: EventRow) -> Text | None:
        """An event as a sentence, None for one that another one tells better."""
        parts = row.subject.split(".")
        if parts[0] == "agent" and parts[2] not in self._packages:
            known = row.payload.get("wp_id") or self._package(parts[2])
            if known:
                self._packages[parts[2]] = str(known)
        said = _sentence(parts, row.payload, self._packages)
        if said is None:
            return None
        return line((render.seconds_of_day(str(row.payload.get("time"))), "dim"), " ", *said)


def subject(name: str, payload: Json) -> Text:
    """Any event with its subject, for ``events tail``."""
    known = {key: value for key, value in payload.items() if key not in ("id", "time", "seq")}
    told = " ".join(f"{key}={value}" for key, value in known.items())
    return line((render.seconds_of_day(str(payload.get("time"))), "dim"), " ", (name, "cyan"), "  ", told)


def _sentence(parts: list[str], said: Json, packages: Mapping[str, str]) -> list[Part] | None:
    if parts[0] == "agent":
        return _of_session(parts, said, (packages.get(parts[2], parts[2]), "bold"))
    if len(parts) > 4 and parts[2] == "wp":
        return _of_package(parts[3], ".".join(parts[4:]), said)
    if parts[2:] == ["state", "changed"]:
        return [("Feature", "bold"), f" {parts[1]}: {said.get('from')} → ", _state(said.get("to"))]
    return _of_run(".".join(parts[2:]), said)


def _of_run(what: str, said: Json) -> list[Part] | None:
    name: Part = ("Run", "bold")
    if what == "run.held":
        when = f"next try at {render.seconds_of_day(str(said['until']))}" if said.get("until") else "no more tries"
        fault = "model's provider" if said.get("reason_class") == "provider" else "machine"
        return [name, (f" held: {said.get('failures')} failures of the {fault} in a row, {when}", "yellow"),
                f": {said.get('reason')}"]  # fmt: skip
    if what in ("run.released", "run.resumed"):
        return [name, " goes on"]
    if what == "run.paused":
        why = f": {said['reason']}" if said.get("reason") else ""
        return [name, (f" paused by {said.get('actor')}{why}", "yellow")]
    if what.startswith("stage."):
        return _of_stage(what.partition(".")[2], said)
    if what == "run.cycle":
        return [name, f" begins cycle {said.get('cycle')}: what failed is tried again"]
    if what == "run.stop":
        return [name, f" asked to stop by {said.get('actor')}{', with its sessions' if said.get('at_once') else ''}"]
    return None


def _of_stage(what: str, said: Json) -> list[Part] | None:
    name: Part = (str(said.get("stage") or "Done check"), "bold")
    if what == "fix":
        return [name, f"  {said.get('wp_id')} is to get it passed (cycle {said.get('cycle')})"]
    good = bool(said.get("passed"))
    word = {"checked": "done check", "entered": "entry condition"}.get(what, what)
    tagged = f", tagged {said['tag']}" if said.get("tag") else ""
    more = tagged if good else f": {said.get('detail')}"
    return [name, "  ", render.mark("pass" if good else "fail"), f" {word} {'passed' if good else 'failed'}{more}"]


def _of_session(parts: list[str], said: Json, name: Part) -> list[Part] | None:
    if parts[3] == "commit":
        return [name, "  ", (str(said.get("sha"))[:7], "dim"), f" {said.get('message')}"]
    if parts[3] == "started":
        return [name, f"  {said.get('agent') or 'agent'} started, session {parts[2]}"]
    if parts[3] == "completed":
        commits, files = int(said.get("commits") or 0), int(said.get("files_changed") or 0)
        facts = f"{render.count(commits, 'commit')}, {render.count(files, 'file')}"
        return [name, "  ", render.mark("pass" if said.get("success") else "fail"),
                f" session {said.get('outcome')} ({facts})"]  # fmt: skip
    return None


def _of_package(wp: str, what: str, said: Json) -> list[Part] | None:
    name: Part = (wp, "bold")
    if what == "unblocked":
        return [name, f"  unblocked by {said.get('unblocked_by')}"]
    if what == "review.completed":
        good = said.get("verdict") == "approved"
        word = "approved" if good else "changes requested"
        return [name, "  ", render.mark("pass" if good else "fail"), f" review {word} (cycle {said.get('cycle')})"]
    if what.startswith("question."):
        return [name, *_of_question(what.rpartition(".")[2], said)]
    if what == "told":
        return [name, f"  told something by {said.get('actor')}"]
    if said.get("to") == "doing":
        # its agent's start says the same, and more
        return None
    return [name, f"  {said.get('from')} → ", _state(said.get("to"))]


def _of_question(what: str, said: Json) -> list[Part]:
    number = (f"  Q{said.get('question')}", "yellow")
    if what == "asked":
        return [number, f" waits for people: {said.get('text')}"]
    if what == "answered":
        why = f": {said['reason']}" if said.get("reason") else ""
        return [number, f" answered {said.get('answer')} by {said.get('by')}{why}"]
    return [number, f" {said.get('state')}: {said.get('reason')}"]


def _state(name: object) -> Part:
    return (str(name), render.state_style(str(name)))


# --------------------------------------------------------------------------- the end


def finished(document: Json, stuck_first: bool, seconds: int, until: str | None = None) -> list[Text]:
    """The last screen of a run.

    Args:
        document: as the last line of ``run --json`` has it.
        stuck_first: a person stopped the run.
        seconds: how long it took.
        until: the package that was asked for with what it needs; None: all were.
    """
    done, total = document["progress"]["done"], document["progress"]["total"]
    good = not document["stuck"]
    word = "done" if good else ("stopped" if stuck_first else "stuck")
    what = f"{until} and what it needs" if until else ""
    lines = [
        Text(""),
        line(render.mark("pass" if good else "fail"), (f" {document['feature']}: {what}{what and ': '}{word}", "bold"),
             f" after {render.clock(seconds)}"),
        line("  ", render.progress_bar(done, total), f" {done}/{total} packages done, feature {document['state']}"),
    ]  # fmt: skip
    if document["stuck"]:
        lines.append(line(("Not finished:", "bold")))
        named = [(one["wp"] or one.get("stage"), one) for one in document["stuck"]]
        rows = [(f"  {name}", _state(one["state"]), one["reason"]) for name, one in named]
        lines += render.table(rows)
        again = f"agentpkg run {document['feature']}{f' --until {until}' if until else ''}"
        return [*lines, line("Next: ", (f"agentpkg status {document['feature']}", "bold"), ", then ", (again, "bold"))]
    return [*lines, *_after(document)]


def _after(document: Json) -> list[Text]:
    feature = document["feature"]
    if document["state"] == "implementing":
        return [line("Next: ", (f"agentpkg run {feature}", "bold"), " for the rest")]
    verify = line("Next: ", (f"agentpkg events audit-verify --feature {feature}", "bold"))
    if document["state"] != "validated":
        return [verify]
    return [verify, line("      ", (f"agentpkg move {feature} --to shipped", "bold"))]


def detached(feature: str, pid: int) -> list[Text]:
    """What is said of a run that was started without a terminal."""
    return [
        line(("Run", "bold"), f" of {feature} goes on as process {pid}"),
        line("Next: ", (f"agentpkg attach {feature}", "bold"), " watches it, ", (f"agentpkg stop {feature}", "bold"),
             " ends it"),
    ]  # fmt: skip


def steered(feature: str, paused: bool, changed: bool, pid: int | None) -> list[Text]:
    """What is said after ``pause`` and ``resume``."""
    already = "" if changed else "already "
    if not paused:
        return [line((feature, "bold"), f": {already}{'resumed' if changed else 'not paused'}")]
    who = f"process {pid} lets its sessions finish and waits" if pid else "no run is at work; the next one waits"
    return [
        line((feature, "bold"), f": {already}paused; {who}"),
        line("Next: ", (f"agentpkg resume {feature}", "bold")),
    ]


def told(feature: str, wp: str, session: str | None) -> list[Text]:
    """What is said after ``tell``."""
    where = f"given to session {session}" if session else "kept for the next try: nobody can hear it now"
    return [line((f"{feature} {wp}", "bold"), f": {where}")]


def stopping(running: list[str], may_ask: bool) -> list[str]:
    """What is said after the first Ctrl-C.

    Args:
        running: the packages whose sessions run.
        may_ask: somebody can answer.
    """
    if not running:
        return ["Stopping: nothing new is started."]
    names = ", ".join(running)
    if may_ask:
        return [f"Stopping: nothing new is started. Let {names} finish? [Y/n] (Ctrl-C once more stops them now)"]
    return [f"Stopping: nothing new is started; {names} may finish. Ctrl-C once more stops them now."]
