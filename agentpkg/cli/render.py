"""How words reach a person: consoles, safe text, marks, bars, times and sizes. ``render_*.py`` say the sentences.

Only these files import rich. Whatever an agent or a file wrote goes through :func:`safe` and stands in
:class:`rich.text.Text`, never in markup, so it can neither move the cursor nor colour a line.
"""

import os
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich.text import Text

from agentpkg.secrets.controls import strip_controls

#: a piece of a line: plain text, or text and its style
Part = str | tuple[str, str] | Text

#: what a check's, a step's or a package's mark looks like
MARKS = {"pass": ("✓", "green"), "fail": ("✗", "bold red"), "warn": ("!", "yellow"), "skip": ("-", "dim")}

_STYLES = {
    "planned": "dim", "ready": "cyan", "doing": "yellow", "for_review": "magenta", "done": "green",
    "blocked": "bold red", "cancelled": "dim strike", "validated": "green", "shipped": "bold green",
    "implementing": "yellow",
}  # fmt: skip

_UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


# --------------------------------------------------------------------------- where it goes


def is_plain() -> bool:
    """Nobody wants colours: standard output is no terminal, ``NO_COLOR`` is set, or the terminal is a dumb one."""
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb" or not sys.stdout.isatty()


def can_redraw() -> bool:
    """Both streams go to a terminal that can redraw what stands on it."""
    return sys.stdout.isatty() and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def show(lines: Iterable[Part], stderr: bool = False) -> None:
    """Prints lines as they come; a terminal wraps long ones itself, a file gets them whole."""
    if is_plain():
        stream = sys.stderr if stderr else sys.stdout
        for one in lines:
            print(as_text(one).plain, file=stream, flush=True)
        return
    # a fifth of a short command's time, and only for terminals
    from agentpkg.cli.render_console import console

    out = console(stderr, plain=False)
    for one in lines:
        out.print(as_text(one), soft_wrap=True)


def as_text(part: Part) -> Text:
    """A part of a line as rich's text; plain words are made safe."""
    if isinstance(part, Text):
        return part
    return Text(safe(part)) if isinstance(part, str) else Text(safe(part[0]), part[1])


def line(*parts: Part) -> Text:
    """Parts side by side."""
    return Text("").join([as_text(part) for part in parts])


def safe(text: object) -> str:
    """One line of text that cannot do anything to a terminal."""
    clean = strip_controls(str(text))
    return clean if "\n" not in clean else " ".join(clean.split())


def mark(status: str) -> Text:
    """✓ ✗ ! or - in its colour."""
    return as_text(MARKS.get(status, ("?", "")))


def state_style(state: str) -> str:
    """The colour of a package's or a feature's state."""
    return _STYLES.get(state, "")


# --------------------------------------------------------------------------- figures


def bar(filled: int, width: int = 12, style: str = "") -> Text:
    """``██████░░░░░░``: ``filled`` of ``width`` cells."""
    filled = min(width, max(0, filled))
    return Text("█" * filled, style).append("░" * (width - filled), "dim")


def progress_bar(done: int, total: int, width: int = 12) -> Text:
    """A bar that is only full, or only empty, when it is true."""
    filled = done * width // total if total else 0
    if done and not filled:
        filled = 1
    return bar(filled, width, "green")


def percent(done: int, total: int) -> str:
    """``33%``."""
    return f"{done * 100 // total}%" if total else "0%"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """``1 file``, ``3 files``."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"


def size(number: int) -> str:
    """Bytes for people: ``812 B``, ``2.1 KB``."""
    if number < 1000:
        return f"{number} B"
    return f"{number / 1000:.1f} KB" if number < 999_950 else f"{number / 1_000_000:.1f} MB"


def effort(seconds: int) -> str:
    """An estimate as a person gave it: ``5 days``, ``1 day 4 hours``."""
    found = []
    for unit, name in _UNITS:
        number, seconds = divmod(seconds, unit)
        if number:
            found.append(count(number, name))
    return " ".join(found[:2]) or "nothing"


def clock(seconds: int) -> str:
    """A duration that was measured: ``42s``, ``12m 03s``, ``2h 05m``, ``3d 4h``."""
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m {seconds % 60:02}s"
    if seconds < 86400:
        return f"{seconds // 3600}h {seconds // 60 % 60:02}m"
    return f"{seconds // 86400}d {seconds // 3600 % 24}h"


def moment(stamp: str | None) -> datetime | None:
    """An RFC 3339 time, None for none or for something else."""
    try:
        found = datetime.fromisoformat(stamp) if stamp else None
    except ValueError:
        return None
    return found if found is None or found.tzinfo else found.replace(tzinfo=UTC)


def elapsed(since: str | None, until: str | None, now: datetime) -> int | None:
    """Whole seconds between two times; until ``now`` where there is no second."""
    begin = moment(since)
    if begin is None:
        return None
    return max(0, int(((moment(until) or now) - begin).total_seconds()))


def ago(stamp: str | None, now: datetime) -> str:
    """``just now``, ``3 minutes ago``, ``2 days ago``."""
    seconds = elapsed(stamp, None, now)
    if seconds is None:
        return "at an unknown time"
    for unit, name in _UNITS:
        if seconds >= max(unit, 5):
            return f"{count(seconds // unit, name)} ago"
    return "just now"


def at(stamp: str | None, now: datetime) -> str:
    """``10:15 UTC`` today, with the date on any other day."""
    when = moment(stamp)
    if when is None:
        return "?"
    when = when.astimezone(UTC)
    return when.strftime("%H:%M UTC" if when.date() == now.astimezone(UTC).date() else "%Y-%m-%d %H:%M UTC")


def seconds_of_day(stamp: str | None) -> str:
    """``[10:15:33]``, in UTC."""
    when = moment(stamp)
    return f"[{when.astimezone(UTC):%H:%M:%S}]" if when else "[--:--:--]"


def short(sha: str | None) -> str:
    """A commit's id as people read it."""
    return (sha or "?")[:10]


def now() -> datetime:
    """The machine's time."""
    return datetime.now(UTC)


# --------------------------------------------------------------------------- columns


def table(rows: Sequence[Sequence[Part]], indent: str = "", gap: str = "  ") -> list[Text]:
    """Rows with aligned columns; the last column is as wide as it likes."""
    cells = [[as_text(cell).copy() for cell in row] for row in rows]
    columns = max((len(row) for row in cells), default=0)
    widths = [max((row[i].cell_len for row in cells if i < len(row)), default=0) for i in range(columns - 1)]
    out = []
    for row in cells:
        for cell, width in zip(row[:-1], widths, strict=False):
            cell.pad_right(width - cell.cell_len)
        text = Text(indent).append_text(Text(gap).join(row))
        text.rstrip()
        out.append(text)
    return out
