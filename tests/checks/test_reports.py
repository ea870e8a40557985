"""Reading what code under test wrote: JUnit XML, coverage reports, evidence, feedback."""

import json
import time
from pathlib import Path

import pytest

from agentpkg.checks import coverage, junit
from agentpkg.checks.base import CoverageSpec, canonical, one_line
from agentpkg.checks.coverage import Coverage
from agentpkg.checks.evidence import EvidenceStore
from agentpkg.checks.safexml import BadReport

BOMB = b"""<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a "aaaaaaaaaa">
<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]><testsuite><testcase name="&b;"/></testsuite>"""
EXTERNAL = b"""<!DOCTYPE t [<!ENTITY x SYSTEM "file:///etc/passwd">]><testsuite><testcase name="&x;"/></testsuite>"""


@pytest.mark.parametrize("data", [BOMB, EXTERNAL, b"", b"<a", b"\xff\xfe\x00", b"<a>" * 200, b"{}", b"<a/>"])
@pytest.mark.parametrize("parse", [junit.parse, coverage.parse])
def test_hostile_and_broken_reports_are_refused(parse: object, data: bytes) -> None:
    assert callable(parse)
    with pytest.raises(BadReport):
        parse(data)


def test_an_undefined_entity_and_an_unknown_encoding_are_refused() -> None:
    for data in (b"<testsuite>&nope;</testsuite>", b'<?xml version="1.0" encoding="klingon"?><testsuite/>'):
        with pytest.raises(BadReport):
            junit.parse(data)


def test_a_document_type_that_only_names_a_dtd_is_harmless() -> None:
    doctype = b"<!DOCTYPE coverage SYSTEM 'http://127.0.0.1:1/coverage-04.dtd'>"
    named_only = COBERTURA.replace(b"<coverage", doctype + b"<coverage", 1)
    assert coverage.parse(named_only).files == coverage.parse(COBERTURA).files


def test_nested_suites_are_counted_by_their_cases() -> None:
    data = b"""<testsuites tests="5" failures="1" errors="1"><testsuite>
      <testcase classname="a.B" name="good"/>
      <testcase classname="a.B" name="bad"><failure message="1 != 2">trace</failure><error/></testcase>
      <testsuite><testcase name="broken"><error message="boom&#10;second line"/></testcase>
      <testcase name="later"><skipped/></testcase><testcase name="out"><system-out>x</system-out></testcase></testsuite>
    </testsuite></testsuites>"""
    report = junit.parse(data)
    assert (report.passed, report.failed, report.skipped, report.ran) == (2, 2, 1, 4)
    assert report.failures == ("a.B::bad: 1 != 2", "broken: boom second line")


@pytest.mark.slow
def test_a_large_report_is_read_quickly() -> None:
    data = b"<testsuite>" + b'<testcase classname="a" name="b"/>' * 200_000 + b"</testsuite>"
    begun = time.monotonic()
    assert junit.parse(data).passed == 200_000
    assert time.monotonic() - begun < 10


COBERTURA = b"""<?xml version="1.0"?>
<!-- no document type, as coverage.py writes it -->
<coverage line-rate="1" version="7"><sources><source>/tmp/copy/src</source></sources><packages><package><classes>
<class filename="a.py"><methods><method><lines><line number="1" hits="1"/></lines></method></methods>
<lines><line number="1" hits="1"/><line number="2" hits="0"/></lines></class>
<class filename="a.py"><lines><line number="2" hits="3"/><line number="3" hits="0"/><line number="4" hits="0"/></lines>
</class><class filename="/elsewhere/x.py"><lines><line number="1" hits="1"/></lines></class>
</classes></package></packages></coverage>"""


def test_cobertura_lines_are_merged_and_located_in_the_copy() -> None:
    found = coverage.located(coverage.parse(COBERTURA), {"src/a.py", "other.py"}, ["/tmp/copy"])
    assert found.files == {"src/a.py": {1: True, 2: True, 3: False, 4: False}}


def test_coverage_json_is_read() -> None:
    entry = {"executed_lines": [1, 3], "missing_lines": [2], "summary": {}}
    data = json.dumps({"meta": {}, "files": {"/copy/a.py": entry}, "totals": {"percent_covered": 100.0}}).encode()
    assert coverage.located(coverage.parse(data), {"a.py"}, ["/copy"]).files == {"a.py": {1: True, 2: False, 3: True}}
    for broken in (b'{"files": 1}', b'{"files": {"a": {}}}', b"{", b'{"files": {}}'):
        with pytest.raises(BadReport):
            coverage.parse(broken)


REPORT = Coverage({"a.py": {1: True, 2: True, 3: True, 4: False}, "b.py": {1: True, 2: False}, "empty.py": {}})


@pytest.mark.parametrize(
    ("spec", "passed", "detail"),
    [
        (CoverageSpec("r", 66), True, "66% (target: 66%)"),
        (CoverageSpec("r", 66.7), False, "66% (target: 66.7%)"),
        (CoverageSpec("r", 50, "file"), True, "66% (target: 50%) per file"),
        (CoverageSpec("r", 60, "file"), False, "66% (target: 60%) per file; below: b.py 50%"),
        (CoverageSpec("r", 50, "changed"), True, "50% of changed lines (target: 50%)"),
        (CoverageSpec("r", 51, "changed"), False, "50% of changed lines (target: 51%)"),
    ],
)
def test_coverage_is_judged_as_a_whole_by_file_or_by_changed_lines(
    spec: CoverageSpec, passed: bool, detail: str
) -> None:
    verdict = coverage.judge(spec, REPORT, {"a.py": {3, 4, 99}, "c.py": {1}, "docs/x.py": {1}, "d.txt": {1}})
    assert (verdict.passed, verdict.detail) == (passed, detail)
    assert verdict.unmeasured == (("c.py",) if spec.per == "changed" else ())


def test_no_measured_changed_line_passes() -> None:
    assert coverage.judge(CoverageSpec("r", 90, "changed"), REPORT, {"README.md": {1}}).passed


def test_evidence_is_kept_by_content(tmp_path: Path) -> None:
    store = EvidenceStore(tmp_path / "evidence")
    first = store.put(b"proof")
    assert first == store.put(b"proof")
    assert store.get(first) == b"proof"
    (path,) = [p for p in (tmp_path / "evidence").rglob("*") if p.is_file()]
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(b"forged")
    assert store.get(first) is None
    assert store.get("sha256:../../etc/passwd") is None
    assert store.get("sha256:" + "0" * 64) is None


def test_canonical_json_has_no_floats_and_no_invalid_text() -> None:
    assert canonical({"b": 1.5, "a": ["\udcff", "ä"], "c": {"d": (1, None)}}) == (
        r'{"a":["\\xff","ä"],"b":"1.5","c":{"d":[1,null]}}'.encode()
    )
    assert json.loads(canonical(["\udcff"])) == ["\\xff"]


def test_one_line_is_printable_and_short() -> None:
    assert one_line("a\x1b[31mb\r\n\u202ec\udcfe" + "x" * 900, 20) == "a [31mb c\\xfexxxxxx…"
