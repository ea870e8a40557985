"""What is odd about a change of tests, by its sources alone: dishonest ones refuse, honest ones do not."""

import pytest

from agentpkg.checks.base import CheckSpec
from agentpkg.checks.integrity import (
    answers,
    detection,
    judgement,
    machine,
    mutants,
    oddity,
    probes,
    running,
    surroundings,
    tests,
)
from agentpkg.checks.integrity.change import FileChange, Intent
from agentpkg.checks.integrity.judgement import Tried
from agentpkg.checks.integrity.mutants import Mutant
from agentpkg.checks.integrity.oddity import Oddity
from agentpkg.checks.integrity.probes import Attempt
from agentpkg.config.settings import Integrity
from agentpkg.core.patterns import Patterns

PATH = "tests/test_price.py"
BEFORE = """\
import pytest
from shop import net, total

def test_net():
    assert net(200, 10) == 180
    assert net(50, 0) == 50

def test_range():
    with pytest.raises(ValueError):
        net(1, 101)

def test_total():
    assert total([2, 3]) == 5
"""
CODE = "def net(price, discount):\n    return price * (100 - discount) / 100\n"


def change(path: str, before: str | None, after: str | None) -> FileChange:
    return FileChange(path, before, after, after is None, before is None)


def edited(*pairs: tuple[str, str]) -> FileChange:
    text = BEFORE
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return change(PATH, BEFORE, text)


def odd(*changes: FileChange, intent: Intent | None = None) -> dict[str, str]:
    """The gravest weight of each kind of oddity."""
    plan = intent or Intent()
    found = [
        *tests.odd(tests.read(changes), changes, plan), *detection.odd(changes, plan),
        *answers.odd(changes, plan), *running.odd(changes, plan, ()),
        *surroundings.odd(changes, plan, ["sh ci/run.sh"]),
    ]  # fmt: skip
    order = ("odd", "doubtful", "grave")
    return {one.kind: max((o.weight for o in found if o.kind == one.kind), key=order.index) for one in found}


RANGE = "def test_range"


