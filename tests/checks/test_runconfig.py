import sys
from pathlib import Path

import pytest

from agentpkg.checks import copy, runconfig, tree
from agentpkg.checks.base import NoVerdict, ReviewContext, Reviewed
from agentpkg.checks.pipeline import run_all
from agentpkg.config.settings import Integrity
from agentpkg.core.model import Verdict
from tests.checks.scene import checks, named, owning, scene, store
from tests.support.repos import ScratchFactory, git

PYTEST = f"{sys.executable} -m pytest -q -p no:cacheprovider --junitxml=report.xml"
FAILING = "def test_it():\n    assert False\n"
LIAR = """
import pytest

@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    outcome.get_result().outcome = "passed"
"""


def verdict(outcome: Reviewed | NoVerdict) -> Verdict:
    assert isinstance(outcome, Reviewed), outcome
    return outcome.verdict


@pytest.mark.slow
@pytest.mark.parametrize(
    "evil",
    [
        {"conftest.py": LIAR},
        {"tests/conftest.py": LIAR},
        {"pytest.ini": "[pytest]\naddopts = --deselect tests/test_it.py::test_it\n"},
        {"pyproject.toml": '[tool.pytest.ini_options]\naddopts = "--ignore=tests/test_it.py"\n'},
        {"pytest.py": "open('report.xml', 'w').write('<testsuite><testcase/></testsuite>')\n"},
        {
            "pytest/__main__.py": "open('report.xml', 'w').write('<testsuite><testcase/></testsuite>')\n",
            "pytest/__init__.py": "",
        },
    ],
    ids=lambda evil: next(iter(evil)),
)
def test_a_package_does_not_choose_its_own_examiner(
    scratch: ScratchFactory, tmp_path: Path, evil: dict[str, str]
) -> None:
    change = {"tests/test_it.py": FAILING, "tests/test_other.py": "def test_other():\n    pass\n", **evil}
    context = scene(scratch(), change, checks=checks(PYTEST, report="report.xml"), integrity=Integrity(probe_seconds=0))
    out = run_all(context, store(tmp_path))
    assert verdict(out) is Verdict.CHANGES_REQUESTED
    assert isinstance(out, Reviewed)
    assert named(out.checks, "check1").status == "fail"
    assert next(iter(evil)) in named(out.checks, "test configuration").detail
    # that the attack would work otherwise
    trusting = owning(context, owned_files=("*",))
    trusted = run_all(trusting, store(tmp_path))
    assert isinstance(trusted, Reviewed)
    assert named(trusted.checks, "check1").status == "pass"
    assert trusted.verdict is Verdict.CHANGES_REQUESTED


@pytest.mark.slow
def test_a_package_that_owns_its_fixtures_has_them(scratch: ScratchFactory, tmp_path: Path) -> None:
    change = {
        "tests/conftest.py": "import pytest\n\n@pytest.fixture\ndef one():\n    return 1\n",
        "tests/test_one.py": "def test_one(one):\n    assert one == 1\n",
    }
    context = scene(scratch(), change, wp={"owned_files": ("tests/**",)}, checks=checks(PYTEST, report="report.xml"))
    assert verdict(run_all(context, store(tmp_path))) is Verdict.APPROVED
    listed = owning(context, owned_files=(), deliverables=("tests/conftest.py",))
    assert verdict(run_all(listed, store(tmp_path))) is Verdict.APPROVED


def overridden(context: ReviewContext, *commands: str) -> dict[str, bool]:
    after, before = (tree.files(context.control, c) for c in (context.candidate, context.base))
    return {o.path: o.shown is not None for o in runconfig.overrides(context, after, before, commands)}


def test_the_targets_version_lies_in_the_copy_and_git_shows_no_change(scratch: ScratchFactory) -> None:
    repo = scratch({"pytest.ini": "[pytest]\n", "tox.ini": "kept\n", "a": "1"})
    context = scene(repo, {"pytest.ini": "[pytest]\naddopts = -x\n", "conftest.py": "", "a": "2"}, remove=("tox.ini",))
    assert overridden(context) == {"conftest.py": False, "pytest.ini": True, "tox.ini": True}
    after, before = (tree.files(context.control, c) for c in (context.candidate, context.base))
    with copy.throw_away(context, runconfig.overrides(context, after, before, [])) as place:
        assert (place.root / "pytest.ini").read_text() == "[pytest]\n"
        assert (place.root / "tox.ini").read_text() == "kept\n"
        assert not (place.root / "conftest.py").exists()
        assert (place.root / "a").read_text() == "2"
        assert git(place.root, "status", "--porcelain", "--untracked-files=no") == ""


def test_scripts_that_a_command_starts_come_from_the_target(scratch: ScratchFactory) -> None:
    context = scene(scratch({"run.sh": "false\n", "ci/test": "false\n"}), {"run.sh": "true\n", "ci/test": "true\n"})
    assert overridden(context, "sh run.sh && ./ci/test -v") == {"ci/test": True, "run.sh": True}
    assert overridden(context, "python -m pytest") == {}
    assert overridden(owning(context, owned_files=("ci/**",)), "sh run.sh; ./ci/test") == {"run.sh": True}


def test_nobody_brings_caches_and_installed_code_only_who_owns_it(scratch: ScratchFactory) -> None:
    byte_code, library = "src/__pycache__/a.cpython-311.pyc", ".venv/bin/python"
    context = scene(scratch(), {byte_code: "of another source", library: "exit 0", ".npmrc": "script-shell=true\n"})
    assert overridden(context) == {".npmrc": False, byte_code: False, library: False}
    assert overridden(owning(context, owned_files=("**",))) == {byte_code: False}


def test_a_check_whose_script_the_package_changes_also_has_to_pass_with_the_targets(
    scratch: ScratchFactory, tmp_path: Path
) -> None:
    lint = "import sys\n\nsys.exit('bad' in open('a.txt').read())\n"
    repo = scratch({"tools/lint.py": lint, "a.txt": "good\n"})
    for text, verdict_ in (("better\n", Verdict.APPROVED), ("bad\n", Verdict.CHANGES_REQUESTED)):
        change = {"tools/lint.py": lint.replace("sys.exit(", "print("), "a.txt": text}
        context = scene(repo, change, checks=checks(f"{sys.executable} tools/lint.py"))
        assert verdict(run_all(context, store(tmp_path))) is verdict_
