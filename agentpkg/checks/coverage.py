"""Line coverage from Cobertura XML (coverage.py, gcovr, grcov, JaCoCo converters) or coverage.py's JSON.

Formats: https://github.com/cobertura/cobertura ``coverage-04.dtd`` and
https://coverage.readthedocs.io/en/latest/commands/cmd_json.html. Rates written in a report are not used: what counts
are its lines, so that the three ways of counting agree with each other. Branches are not counted.
"""

import json
import posixpath
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from agentpkg.checks.base import CoverageSpec, named
from agentpkg.checks.safexml import MAX_BYTES, BadReport, read


@dataclass(frozen=True, slots=True)
class Coverage:
    """Measured lines by file: path as reported -> line number -> was it run.

    Attributes:
        sources: folders that the paths may be relative to.
    """

    files: Mapping[str, Mapping[int, bool]]
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CoverageVerdict:
    """How a report compares with what is asked.

    Attributes:
        unmeasured: changed files beside measured ones that the report does not have (``per: changed``).
        worst: files below the minimum, worst first, as ``path percent%``.
    """

    passed: bool
    covered: int
    measured: int
    detail: str
    worst: tuple[str, ...] = ()
    unmeasured: tuple[str, ...] = ()


@dataclass
class _Cobertura:
    files: dict[str, dict[int, bool]] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)
    roots: int = 0
    lines: dict[int, bool] | None = None
    in_method: int = 0
    text: str | None = None

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == "coverage":
            self.roots += 1
        elif name == "source":
            self.text = ""
        elif name == "class":
            # several classes may share a file
            self.lines = self.files.setdefault(attributes.get("filename", ""), {})
        elif name == "line" and self.lines is not None:
            number, hits = attributes.get("number", ""), attributes.get("hits", "")
            if number.isascii() and number.isdigit() and len(number) < 10:
                was_run = hits.isascii() and hits.isdigit() and hits.strip("0") != ""
                self.lines[int(number)] = self.lines.get(int(number), False) or was_run

    def end(self, name: str) -> None:
        if name == "class":
            self.lines = None
        elif name == "source" and self.text is not None:
            self.sources.append(self.text.strip())
            self.text = None

    def characters(self, data: str) -> None:
        if self.text is not None and len(self.text) < 4096:
            self.text += data


def parse(data: bytes) -> Coverage:
    """Reads a report of either format.

    Raises:
        BadReport: when it is neither, or measured nothing.
    """
    found = _json(data) if data.lstrip()[:1] == b"{" else _cobertura(data)
    if not any(found.files.values()):
        raise BadReport("it has no measured line")
    return found


def _cobertura(data: bytes) -> Coverage:
    reader = _Cobertura()
    read(data, reader.start, reader.end, reader.characters)
    if not reader.roots:
        raise BadReport("it has no <coverage>")
    return Coverage(reader.files, tuple(reader.sources))


def _json(data: bytes) -> Coverage:
    if len(data) > MAX_BYTES:
        raise BadReport(f"larger than {MAX_BYTES} bytes")
    try:
        document = json.loads(data)
        files = {
            str(path): {
                **{int(line): False for line in entry["missing_lines"]},
                **{int(line): True for line in entry["executed_lines"]},
            }
            for path, entry in document["files"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadReport(f"no coverage.py JSON: {type(error).__name__}: {error}") from error
    return Coverage(files)


def located(report: Coverage, tree: Collection[str], roots: Sequence[str]) -> Coverage:
    """The report with paths of the repository, without what is not in it.

    Args:
        tree: all paths of the candidate.
        roots: absolute names of the copy the report was written in.
    """
    files: dict[str, dict[int, bool]] = {}
    for name, lines in report.files.items():
        path = _path_in(name, report.sources, tree, roots)
        if path is not None:
            merged = files.setdefault(path, {})
            for number, hit in lines.items():
                merged[number] = merged.get(number, False) or hit
    return Coverage(files)


def _path_in(name: str, sources: Sequence[str], tree: Collection[str], roots: Sequence[str]) -> str | None:
    for candidate in (name, *(posixpath.join(source, name) for source in sources)):
        for root in ("", *roots):
            shorter = candidate.removeprefix(root.rstrip("/") + "/") if root else candidate
            path = posixpath.normpath(shorter)
            if path in tree:
                return path
    return None


def judge(spec: CoverageSpec, report: Coverage, changed: Mapping[str, Collection[int]]) -> CoverageVerdict:
    """Compares a located report with the minimum.

    Args:
        changed: added and changed lines by path, for ``per: changed``.
    """
    if spec.per == "changed":
        return _judge_changed(spec, report, changed)
    covered, measured = _count(report.files)
    below = _below(spec, report.files) if spec.per == "file" else ()
    total = f"{_percent(covered, measured)}% (target: {spec.minimum:g}%)"
    if spec.per == "file":
        detail = f"{total} per file" + (f"; below: {named(list(below))}" if below else "")
        return CoverageVerdict(measured > 0 and not below, covered, measured, detail, below)
    return CoverageVerdict(_enough(spec, covered, measured), covered, measured, total)


def _judge_changed(spec: CoverageSpec, report: Coverage, changed: Mapping[str, Collection[int]]) -> CoverageVerdict:
    touched = {
        path: {number: hit for number, hit in report.files[path].items() if number in lines}
        for path, lines in changed.items()
        if path in report.files
    }
    # tests and the like are seldom measured: only neighbours of measured files are missed
    kinds = {_kind(path) for path in report.files}
    unmeasured = tuple(
        path for path, lines in sorted(changed.items()) if lines and path not in report.files and _kind(path) in kinds
    )
    covered, measured = _count(touched)
    if not measured:
        return CoverageVerdict(True, 0, 0, "no measured line changed", (), unmeasured)
    below = _below(spec, touched)
    detail = f"{_percent(covered, measured)}% of changed lines (target: {spec.minimum:g}%)"
    return CoverageVerdict(_enough(spec, covered, measured), covered, measured, detail, below, unmeasured)


def _kind(path: str) -> tuple[str, str]:
    return path.split("/")[0] if "/" in path else "", posixpath.splitext(path)[1]


def _below(spec: CoverageSpec, files: Mapping[str, Mapping[int, bool]]) -> tuple[str, ...]:
    counts = [(path, *_count({path: lines})) for path, lines in files.items() if lines]
    low = [(covered / measured, path) for path, covered, measured in counts if not _enough(spec, covered, measured)]
    return tuple(f"{path} {int(share * 100)}%" for share, path in sorted(low))


def _count(files: Mapping[str, Mapping[int, bool]]) -> tuple[int, int]:
    return sum(sum(lines.values()) for lines in files.values()), sum(len(lines) for lines in files.values())


def _enough(spec: CoverageSpec, covered: int, measured: int) -> bool:
    return measured > 0 and covered * 100 >= spec.minimum * measured


def _percent(covered: int, measured: int) -> int:
    """Rounded down: 84.9 must not look like the 85 that it is not."""
    return covered * 100 // measured if measured else 0