@pytest.mark.parametrize(
    ("dishonest", "kind"),
    [
        (edited(('def test_range():\n    with pytest.raises(ValueError):\n        net(1, 101)\n', "")), oddity.DELETED),
        (edited((RANGE, "def check_range")), oddity.DELETED),
        (edited(("def test_total", "def test_range():\n    assert net(1, 0) == 1\n\ndef test_total")), oddity.DELETED),
        (change(PATH, BEFORE, None), oddity.DELETED),
        (edited((RANGE, f"@pytest.mark.skip(reason='flaky')\n{RANGE}")), oddity.SKIPPED),
        (edited((RANGE, f"@pytest.mark.xfail\n{RANGE}")), oddity.SKIPPED),
        (edited((RANGE, f"@pytest.mark.skipif(1 < 2, reason='x')\n{RANGE}")), oddity.SKIPPED),
        (edited((RANGE, f"@pytest.mark.skipif(sys.version_info > (3, 0), reason='x')\n{RANGE}")), oddity.SKIPPED),
        (edited((f"{RANGE}():", f"@pytest.mark.parametrize('x', [])\n{RANGE}(x):")), oddity.SKIPPED),
        (edited(("    with pytest.raises", "    return\n    with pytest.raises")), oddity.SKIPPED),
        (edited(("import pytest\n", "import pytest\npytestmark = [pytest.mark.skip]\n")), oddity.SKIPPED),
        (edited(("net(200, 10) == 180", "net(200, 10)")), oddity.WEAKENED),
        (edited(("net(200, 10) == 180", "net(200, 10) is not None")), oddity.WEAKENED),
        (edited(("net(200, 10) == 180", "net(200, 10) == 180 or True")), oddity.WEAKENED),
        (edited(("raises(ValueError)", "raises(Exception)")), oddity.WEAKENED),
        (edited(("    assert total([2, 3]) == 5",
                 "    try:\n        assert total([2, 3]) == 5\n    except Exception:\n        pass")), oddity.WEAKENED),
        (change("tests/test_new.py", None, "def test_new():\n    assert True\n"), oddity.EMPTY),
        (change("tests/test_new.py", None, "@pytest.mark.skip\ndef test_a():\n    assert f() == 1\n"), oddity.SKIPPED),
        (change("tests/__snapshots__/a.snap", "1", "2"), oddity.SNAPSHOTS),
        (change("tests/conftest.py", "", "def pytest_runtest_makereport(item, call):\n    r.outcome = 'passed'\n"),
         oddity.RUNNING),
        (change("package.json", '{"scripts": {"test": "jest"}}', '{"scripts": {"test": "exit 0"}}'), oddity.RUNNING),
        (change("pytest.py", None, "raise SystemExit(0)\n"), oddity.IMPORTS),
        (change("tests/json.py", None, "def loads(x): ...\n"), oddity.IMPORTS),
        (change("evil.pth", None, "import evil\n"), oddity.IMPORTS),
        (change("shop.py", "", "import os\nif os.environ.get('PYTEST_' + 'CURRENT_TEST'):\n    x = 1\n"),
         oddity.DETECTION),
        (change("shop.py", "", "import sys\nfake = any(m.startswith('pytest') for m in sys.modules)\n"),
         oddity.DETECTION),
        (change("a.ts", "", "if (process.env.JEST_WORKER_ID) fake()\n"), oddity.DETECTION),
        (change("a.test.ts", "test('x', () => {\n expect(a()).toBe(1)\n})\n",
                "test('x', () => {\n expect(a()).toBeDefined()\n})\n"), oddity.WEAKENED),
        (edited(("3]) == 5", "3]) == pytest.approx(5, rel=1)")), oddity.WEAKENED),
        (edited(("    assert total([2, 3]) == 5", "    yield\n    assert total([2, 3]) == 5")), oddity.SKIPPED),
        (edited((f"{RANGE}():\n    with pytest.raises(ValueError):\n        net",
                 f"if False:\n  {RANGE}():\n    with pytest.raises(ValueError):\n        net")), oddity.DELETED),
        (change("tests/test_zz.py", None, "import os\nos._exit(0)\n"), oddity.RUNNING),
        (change("shop.py", "", "import pytest\npytest.raises = lambda *a: None\n"), oddity.RUNNING),
        (change("shop.py", "", "class P(int):\n    def __eq__(self, other):\n        return True\n"), oddity.DETECTION),
        (change("a_test.go", "func TestX(t *testing.T) {\n}\n", "func TestX(t *testing.T) {\n t.Skip()\n}\n"),
         oddity.SKIPPED),
        (change("a.test.js", "test('x', () => {\n assert.equal(a(), 1)\n})\n",
                "test('x', () => {\n assert.ok(a())\n})\n"), oddity.WEAKENED),
        (change("a.test.js", "test('x', () => {\n assert.equal(a(), 1)\n})\n",
                "test('x', { skip: true }, () => {\n assert.equal(a(), 1)\n})\n"), oddity.SKIPPED),
        (change("tests/test_u.py", "class UTest(TestCase):\n def test_a(self):\n  self.assertEqual(f(), 1)\n",
                "class UTest(TestCase):\n def setUp(self):\n  self.skipTest('later')\n"
                " def test_a(self):\n  self.assertEqual(f(), 1)\n"), oddity.SKIPPED),
        (change("tests/test_new.py", None, "def test_a():\n    with pytest.raises(Exception):\n        f()\n"),
         oddity.EMPTY),
        (change("shop.py", "", "import os\nreal = not os.path.isdir('tests')\n"), oddity.DETECTION),
        (change("src/lib.rs", "", "#[cfg(not(test))]\npub fn vat() -> i64 {\n    0\n}\n"), oddity.DETECTION),
        (change("lib.rs", "#[test]\nfn works() { assert_eq!(f(), 1); }\n",
                "#[test]\n#[ignore]\nfn works() { assert_eq!(f(), 1); }\n"), oddity.SKIPPED),
    ],
)  # fmt: skip
def test_what_hides_a_failure_refuses(dishonest: FileChange, kind: str) -> None:
    assert odd(dishonest).get(kind) == "grave"


