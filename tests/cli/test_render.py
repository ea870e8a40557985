"""Figures, marks and safe text."""

from datetime import UTC, datetime

import pytest

from agentpkg.cli import render

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "nothing"), (1, "1 second"), (7200, "2 hours"), (432000, "5 days"), (90000, "1 day 1 hour")],
)
def test_an_estimate_is_said_in_its_two_largest_units(seconds: int, words: str) -> None:
    assert render.effort(seconds) == words


@pytest.mark.parametrize(("seconds", "words"), [(42, "42s"), (723, "12m 03s"), (7500, "2h 05m"), (273600, "3d 4h")])
def test_a_measured_time_is_short(seconds: int, words: str) -> None:
    assert render.clock(seconds) == words


@pytest.mark.parametrize(
    ("stamp", "words"),
    [
        ("2026-03-02T11:59:58Z", "just now"), ("2026-03-02T11:59:00.000000Z", "1 minute ago"),
        ("2026-02-28T12:00:00Z", "2 days ago"), (None, "at an unknown time"), ("nonsense", "at an unknown time"),
    ],
)  # fmt: skip
def test_a_time_in_the_past_is_told_from_now(stamp: str | None, words: str) -> None:
    assert render.ago(stamp, NOW) == words


def test_sizes_are_for_people() -> None:
    assert [render.size(n) for n in (812, 2100, 999_999, 2_500_000)] == ["812 B", "2.1 KB", "1.0 MB", "2.5 MB"]


def test_a_bar_is_full_or_empty_only_when_that_is_true() -> None:
    bars = [render.progress_bar(done, 100).plain for done in (0, 1, 99, 100)]
    assert [bar.count("█") for bar in bars] == [0, 1, 11, 12]
    assert all(len(bar) == 12 for bar in bars)


def test_text_of_agents_can_neither_move_the_cursor_nor_style_anything() -> None:
    text = render.line("a\x1b[2Jb\x07 [bold]c[/bold]\nd")
    assert text.plain == "ab [bold]c[/bold] d"
    assert not text.spans


def test_columns_are_aligned_by_the_cells_they_take() -> None:
    rows = render.table([("日本", "x"), ("a", ("y", "bold"))])
    assert [row.plain for row in rows] == ["日本  x", "a     y"]


def test_what_is_printed_to_a_file_has_no_colour_and_is_not_wrapped(capsys: pytest.CaptureFixture[str]) -> None:
    render.show([render.line(("x" * 300, "bold red"))])
    assert capsys.readouterr().out == "x" * 300 + "\n"
