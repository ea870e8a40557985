"""Tests that root has an ordinary user run, with everything that they start."""

import os
import shutil
import site
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_NOBODY = 65534


def pytest_as_user(*tests: str, seconds: float = 120) -> "subprocess.CompletedProcess[str]":
    """Runs tests as an ordinary user, in an environment of its own; skips the calling test where that cannot be."""
    if os.geteuid() != 0:
        pytest.skip("this is an ordinary user")
    python = next((p for p in (sys.executable, "/usr/bin/python3") if _usable(p)), None)
    if python is None:
        pytest.skip("no Python of this version can be run by an ordinary user")
    there = Path("/tmp") / f"agentpkg-user-{os.getpid()}"
    there.mkdir()
    try:
        os.chown(there, _NOBODY, _NOBODY)
        _as_user([python, "-m", "venv", "--without-pip", str(there / "venv")], there, seconds)
        library = next((there / "venv" / "lib").glob("python*/site-packages"))
        # processes that agentpkg starts find its libraries too, whatever their environment
        (library / "here.pth").write_text("".join(f"{path}\n" for path in (ROOT, *site.getsitepackages())))
        options = ("-q", "-p", "no:cacheprovider", f"--basetemp={there}/tmp")
        return _as_user([str(there / "venv" / "bin" / "python"), "-m", "pytest", *options, *tests], there, seconds)
    finally:
        subprocess.run(["chmod", "-R", "u+rwx", str(there)], stderr=subprocess.DEVNULL, check=False)
        shutil.rmtree(there)


def _as_user(argv: list[str], home: Path, seconds: float) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        argv, user=_NOBODY, group=_NOBODY, extra_groups=[], cwd=ROOT, capture_output=True, text=True, timeout=seconds,
        env={"PATH": "/usr/bin:/bin", "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip


def _usable(python: str) -> bool:
    """Whether an ordinary user can run this interpreter, and it is of this one's version."""
    code = "import sys; sys.path[:0] = sys.argv[1:]; import pytest, agentpkg; print(sys.version_info[:2])"
    argv = [python, "-c", code, str(ROOT), *site.getsitepackages()]
    try:
        done = subprocess.run(
            argv, user=_NOBODY, group=_NOBODY, extra_groups=[], capture_output=True, text=True, cwd="/", check=False
        )
    except OSError:
        return False
    return done.stdout.strip() == str(sys.version_info[:2])