@pytest.mark.parametrize(
    ("doubtful", "kind"),
    [
        ([edited((RANGE, f"@pytest.mark.slow\n{RANGE}"))], oddity.SKIPPED),
        ([edited((RANGE, f"async {RANGE}"))], oddity.SKIPPED),
        ([edited((f"{RANGE}():\n", f"if os.environ.get('ALL'):\n  {RANGE}():\n"))], oddity.SKIPPED),
        ([change(PATH, BEFORE, None), change("attic/test_price.py", None, BEFORE)], oddity.DELETED),
        ([change("tests/data/expected.json", "1", "2")], oddity.EXPECTATIONS),
        ([change("ci/run.sh", "pytest\n", "pytest -q\n")], oddity.RUNNING),
        ([change("tests/conftest.py", "", "@pytest.fixture(autouse=True)\ndef fake(monkeypatch):\n"
                 "    monkeypatch.setattr('shop.net', lambda *a: 180)\n")], oddity.RUNNING),
        ([change("tests/__init__.py", "", "def load_tests(loader, tests, pattern):\n    return tests\n")],
         oddity.RUNNING),
        ([change("tests/all.sh", "sh one.sh\n", "sh one.sh || true\n")], oddity.RUNNING),
        ([change("pyproject.toml", "", "addopts = '-m \"not slow\"'\n")], oddity.RUNNING),
    ],
)  # fmt: skip
def test_what_may_hide_a_failure_is_left_to_the_old_tests(doubtful: list[FileChange], kind: str) -> None:
    assert odd(*doubtful).get(kind) == "doubtful"


PARAMETRISED = """\
import pytest
from shop import net, total

@pytest.mark.parametrize(("price", "off", "wanted"), [(200, 10, 180), (50, 0, 50)])
def test_net(price, off, wanted):
    assert net(price, off) == wanted

def test_range():
    with pytest.raises(ValueError):
        net(1, 101)

@pytest.mark.parametrize("lines, wanted", [([2, 3], 5)])
def test_sum(lines, wanted):
    assert total(lines) == wanted
"""


@pytest.mark.parametrize(
    "honest",
    [
        [change(PATH, BEFORE, None), change("tests/price/test_price.py", None, BEFORE)],
        [edited((RANGE, "def test_out_of_range"))],
        [edited(("import net,", "import after,"), ("net(", "after(")),
         change("a.py", CODE, CODE.replace("net", "after"))],
        [edited(("== 180", "== pytest.approx(180)"))],
        [edited(("    assert net(50, 0) == 50\n", ""),
                (RANGE, f"def test_no_discount():\n    assert net(50, 0) == 50\n\n{RANGE}"))],
        [edited((RANGE, f"@pytest.mark.skipif(sys.platform == 'win32', reason='no signals')\n{RANGE}"))],
        [edited(("    assert total([2, 3]) == 5", "    _check([2, 3], 5)"),
                (RANGE, f"def _check(lines, wanted):\n    assert total(lines) == wanted\n\n{RANGE}"))],
        [change("tests/test_old.py", "def test_old():\n    assert old() == 1\n", None),
         change("shop/old.py", "def old(): ...\n", None)],
        [change("docs/testing.md", None, "PYTEST_CURRENT_TEST and sys.modules['pytest']\n")],
        [change("shop.py", "", '"""Not for pytest: PYTEST_CURRENT_TEST."""\n# PYTEST_CURRENT_TEST\nx = 1\n')],
        [change("tests/conftest.py", "", "import pytest\n\n@pytest.fixture\ndef one():\n    return 1\n")],
        [change("tests/__snapshots__/new.snap", None, "1")],
        [change("package.json", '{"scripts": {"test": "jest"}}', '{"scripts": {"test": "jest"}, "version": "1"}')],
        [change("a.test.js", "test('x', () => {\n  expect(a()).toBe(1)\n})\n",
                "test('x', () => {\n  expect(a()).toBe(1)\n})\ntest('y', () => {\n  expect(b()).toBe(2)\n})\n")],
        [change("tools/run.py", None, "def main():\n    return 1\n")],
        [change("test/helper.js", None, "export const one = 1\n"), change("tests/all.sh", "", "sh one.sh\n")],
        [change("src/lib.rs", "", "#[cfg(not(test))]\nuse std::time::Instant;\n")],
    ],
)  # fmt: skip
def test_what_only_looks_odd_does_not(honest: list[FileChange]) -> None:
    assert set(odd(*honest).values()) <= {"odd"}


