"""Which evidence a requirement has."""

from pathlib import Path

import pytest

from agentpkg.checks import requirements
from agentpkg.checks.base import CheckSpec, Finding
from agentpkg.checks.command import Ran
from agentpkg.checks.integrity.change import FileChange
from agentpkg.checks.junit import TestReport
from agentpkg.core.records import CheckResult
from tests.checks.scene import owning, scene
from tests.support.repos import ScratchFactory

TESTS = '''
def test_fr1_login():
    assert login()

def test_lockout():
    """FR-002: five attempts."""
    assert locked()

@pytest.mark.requirement("NFR-1")
def test_speed():
    assert quick()
'''


def ran(name: str, status: str, cases: dict[str, str] | None = None) -> tuple[Ran, CheckResult]:
    report = None if cases is None else TestReport(0, 0, 0, cases=cases)
    finding = Finding("specification", name, "pass", "")
    one = Ran(CheckSpec(name, "specification", name), finding, report)
    return one, CheckResult("specification", name, status, "", f"sha256:{name}")  # type: ignore[arg-type]


def test_tests_that_name_it_then_commands_that_do_then_all_that_passed(scratch: ScratchFactory, tmp_path: Path) -> None:
    context = owning(scene(scratch(), {"a": "1"}), requirement_refs=("FR-1", "FR-2", "NFR-1", "FR-3"))
    cases = {"test_a::test_fr1_login": "passed", "test_a::test_lockout": "skipped", "test_a::test_speed": "failed"}
    changes = [FileChange("test_a.py", None, TESTS, new=True)]
    checks = [ran("tests", "pass", cases)]
    found, refs = requirements.check(context, [ran("sh check.sh FR-3", "pass"), ran("no", "fail")], checks, changes)
    assert [(f.status, f.data["kind"]) for f in found] == [
        ("pass", "tests"), ("warn", "acceptance"), ("pass", "acceptance"), ("pass", "acceptance"),
    ]  # fmt: skip
    assert found[0].detail == "1 test of its own and 1 acceptance command passed"
    assert "did not run: test_lockout" in found[1].detail
    assert [r["evidence_id"] for r in refs if r["fr_id"] == "FR-1"] == ["sha256:tests", "sha256:sh check.sh FR-3"]
    assert [r["evidence_id"] for r in refs if r["fr_id"] == "FR-3"] == ["sha256:sh check.sh FR-3"]
    found, refs = requirements.check(context, [], [ran("tests", "fail", {})], changes)
    assert ({f.status for f in found}, refs) == ({"warn"}, [])


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("test_fr1_login", True), ("FR-001", True), ("fr_1", True), ("FR 1", True), ("NFR-1", False), ("FR-12", False),
        ("xfr1", False), ("fr1x", True),
    ],
)  # fmt: skip
def test_a_reference_is_known_in_its_usual_forms(text: str, named: bool) -> None:
    assert bool(requirements.naming("FR-1").search(text)) is named
