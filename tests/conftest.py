"""The still world that every test lives in."""

import os
import signal
from pathlib import Path

import pytest

from tests.support.repos import ScratchFactory

#: what of the caller's environment tests may see
_KEPT = {"PATH", "LANG", "VIRTUAL_ENV", "CI", "PYTEST_CURRENT_TEST", "PYTEST_XDIST_WORKER", "COVERAGE_PROCESS_START"}


@pytest.fixture(autouse=True)
def still_world(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, no configuration of the machine's, fixed identity and time zone; gives the home."""
    # a runner in the background ignores Ctrl-C from birth, and so would every process that a test interrupts
    signal.signal(signal.SIGINT, signal.default_int_handler)
    home = tmp_path_factory.mktemp("home")
    for name in list(os.environ):
        if name not in _KEPT:
            monkeypatch.delenv(name)
    for name, value in {
        "HOME": str(home),
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "GIT_CONFIG_NOSYSTEM": "1",
        "NO_COLOR": "1",
        "TMPDIR": str(tmp_path_factory.mktemp("tmp")),
    }.items():
        monkeypatch.setenv(name, value)
    (home / ".gitconfig").write_text(
        "[user]\n\tname = Test User\n\temail = user@example.org\n[init]\n\tdefaultBranch = main\n"
    )
    return home


@pytest.fixture
def scratch(tmp_path: Path) -> ScratchFactory:
    """Makes scratch repositories: ``scratch({"src/a.py": "x"})`` gives the path of one with that commit on main."""
    return ScratchFactory(tmp_path)