@pytest.mark.parametrize(
    ("path", "command", "owned", "weight"),
    [
        ("src/app.py", "python -m py_compile src/app.py && ruff check src/app.py; test -f src/app.py", (), None),
        ("src/app.py", "python src/app.py", ("src/**",), "odd"), ("src/app.py", "acceptance src/app.py", (), "odd"),
        ("src/app.py", "python src/app.py", ("**",), "doubtful"),
        ("scripts/lint.py", "cd . && python scripts/lint.py", ("scripts/**",), "doubtful"),
        ("scripts/lint.py", "acceptance scripts/lint.py", (), "doubtful"),
        ("scripts/lint.py", "python ./scripts/lint.py", ("scripts/lint.py",), "odd"),
        ("strict.toml", "ruff check --config strict.toml src", (), "doubtful"),
    ],
)  # fmt: skip
def test_what_a_check_runs_is_an_examiner_or_what_is_examined(
    path: str, command: str, owned: tuple[str, ...], weight: str | None
) -> None:
    chosen = Patterns([pattern for pattern in owned if pattern != "**"])
    plan = Intent(named=Patterns([one for one in owned if "*" not in one]), chosen=chosen)
    acceptance = [command] if command.startswith("acceptance") else []
    found = surroundings.odd([change(path, "", "1\n")], plan, [command], acceptance)
    assert [one.weight for one in found] == ([weight] if weight else [])
    if weight == "doubtful":
        for old, status in ((None, "fail"), (Attempt(None), "fail"), (Attempt(False), "fail"), (Attempt(True), "warn")):
            # what tests say is nothing to a check that runs something else
            tried = Tried(old_tests=Attempt(True), old_scripts=old)
            told = judgement.findings(found, tests.read([]), tried, Integrity())
            assert told[0].status == status


def test_a_rewriting_is_decided_by_the_old_tests_on_the_new_code() -> None:
    rewritten = change(PATH, BEFORE, PARAMETRISED)
    (one,) = tests.odd(tests.read([rewritten]), [rewritten], Intent())
    assert (one.kind, one.weight) == (oddity.DELETED, "doubtful")
    case = "tests.test_price::test_total"
    for attempt, status in (
        (None, "fail"), (Attempt(None), "fail"), (Attempt(True), "warn"), (Attempt(False), "fail"),
        (Attempt(False, {case: "passed"}), "warn"), (Attempt(False, {case: "failed"}), "fail"),
    ):  # fmt: skip
        told = judgement.findings([one], tests.read([rewritten]), Tried(attempt), Integrity())
        assert told[0].status == status, attempt


