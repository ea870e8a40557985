"""Standard streams that are closed, full or broken: the work goes on, and words stay words."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli import support
from tests.cli.support import Said, cli
from tests.support.repos import ScratchFactory

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")


@pytest.fixture
def repo(scratch: ScratchFactory) -> Path:
    return scratch(support.files())


def redirected(repo: Path, how: str, *args: str) -> Said:
    """Runs the program as a shell would with ``how`` behind it."""
    words = ["/bin/sh", "-c", f'exec "$@" {how}', "sh", sys.executable, "-m", "agentpkg", *args]
    environ = dict(os.environ)
    done = subprocess.run(words, cwd=repo, env=environ, capture_output=True, text=True, timeout=60, check=False)
    return Said(done.returncode, done.stdout, done.stderr)


@pytest.mark.slow
def test_with_every_stream_closed_the_work_is_done(repo: Path) -> None:
    assert redirected(repo, "<&- >&- 2>&-", "implement", "001", "--wp", "WP01").code == 0
    assert cli(repo, "status", "001", "--json").json["work_packages"][0]["state"] == "for_review"


def test_a_closed_standard_output_takes_the_result_with_it(repo: Path) -> None:
    assert redirected(repo, ">&-", "features") == Said(0, "", "")


@pytest.mark.slow
@pytest.mark.parametrize("args", [["features"], ["features", "--json"]])
def test_a_full_standard_output_is_one_error_with_a_hint(args: list[str], repo: Path) -> None:
    said = redirected(repo, ">/dev/full", *args)
    assert said.code == 1
    error, hint = said.err.splitlines()
    assert error.startswith("error: standard output cannot be written: ")
    assert hint.startswith("hint: ")


def test_an_error_that_cannot_be_written_is_told_on_the_other_stream(repo: Path) -> None:
    said = redirected(repo, ">/dev/full", "status", "nothing", "--json")
    assert said.code == 1
    assert "Traceback" not in said.err
    assert "Exception ignored" not in said.err


def test_a_full_standard_error_stops_nothing(repo: Path) -> None:
    (repo / "features" / "002-bad").mkdir()
    (repo / "features" / "002-bad" / "plan.md").write_text("x")
    said = redirected(repo, "2>/dev/full", "features")
    assert said.code == 0
    assert "002-bad" in said.out
