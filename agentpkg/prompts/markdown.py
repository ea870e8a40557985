"""Markdown of other people made fit to stand inside a prompt."""

import re
from collections.abc import Iterator

from agentpkg.secrets.controls import strip_controls

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_ATX = re.compile(r" {0,3}(#{1,6})(?=\s|$)\s*(.*?)(?:\s+#+)?\s*$")
_UNDERLINE = re.compile(r" {0,3}(=+|-{2,})\s*$")
# what cannot be the text of an underlined heading: a list item, a quote, a table row, a heading
_NO_PARAGRAPH = re.compile(r"\s*$| {4}|\s*([-*+>|#]|\d+[.)]\s)")

_DEEPEST = 6


def demoted(text: str, top: int = 3) -> str:
    """``text`` with its headings moved down so that the highest is of level ``top``; code blocks stay as they are.

    So no heading of a quoted file can pass for one of the prompt's own. A code block that is never closed is closed.
    """
    lines = list(_headings(text.strip("\n").splitlines()))
    highest = min((level for level, _ in lines if level), default=0)
    shift = max(0, top - highest)
    out = [f"{'#' * min(level + shift, _DEEPEST)} {line}".rstrip() if level else line for level, line in lines]
    left_open = _open_fence(out)
    return "\n".join([*out, left_open] if left_open else out).rstrip()


def fenced(text: str, language: str = "text") -> str:
    """``text`` as a code block that nothing inside can close.

    Without controls first: what vanishes later could join shorter runs of backticks to one that closes it.
    """
    text = strip_controls(text)
    longest = max((len(run) for run in re.findall(r"`{3,}", text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{text.strip(chr(10))}\n{fence}"


def shortened(text: str, limit: int) -> str:
    """``text`` of at most about ``limit`` characters: its beginning and its end, and how much is left out between."""
    if len(text) <= limit:
        return text
    head, tail = text[: limit // 2], text[-(limit // 2) :]
    return f"{head}\n… {len(text) - len(head) - len(tail)} characters left out …\n{tail}"


def blocks(text: str) -> list[str]:
    """The paragraphs, lists, tables and code blocks of ``text``, which blank lines part."""
    out: list[list[str]] = [[]]
    fence = ""
    for line in text.splitlines():
        fence = _after(fence, line)
        if line.strip() or fence:
            out[-1].append(line)
        elif out[-1]:
            out.append([])
    return ["\n".join(lines) for lines in out if lines]


def _headings(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Each line as ``(level, text)``, level 0 for what is no heading; underlined headings as the other kind."""
    fence = ""
    held: str | None = None
    for line in lines:
        fence_before, fence = fence, _after(fence, line)
        if held is not None and (mark := _UNDERLINE.match(line)):
            yield (1 if mark.group(1)[0] == "=" else 2), held.strip()
            held = None
            continue
        if held is not None:
            yield 0, held
            held = None
        if fence or (fence_before and _FENCE.match(line)):
            yield 0, line
        elif atx := _ATX.match(line):
            yield len(atx.group(1)), atx.group(2)
        elif _NO_PARAGRAPH.match(line):
            yield 0, line
        else:
            held = line
    if held is not None:
        yield 0, held


def _after(fence: str, line: str) -> str:
    """The fence that is open after ``line``, with its indentation, given the one open before; empty when none is.

    A fence that is indented stands in a list item, and ends with it: at the first line that is indented less.
    """
    found = _FENCE.match(line)
    if fence and line.strip() and _indent(line) < _indent(fence):
        fence = ""
    if not found:
        return fence
    mark, opened = found.group(1), fence.strip()
    if not fence:
        return found.group()
    closes = mark[0] == opened[0] and len(mark) >= len(opened) and not line.strip().strip(mark[0])
    return "" if closes else fence


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _open_fence(lines: list[str]) -> str:
    fence = ""
    for line in lines:
        fence = _after(fence, line)
    return fence