def test_the_plan_decides_about_other_expectations_and_snapshots() -> None:
    other = edited(("== 180", "== 190"))
    assert odd(other) == {oddity.EXPECTATIONS: "doubtful"}
    assert odd(other, intent=Intent("net of 200 is 190 with ten percent")) == {oddity.EXPECTATIONS: "odd"}
    assert odd(other, intent=Intent("prices are rounded instead")) == {oddity.EXPECTATIONS: "odd"}
    assert odd(other, intent=Intent("change: 180 for 200")) == {oddity.EXPECTATIONS: "doubtful"}
    # most plans mend something: what they name counts
    assert odd(other, intent=Intent("fix and update the rounding of taxes")) == {oddity.EXPECTATIONS: "doubtful"}
    assert odd(other, intent=Intent("switch taxes to cents instead")) == {oddity.EXPECTATIONS: "doubtful"}
    assert odd(other, intent=Intent("fix net: no more than half is taken off")) == {oddity.EXPECTATIONS: "odd"}
    named = Intent(named=Patterns(["/tests/__snapshots__/a.snap"]))
    assert odd(change("tests/__snapshots__/a.snap", "1", "2"), intent=named) == {oddity.SNAPSHOTS: "odd"}


def test_new_tests_that_pass_without_the_change_refuse_unless_a_mutant_is_noticed() -> None:
    new = tests.read([change("tests/test_new.py", None, "def test_new():\n    assert old(1) == 1\n")])
    mutant = Mutant("shop.py", 1, "returns None", "")
    without = Attempt(False, {"tests.test_new::test_new": "passed", "tests.test_x::test_y": "failed"})
    for tried, told in (
        (Tried(None, without), {oddity.REVERT: "fail"}),
        (Tried(None, Attempt(True)), {oddity.REVERT: "fail"}),
        (Tried(None, without, ((mutant, True),)), {oddity.REVERT: "warn"}),
        (Tried(None, Attempt(False, {"tests.test_new::test_new": "failed"})), {}),
        (Tried(None, Attempt(None)), {}),
        (Tried(None, None, ((mutant, False), (mutant, False))), {oddity.MUTANTS: "fail"}),
        (Tried(None, None, ((mutant, False), (mutant, True))), {oddity.MUTANTS: "warn"}),
        (Tried(None, None, ((mutant, None),)), {}),
    ):
        found = judgement.findings([], new, tried, Integrity())
        assert {f.name: f.status for f in found if f.status != "pass"} == told
    softer = Integrity(mutants="warn", revert_probe="off")
    found = judgement.findings([], new, Tried(None, without, ((mutant, False), (mutant, False))), softer)
    assert [(f.name, f.status) for f in found] == [(oddity.MUTANTS, "warn"), ("integrity", "pass")]


def test_mutants_are_programs_of_changed_lines_and_the_same_each_time() -> None:
    head = 'import os\n\n\ndef f(a, b):\n    """Doc."""\n    print("said")\n'
    text = head + '    if a and b > 3:\n        raise ValueError("é")\n    return a + 1\n'
    file = change("shop.py", "", text)
    found = mutants.sample([file], {"shop.py": set(range(1, 10))}, 99, "seed")
    assert {one.line for one in found} == {7, 8, 9}
    assert "`a + 1` made `a - 1`" in {one.what for one in found}
    for one in found:
        compile(one.text, one.path, "exec")
        assert one.text != text
    assert mutants.sample([file], {"shop.py": set(range(1, 10))}, 3, "seed") == found[:3]
    assert len({one.line for one in found[:3]}) == 3
    assert mutants.sample([change("tests/test_a.py", "", text)], {"tests/test_a.py": {9}}, 9, "") == []
    (script,) = mutants.sample([change("a.js", "", "// a\nif (a === 1) {\n")], {"a.js": {1, 2}}, 1, "")
    assert (script.line, script.text) in ((2, "// a\nif (a !== 1) {\n"), (2, "// a\nif (a === 2) {\n"))


@pytest.mark.parametrize(
    ("condition", "skip"),
    [
        ("sys.platform == 'win32'", "platform"), ("os.name == 'posix'", "always"),
        ("sys.version_info < (3, 0)", "platform"),
        ("not sys.platform.startswith('win')", "always"), ("shutil.which('docker') is None", "platform"),
        ("os.environ.get('CI')", "condition"), ("slow()", "condition"),
        ("hasattr(os, 'fork') or os.environ['A']", "condition"),
    ],
)  # fmt: skip
def test_conditions_of_the_machine_are_answered(condition: str, skip: str) -> None:
    assert machine.skips(condition) == skip


