"""``spec.md`` and ``plan.md``: Markdown as several generations of people and tools have written it.

Requirements are found in all their styles: a line ``FR-1: …`` with what follows, list items ``- **FR-001**: …``, rows
of a table, headings ``### FR1: …`` with what stands below. Code blocks are never looked into.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from agentpkg.core.model import Plan, Requirement, Spec

Section = tuple[str, int, str]

_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t](.*))?$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_REF = r"[A-Z][A-Z0-9]{0,9}(?:-[A-Z][A-Z0-9]*)*-?\d+(?:\.\d+)*[a-z]?"
_CLOSE = r"[*_`\])]{0,4}"
#: `- **FR-001**: text`, `FR-1: text`, `- FR-1 (must) — text`, `**FR-1.** text`, `1. [ ] FR-2: text`
_ITEM = re.compile(
    rf"(?P<indent>[ \t]*)(?P<bullet>(?:[-*+]|\d+[.)])[ \t]+)?(?:\[[ xX]\][ \t]+)?"
    rf"(?P<open>[*_`\[(]{{0,4}})(?P<ref>{_REF})"
    rf"(?P<close>{_CLOSE})(?P<note>[ \t]*\([^)]{{0,80}}\))?{_CLOSE}[ \t]*(?P<separator>[:.–—-])?{_CLOSE}(?:[ \t]|$)"
)
_TITLED = re.compile(rf"[*_`\[(]{{0,4}}(?P<ref>{_REF})(?![A-Za-z0-9-])")
_ROW = re.compile(r"[ \t]*\|")
_SPECIFICATION = re.compile(r"^(?:feature |mission |product )?spec(?:ification)?[ \t]*[:–—-][ \t]*", re.IGNORECASE)
_OVERVIEW = re.compile(
    r"(overview|summary|executive summary|purpose|intent|context|background|problem|introduction|goal)", re.IGNORECASE
)
_SUCCESS = re.compile(r"(success|measurable)[ \t]+(criteria|outcomes|metrics)", re.IGNORECASE)
_ACCEPTANCE = re.compile(r"acceptance[ \t]+criteria", re.IGNORECASE)
_LONGEST_REF = 80
#: ids of work packages and their steps
_NOT_A_REQUIREMENT = re.compile(r"(?:WP|T)\d")


def canonical_ref(ref: str) -> str:
    """One spelling for all of a reference's: ``FR-1``, ``FR-001`` and ``fr1`` are ``FR-1``."""
    if len(ref) > _LONGEST_REF:
        return ref.strip()
    match = re.fullmatch(r"([A-Za-z][A-Za-z0-9-]*?)-?0*(\d+)((?:\.\d+)*[A-Za-z]?)", ref.strip(" \t*_`[]()"))
    if match is None:
        return ref.strip()
    return f"{match[1].upper()}-{match[2]}{match[3].lower()}"


def find_requirements(spec: Spec, refs: Sequence[str]) -> tuple[list[Requirement], list[str]]:
    """The requirements that ``refs`` name, in their order, and the references that name none."""
    found: list[Requirement] = []
    missing: list[str] = []
    for ref in refs:
        requirement = spec.requirements.get(canonical_ref(ref))
        if requirement is None:
            missing.append(ref)
        else:
            found.append(requirement)
    return found, missing


def parse_spec(text: str, digest: str = "") -> Spec:
    """Reads ``spec.md``.

    Args:
        text: the file.
        digest: its SHA-256, kept with the result.

    Returns:
        The title without "Feature Specification:", the overview (its own section, else the first paragraph), the
        requirements by :func:`canonical_ref`, and the section of success criteria with all below it.
    """
    lines = _lines(_without_front_matter(text))
    sections = _sections(lines)
    return Spec(
        title=_title(sections),
        overview=_overview(sections),
        requirements=_requirements(lines),
        success_criteria=_with_subsections(sections, _SUCCESS) or _with_subsections(sections, _ACCEPTANCE),
        digest=digest,
    )


def parse_plan(text: str) -> Plan:
    """Reads ``plan.md`` as headed sections in order; text before the first heading has the heading ``""``, level 0."""
    return Plan(tuple(_sections(_lines(_without_front_matter(text)))))


