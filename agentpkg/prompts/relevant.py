"""Which parts of a plan concern one work package."""

import re
from collections.abc import Iterator, Sequence

from agentpkg.core.model import Plan, WorkPackage
from agentpkg.features.spec import canonical_ref
from agentpkg.prompts.markdown import blocks

_REFERENCE = re.compile(r"\b(?!WP)[A-Z]{1,5}-?\d+\b")
_PACKAGE = re.compile(r"\bWP\d{2,}\b")
_LEADING = re.compile(r"\W*WP\d{2,}(?:(?:\s*[,/&+–—-]\s*|\s+and\s+)WP\d{2,})*")
_RANGE = re.compile(r"WP(\d{2,})\s*[-–—]\s*WP(\d{2,})")
_LONGEST_RANGE = 1000
#: headings whose text holds for every package, unless it names requirements or packages of others
_FOR_ALL = re.compile(r"decision|architecture|convention|technical context|constraint|test data|test strategy", re.I)
_ITEM = re.compile(r"\s*([-*+]|\d+[.)])\s")

_Section = tuple[str, int, str]


def plan_sections(plan: Plan, package: WorkPackage) -> list[_Section]:
    """The sections of the plan that concern a package, in order, each with only its text that does.

    Those whose heading names the package come whole, with what is below them. Of others come the paragraphs, list
    items and table rows that name the package, one of its requirements or one of its deliverables. Sections about
    decisions, architecture, conventions and constraints come too, unless they name only what is other packages'.
    """
    needles = _Needles(package)
    return list(_chosen(plan.sections, needles))


class _Needles:
    """What marks a text as being about one package, or about others."""

    def __init__(self, package: WorkPackage) -> None:
        self.id = package.id
        self.refs = {canonical_ref(ref) for ref in package.requirement_refs}
        self.paths = tuple(package.deliverables)

    def in_heading(self, heading: str) -> bool:
        return self.id in _subjects(heading)

    def of_another(self, heading: str) -> bool:
        packages = _subjects(heading)
        return bool(packages) and self.id not in packages

    def hit(self, text: str) -> bool:
        named = self.id in _PACKAGE.findall(text) or not self.refs.isdisjoint(_refs(text))
        return named or any(path in text for path in self.paths)

    def names_only_others(self, text: str) -> bool:
        return not self.hit(text) and bool(_PACKAGE.search(text) or _requirement_refs(text))


def _subjects(heading: str) -> set[str]:
    """The packages a heading is about: of ``WP03 Sessions (after WP02)`` the first, of ``WP01-WP03`` all three."""
    leading = _LEADING.match(heading)
    named = leading.group() if leading else heading
    between = [
        f"WP{number:02d}"
        for first, last in _RANGE.findall(named)
        for number in range(int(first), min(int(last), int(first) + _LONGEST_RANGE))
    ]
    return {*_PACKAGE.findall(named), *between}


def _refs(text: str) -> set[str]:
    return {canonical_ref(ref) for ref in _REFERENCE.findall(text)}


def _requirement_refs(text: str) -> set[str]:
    return {ref for ref in _refs(text) if ref.startswith(("FR-", "NFR-", "C-"))}


def _chosen(sections: Sequence[_Section], needles: _Needles) -> Iterator[_Section]:
    whole = general = 0
    for heading, level, text in sections:
        # a heading of the same level or higher ends what the last one held for
        whole = 0 if whole and level <= whole else whole
        general = 0 if general and level <= general else general
        if needles.of_another(heading):
            continue
        if needles.in_heading(heading):
            whole = whole or level
        if level > 1 and _FOR_ALL.search(heading):
            general = general or level
        kept = text if whole else _kept(f"{heading}\n{text}", text, bool(general), needles)
        if kept.strip():
            yield heading, level, kept.strip("\n")


def _kept(whole: str, text: str, general: bool, needles: _Needles) -> str:
    if general and not needles.names_only_others(whole):
        return text
    return "\n\n".join(part for block in blocks(text) if (part := _lines_about(block, needles)))


def _lines_about(block: str, needles: _Needles) -> str:
    """A block, or of a table and a list the rows and items, that the needles hit; empty when none does."""
    lines = block.splitlines()
    if lines[0].lstrip().startswith("|"):
        rows = [line for line in lines[2:] if needles.hit(line)]
        return "\n".join([*lines[:2], *rows]) if rows else ""
    if _ITEM.match(lines[0]):
        return "\n".join(item for item in _items(lines) if needles.hit(item))
    return block if needles.hit(block) else ""


def _items(lines: list[str]) -> list[str]:
    items: list[list[str]] = []
    indent = len(lines[0]) - len(lines[0].lstrip())
    for line in lines:
        if (_ITEM.match(line) and len(line) - len(line.lstrip()) <= indent) or not items:
            items.append([])
        items[-1].append(line)
    return ["\n".join(item) for item in items]