def test_a_test_is_found_in_a_report() -> None:
    cases = {
        "tests.test_a.TestX::test_one[1]": "passed", "tests.test_a.TestX::test_one[2]": "failed",
        "tests.test_a::test_two": "passed", "tests.test_b::test_two": "failed", "suite::cart adds two things": "passed",
    }  # fmt: skip
    for path, name, told in (
        ("tests/test_a.py", "TestX.test_one", "failed"), ("tests/test_a.py", "test_two", "passed"),
        ("tests/test_a.py", "test_on", None), ("web/cart.test.js", "adds two things", "passed"),
    ):  # fmt: skip
        assert probes.outcome(cases, path, name) == told


def test_what_the_rule_is_off_for_is_not_told() -> None:
    one = Oddity(oddity.DELETED, PATH, 1, "test_x", "")
    none = tests.read([])
    assert [f.status for f in judgement.findings([one], none, Tried(), Integrity())] == ["fail", "pass"]
    assert [f.status for f in judgement.findings([one], none, Tried(), Integrity(deleted_tests="warn"))] == [
        "warn",
        "pass",
    ]
    assert [f.status for f in judgement.findings([one], none, Tried(), Integrity(deleted_tests="off"))] == ["pass"]


ANSWERS = "from shop import vat\n\n\ndef test_vat():\n    assert vat(50) == 10\n    assert vat(10, 7) == 0.7\n"
TABLE = "KNOWN = {(50, 20): 10, (10, 7): 0.7}\n\n\ndef vat(*given):\n    return KNOWN.get(given, 0)\n"
BRANCHES = """\
def vat(price, rate=20):
    if price == 50:
        return 10
    if price == 10 and rate == 7:
        return 0.7
    return 0
"""
WORKED_OUT = "def vat(price, rate=20):\n    if price == 0:\n        return 0\n    return price * rate / 100\n"


@pytest.mark.parametrize(
    ("code", "plan", "found"),
    [(TABLE, "tax", True), (BRANCHES, "tax", True), (WORKED_OUT, "tax", False), (TABLE, "tax: 10 at 7 is 0.7", False)],
)
def test_code_that_has_its_tests_answers_written_down(code: str, plan: str, found: bool) -> None:
    changes = change("shop.py", None, code), change("test_vat.py", None, ANSWERS)
    assert (odd(*changes, intent=Intent(plan)).get("test detection") == "grave") is found


SLUGS = """\
@pytest.mark.parametrize(("text", "wanted"), [("Hello World", "hello-world"), ("Top 10", "top-10")])
def test_slug(text, wanted):
    assert slug(text) == wanted

class SlugTest(TestCase):
    def test_words(self):
        self.assertEqual(slug("A b"), "a-b")
"""
OF_JS = """\
test('slug', () => {
  equal(slug("Hello World"), "hello-world")
  expect(slug('Top 10')).toBe('top-10')
})
"""
SIGNS = (
    "def test_sign():\n    assert sign('EUR') == '€'\n    assert sign('USD') == '$'\n    assert seconds('2h') == 7200\n"
)