def _without_front_matter(text: str) -> str:
    return re.sub(r"\A---[ \t]*\n.*?^---[ \t]*(?:\n|\Z)", "", text, count=1, flags=re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of Markdown; ``level`` is a heading's, and ``code`` says that it belongs to a fenced block."""

    text: str
    code: bool = False
    level: int = 0
    heading: str = ""


def _lines(text: str) -> list[_Line]:
    return list(_classified(text))


def _classified(text: str) -> Iterator[_Line]:
    fence = ""
    for line in text.split("\n"):
        mark = _FENCE.match(line)
        if fence:
            yield _Line(line, code=True)
            closes = mark is not None and mark[1].startswith(fence) and not line.strip(" `~")
            fence = "" if closes else fence
        elif mark:
            fence = mark[1]
            yield _Line(line, code=True)
        elif heading := _HEADING.match(line):
            yield _Line(line, level=len(heading[1]), heading=(heading[2] or "").strip().rstrip("#").rstrip())
        else:
            yield _Line(line)


def _sections(lines: Sequence[_Line]) -> list[Section]:
    out: list[Section] = []
    heading, level, body = "", 0, list[str]()
    for line in [*lines, _Line("", level=7)]:
        if not line.level:
            body.append(line.text)
            continue
        section = "\n".join(body).strip("\n")
        if level or section.strip():
            out.append((heading, level, section))
        heading, level, body = line.heading, line.level, []
    return out


def _title(sections: Sequence[Section]) -> str:
    first = next((heading for heading, level, _ in sections if level == 1), "")
    return _SPECIFICATION.sub("", first).strip()


def _overview(sections: Sequence[Section]) -> str:
    for heading, level, text in sections:
        if level > 1 and text.strip() and _OVERVIEW.match(heading):
            return text.strip()
    return _first_paragraph("\n\n".join(text for _, level, text in sections[:2] if level <= 1))


def _first_paragraph(text: str) -> str:
    """The first paragraph of prose: not ``**Status**: draft`` lines, comments, tables or rules."""
    for paragraph in re.split(r"\n[ \t]*\n", text):
        bare = paragraph.strip()
        if bare and not re.match(r"\*\*[^*]+\*\*[ \t]*:|\*\*[^*]+:\*\*|<!--|\||-{3,}|[-*+][ \t]|```", bare):
            return bare
    return ""


def _with_subsections(sections: Sequence[Section], wanted: re.Pattern[str]) -> str:
    start = next((i for i, (heading, level, _) in enumerate(sections) if level and wanted.match(heading)), None)
    if start is None:
        return ""
    out = [sections[start][2]]
    for heading, level, text in sections[start + 1 :]:
        if level <= sections[start][1]:
            break
        out.append(f"{'#' * level} {heading}\n{text}")
    return "\n\n".join(part.strip("\n") for part in out if part.strip()).strip()


def _requirements(lines: Sequence[_Line]) -> Mapping[str, Requirement]:
    out: dict[str, Requirement] = {}
    header: list[str] = []
    for index, line in enumerate(lines):
        if line.code:
            continue
        if _ROW.match(line.text):
            found, header = _from_row(lines, index, header)
        else:
            header = []
            found = _from_heading(lines, index) if line.level else _from_item(lines, index)
        if found and not _NOT_A_REQUIREMENT.match(found.ref):
            out.setdefault(canonical_ref(found.ref), found)
    return out


def _from_row(lines: Sequence[_Line], index: int, header: list[str]) -> tuple[Requirement | None, list[str]]:
    """The requirement of a table's row, and the table's header for the rows to come."""
    cells = _cells(lines[index].text)
    if index + 1 < len(lines) and _is_ruler(lines[index + 1].text):
        return None, cells
    match = _TITLED.match(cells[0]) if cells else None
    if match is None:
        return None, header
    rest = list(enumerate(cells))[1:]
    named = [f"{header[i]}: {cell}" if i < len(header) and header[i] else cell for i, cell in rest if cell]
    only_one = len(named) == 1
    return Requirement(match["ref"], rest[0][1] if only_one and rest[0][1] else "; ".join(named)), header


def _is_ruler(text: str) -> bool:
    """Whether a line is the one between a table's header and its rows: ``|---|:-:|``."""
    return "-" in text and not text.strip("|:- \t")


def _cells(row: str) -> list[str]:
    inner = row.strip().removeprefix("|")
    inner = inner[:-1] if inner.endswith("|") and not inner.endswith("\\|") else inner
    return [cell.replace("\\|", "|").strip() for cell in re.split(r"(?<!\\)\|", inner)]


def _from_heading(lines: Sequence[_Line], index: int) -> Requirement | None:
    match = _TITLED.match(lines[index].heading)
    if match is None:
        return None
    level = lines[index].level
    body = [lines[index].heading[match.end() :].lstrip("*_`]): \t–—-.").strip()]
    for line in lines[index + 1 :]:
        if 0 < line.level <= level:
            break
        body.append(line.text)
    return Requirement(match["ref"], "\n".join(body).strip())


def _from_item(lines: Sequence[_Line], index: int) -> Requirement | None:
    match = _ITEM.match(lines[index].text)
    if match is None or not _defines(match):
        return None
    note = (match["note"] or "").strip()
    rest = lines[index].text[match.end() :].strip()
    if "**" in match["open"] and "**" not in match.group()[match.end("open") - match.start() :]:
        rest = f"**{rest}"
    first = " ".join(part for part in (note, rest) if part)
    return Requirement(match["ref"], "\n".join([first, *_continuation(lines, index, match)]).strip())


def _defines(match: re.Match[str]) -> bool:
    """Whether a line that begins with a reference defines it, and is not prose that happens to begin so."""
    if match["separator"] == "-" and not match["bullet"] and not match["open"]:
        return False
    return bool(
        match["separator"] in (":", "–", "—", "-", ".") or (match["open"] and match["close"] and match["bullet"])
    )


def _continuation(lines: Sequence[_Line], index: int, match: re.Match[str]) -> list[str]:
    """The lines below a definition that belong to it."""
    indent = len(match["indent"].expandtabs(4))
    out: list[str] = []
    blank = False
    for line in lines[index + 1 :]:
        if line.level or _ROW.match(line.text) or re.match(r"[ \t]*(-{3,}|\*{3,}|_{3,})[ \t]*$", line.text):
            break
        if line.text.strip() and not line.code and _ends(line.text, indent, blank, bool(match["bullet"])):
            break
        blank = not line.text.strip()
        out.append(line.text)
    while out and not out[-1].strip():
        out.pop()
    return out


def _ends(text: str, indent: int, after_blank: bool, in_list: bool) -> bool:
    """Whether a line below a definition is no longer part of it."""
    other = _ITEM.match(text)
    if other and _defines(other):
        return True
    if len(text.expandtabs(4)) - len(text.expandtabs(4).lstrip()) > indent:
        return False
    listed = re.match(r"[ \t]*(?:[-*+]|\d+[.)])[ \t]", text) is not None
    # an item ends at the next item; a plain line `FR-1: …` keeps the list below it
    return listed if in_list else after_blank and not listed
