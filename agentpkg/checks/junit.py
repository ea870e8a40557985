"""JUnit XML as pytest, cargo-nextest, jest-junit, surefire and others write it.

There is no standard; what all share is ``testcase`` elements with ``failure``, ``error`` or ``skipped`` inside
(https://github.com/testmoapp/junitxml collects the variants).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from agentpkg.checks.base import one_line
from agentpkg.checks.safexml import BadReport, read

_NAMED_FAILURES = 50
#: tests whose own outcome is kept
_CASES = 50_000
#: later words are worse
_ORDER = ("passed", "skipped", "failed")


@dataclass(frozen=True, slots=True)
class TestReport:
    """What a test report says.

    Attributes:
        failed: failures and errors.
        failures: names of the first of them, with their messages.
        cases: ``passed``, ``failed`` or ``skipped`` by ``class::name``, of as many as are kept.
    """

    #: not a test class, whatever its name suggests to pytest
    __test__ = False

    passed: int
    failed: int
    skipped: int
    failures: tuple[str, ...] = ()
    cases: Mapping[str, str] = field(default_factory=dict)

    @property
    def ran(self) -> int:
        """Tests that gave an answer."""
        return self.passed + self.failed


class _Reader:
    def __init__(self) -> None:
        self.counts = dict.fromkeys(_ORDER, 0)
        self.failures: list[str] = []
        self.cases: dict[str, str] = {}
        self.claimed = 0
        self.suites = 0
        self.case = ""
        self.message = ""
        self.status = ""

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        if name in ("testsuite", "testsuites"):
            self.suites += 1
            self.claimed = max(self.claimed, _number(attributes, "failures") + _number(attributes, "errors"))
        elif name == "testcase":
            self.case = "::".join(x for x in (attributes.get("classname", ""), attributes.get("name", "")) if x)
            self.status, self.message = "passed", ""
        elif self.status and name in ("failure", "error"):
            self.status = "failed"
            self.message = self.message or attributes.get("message", "")
        elif self.status == "passed" and name == "skipped":
            self.status = "skipped"

    def end(self, name: str) -> None:
        if name != "testcase":
            return
        self.counts[self.status] += 1
        if len(self.cases) < _CASES:
            # of two by the same name the worse one is told
            self.cases[self.case] = max(self.status, self.cases.get(self.case, "passed"), key=_ORDER.index)
        if self.status == "failed" and len(self.failures) < _NAMED_FAILURES:
            self.failures.append(one_line(f"{self.case}: {self.message}" if self.message else self.case, 300))
        self.status = ""


def parse(data: bytes) -> TestReport:
    """Reads a report.

    A suite whose own attributes claim more failures than it lists is believed.

    Raises:
        BadReport: when it is not XML, or no JUnit report.
    """
    reader = _Reader()
    read(data, reader.start, reader.end)
    if not reader.suites:
        raise BadReport("it has no <testsuite>")
    counts = reader.counts
    return TestReport(
        counts["passed"], max(counts["failed"], reader.claimed), counts["skipped"], tuple(reader.failures), reader.cases
    )


def _number(attributes: Mapping[str, str], name: str) -> int:
    value = attributes.get(name) or "0"
    return int(value) if value.isascii() and value.isdigit() and len(value) < 10 else 0