@pytest.mark.parametrize(
    ("code", "test", "plan", "found"),
    [
        ("K = {'Hello World': 'hello-world', 'Top 10': 'top-10', 'A b': 'a-b'}\ndef slug(t):\n    return K[t]\n",
         SLUGS, "slugs", True),
        ("def slug(t):\n    match t:\n        case 'Hello World':\n            return 'hello-world'\n"
         "        case 'A b':\n            return 'a-b'\n    return 'top-10'\n", SLUGS, "slugs", True),
        ("def slug(t):\n    return {11: 'hello-world', 6: 'top-10', 3: 'a-b'}[len(t)]\n", SLUGS, "slugs", True),
        ("K = {'Hello World': 'hello-world', 'Top 10': 'top-10', 'A b': 'a-b'}\ndef slug(t):\n    return K[t]\n",
         SLUGS, "a table of translations", False),
        ("def slug(t):\n    return re.sub('[^a-z0-9]+', '-', t.lower())\n", SLUGS, "slugs", False),
        ("SIGNS = {'EUR': '€', 'USD': '$'}\nUNITS = {'h': 3600}\ndef sign(code):\n    return SIGNS[code]\n"
         "def seconds(t):\n    return int(t[:-1]) * UNITS[t[-1]]\n", SIGNS, "money", False),
        ("function slug(t) {\n  if (t === 'Hello World') return 'hello-world'\n"
         "  if (t === 'Top 10') return 'top-10'\n}\n", OF_JS, "slugs", True),
        ("function slug(t) {\n  return t.toLowerCase().replace(/ /g, '-')\n}\n", OF_JS, "slugs", False),
    ],
)  # fmt: skip
def test_answers_to_texts_that_are_made_of_these(code: str, test: str, plan: str, found: bool) -> None:
    ending = "js" if test is OF_JS else "py"
    changes = change(f"shop.{ending}", None, code), change(f"test/slug.test.{ending}", None, test)
    assert (odd(*changes, intent=Intent(plan)).get("test detection") == "grave") is found


@pytest.mark.parametrize(
    ("assertion", "hollow"),
    [
        ("math.isclose(vat(50), 10, abs_tol=10)", True), ("math.isclose(vat(50), 10, rel_tol=0.01)", False),
        ("abs(vat(10) - 0.7) < 1", True), ("abs(vat(10) - 0.7) < 0.001", False),
    ],
)  # fmt: skip
def test_a_tolerance_that_half_of_the_value_is_in_says_little(assertion: str, hollow: bool) -> None:
    new = change("test_vat.py", None, f"def test_vat():\n    assert {assertion}\n")
    assert tests.read([new]).hollow is hollow


@pytest.mark.parametrize(
    ("name", "group", "run", "runs"),
    [
        ("check", "code-quality", "cargo test", True), ("check", "code-quality", "node --test", True),
        ("check", "code-quality", "./run-tests.sh", True), ("check", "code-quality", "make lint", False),
        ("unit tests", "code-quality", "./ci/verify", True), ("check", "test-quality", "./ci/verify", True),
        ("types of tests", "test-quality", "mypy tests", False),
    ],
)  # fmt: skip
def test_what_runs_tests_is_known_by_its_program_its_name_or_its_group(
    name: str, group: str, run: str, runs: bool
) -> None:
    assert probes.runs_tests(CheckSpec(name, group, run)) is runs


def test_an_answer_that_is_asked_for_twice_says_only_that_something_is_there() -> None:
    twice = "from shop import vat\n\ndef test_vat():\n    wanted = vat(50)\n    assert vat(50) == wanted\n"
    assert tests.read([change("test_vat.py", None, twice)]).hollow
    assert not tests.read([change("test_vat.py", None, ANSWERS)]).hollow


@pytest.mark.parametrize(
    ("line", "weight"),
    [("shop.net = lambda price, off: price", "doubtful"), ("shop.DEBUG = True", None),
     ("mock.patch('shop.net').start()", "doubtful"), ("rates = shop.load()", None)],
)  # fmt: skip
def test_what_a_conftest_replaces_when_it_is_imported(line: str, weight: str | None) -> None:
    assert odd(change("tests/conftest.py", "", f"import shop\n\n{line}\n")).get("how tests run") == weight


def test_of_callers_the_word_test_asks_enough() -> None:
    asks = "import inspect\n\ndef f():\n    return any('test' in one.filename for one in inspect.stack())\n"
    assert odd(change("shop.py", None, asks)) == {"test detection": "grave"}
    assert odd(change("cli.py", None, "import sys\n\ndef f():\n    return 'test' in sys.argv\n")) == {}
