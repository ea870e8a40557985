"""What is tried in copies: real pytest in real copies."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agentpkg.checks.base import Reviewed
from agentpkg.checks.pipeline import run_all
from agentpkg.config.settings import Integrity
from agentpkg.core.model import Verdict
from tests.checks.scene import checks, named, scene, store
from tests.support.repos import ScratchFactory

PYTEST = f"{sys.executable} -m pytest -q -p no:cacheprovider"
PRICE = "def net(price, off):\n    return price * (100 - off) / 100\n"
TEST = "from price import net\n\n\ndef test_net():\n    assert net(200, 10) == 180\n"
BASE = {"price.py": PRICE, "test_price.py": TEST, "conftest.py": ""}
VAT = PRICE + "\n\ndef vat(price):\n    return price * 20 / 100\n"


def review(
    scratch: ScratchFactory, tmp_path: Path, change: Mapping[str, str], base: Mapping[str, str] = BASE, **rules: Any
) -> Reviewed:
    context = scene(scratch(base), change, checks=checks(PYTEST), integrity=Integrity(**rules))
    out = run_all(context, store(tmp_path))
    assert isinstance(out, Reviewed), out
    return out


@pytest.mark.slow
def test_a_test_that_tests_the_change_is_approved_and_one_that_does_not_is_refused(
    scratch: ScratchFactory, tmp_path: Path
) -> None:
    good = "from price import vat\n\n\ndef test_vat():\n    assert vat(50) == 10\n"
    out = review(scratch, tmp_path, {"price.py": VAT, "test_vat.py": good}, mutants_tried=1)
    assert out.verdict is Verdict.APPROVED, out.checks
    proof = json.loads(store(tmp_path).get(named(out.checks, "integrity").evidence or "") or b"")["data"]
    assert proof["new_tests"]["passed"] is False
    assert [one["noticed"] for one in proof["mutants"]] == [True]

    hollow = "import price\n\n\ndef test_vat():\n    assert price.net(100, 80) == 20\n"
    out = review(scratch, tmp_path, {"price.py": VAT, "test_vat.py": hollow}, mutants_tried=1)
    assert named(out.checks, "revert probe").status == "fail"
    assert named(out.checks, "mutants").status == "fail"
    assert named(out.checks, "check1").status == "pass"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("does", "status"), [("os._exit(0)", "fail"), pytest.param("print(1)", "warn", marks=pytest.mark.exhaustive)]
)
def test_a_product_that_ends_the_run_of_its_tests_in_their_place_is_refused(
    scratch: ScratchFactory, tmp_path: Path, does: str, status: str
) -> None:
    good = "from price import vat\n\n\ndef test_vat():\n    assert vat(50) == 10\n"
    ends = f"import atexit, os\n\n{VAT}\n\natexit.register(lambda: {does})\n"
    out = review(scratch, tmp_path, {"price.py": ends, "test_vat.py": good}, mutants_tried=0)
    assert named(out.checks, "how tests run").status == status, out.checks


@pytest.mark.slow
def test_old_tests_decide_on_a_rewriting(scratch: ScratchFactory, tmp_path: Path) -> None:
    rewritten = (
        "from price import net\n\n\ndef test_all():\n    for off in (10,):\n        assert net(200, off) == {}\n"
    )
    out = review(scratch, tmp_path, {"test_price.py": rewritten.format(180)})
    assert (out.verdict, named(out.checks, "deleted tests").status) == (Verdict.APPROVED, "warn")
    wrong = {"price.py": PRICE.replace("/ 100", "// 90"), "test_price.py": rewritten.format(200)}
    out = review(scratch, tmp_path, wrong, mutants_tried=0)
    assert named(out.checks, "deleted tests").status == "fail"
    assert "fails on the new code" in named(out.checks, "deleted tests").detail


ONCE = """\
from pathlib import Path


def test_once():
    here = Path({!r})
    seen = here.exists()
    here.touch()
    assert seen
"""


@pytest.mark.slow
def test_failures_of_the_target_and_flaky_ones_are_told_from_new_ones(scratch: ScratchFactory, tmp_path: Path) -> None:
    red = {**BASE, "test_red.py": "def test_red():\n    assert 0\n"}
    out = review(scratch, tmp_path, {"README.md": "more"}, red, reruns=1)
    assert (out.verdict, named(out.checks, "check1").status) == (Verdict.APPROVED, "warn")
    assert "test_red::test_red fail on the target too" in named(out.checks, "known failures").detail
    out = review(scratch, tmp_path, {"price.py": PRICE.replace("/ 100", "")}, red, reruns=1)
    assert (out.verdict, named(out.checks, "check1").status) == (Verdict.CHANGES_REQUESTED, "fail")

    marker = tmp_path / "once"
    once = {"test_once.py": ONCE.format(str(marker))}
    out = review(scratch, tmp_path, {"README.md": "more"}, {**BASE, **once}, reruns=1)
    assert (out.verdict, named(out.checks, "flaky tests").status) == (Verdict.APPROVED, "warn")
    marker.unlink()
    assert review(scratch, tmp_path, once, reruns=1).verdict is Verdict.CHANGES_REQUESTED
