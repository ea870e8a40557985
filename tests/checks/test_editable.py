import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from agentpkg.checks import editable
from agentpkg.checks.base import NoVerdict, Reviewed
from agentpkg.checks.pipeline import run_all
from agentpkg.core.model import Verdict
from tests.checks.scene import checks, scene, store
from tests.support.repos import ScratchFactory

TEST = "import auth\n\n\ndef test_auth():\n    assert auth.NEW\n"


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """An interpreter of its own that has pytest from the one that runs the tests."""
    home = tmp_path / "venv"
    venv.EnvBuilder(with_pip=False, symlinks=True).create(home)
    (site(home) / "borrowed.pth").write_text(f"{Path(pytest.__file__).parent.parent}\n")
    return home / "bin" / "python"


def site(home: Path) -> Path:
    return home / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"


def install_editable(python: Path, source: Path) -> None:
    """What ``pip install -e`` leaves for a src layout."""
    (site(python.parent.parent) / "__editable__.auth.pth").write_text(f"{source}\n")


def install_editable_with_finder(python: Path, source: Path) -> None:
    """What setuptools leaves for layouts that a path cannot express: a finder behind the others."""
    text = f"""
import sys
from importlib.util import spec_from_file_location
class Finder:
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name == "auth":
            return spec_from_file_location(name, {str(source / "auth" / "__init__.py")!r})
def install():
    sys.meta_path.append(Finder)
"""
    folder = site(python.parent.parent)
    (folder / "__editable___auth_finder.py").write_text(text)
    (folder / "__editable__.auth.pth").write_text(
        "import __editable___auth_finder; __editable___auth_finder.install()\n"
    )


@pytest.mark.slow
@pytest.mark.parametrize("install", [install_editable, install_editable_with_finder])
def test_an_editable_install_of_the_users_tree_is_no_verdict(
    scratch: ScratchFactory, tmp_path: Path, python: Path, install: object
) -> None:
    repo = scratch({"src/auth/__init__.py": "NEW = False\n"})
    assert callable(install)
    install(python, repo / "src")
    change = {"src/auth/__init__.py": "NEW = True\n", "tests/test_auth.py": TEST}
    out = run_all(scene(repo, change, checks=checks(f"{python} -m pytest -q tests")), store(tmp_path))
    assert isinstance(out, NoVerdict), out
    assert f"{python} imports auth from {repo}/src/auth/__init__.py" in out.reason
    assert "pythonpath" in out.fix


@pytest.mark.slow
@pytest.mark.parametrize(
    ("files", "run"),
    [
        ({"pytest.ini": "[pytest]\npythonpath = src\n"}, "{python} -m pytest -q tests"),
        ({}, "PYTHONPATH=src {python} -m pytest -q tests"),
        ({"tests/conftest.py": "import sys\nsys.path.insert(0, 'src')\n"}, "{python} -m pytest -q tests"),
    ],
)
def test_an_editable_install_that_the_tests_do_not_use_does_no_harm(
    scratch: ScratchFactory, tmp_path: Path, python: Path, files: dict[str, str], run: str
) -> None:
    repo = scratch({"src/auth/__init__.py": "NEW = False\n", **files})
    install_editable(python, repo / "src")
    change = {"src/auth/__init__.py": "NEW = True\n", "tests/test_auth.py": TEST}
    out = run_all(scene(repo, change, checks=checks(run.format(python=python))), store(tmp_path))
    assert isinstance(out, Reviewed), out
    assert out.verdict is Verdict.APPROVED, out.checks


@pytest.mark.slow
def test_a_package_at_the_root_is_imported_from_the_copy(scratch: ScratchFactory, tmp_path: Path, python: Path) -> None:
    repo = scratch({"auth/__init__.py": "NEW = False\n"})
    install_editable(python, repo)
    change = {"auth/__init__.py": "NEW = True\n", "tests/test_auth.py": TEST}
    context = scene(repo, change, checks=checks(f"{python} -m pytest -q"))
    out = run_all(context, store(tmp_path))
    assert isinstance(out, Reviewed), out
    assert out.verdict is Verdict.APPROVED, out.checks


def test_a_sitecustomize_of_the_machine_still_runs(tmp_path: Path, python: Path) -> None:
    (site(python.parent.parent) / "sitecustomize.py").write_text("import builtins\nbuiltins.MARK = 1\n")
    env = editable.watch({"PATH": os.environ["PATH"]}, ["auth"], tmp_path, tmp_path / "notes")
    code = "import importlib.util as u; print(u.find_spec('auth'), MARK)"
    done = subprocess.run([python, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "None 1\n"


def test_interpreters_are_found_by_name_and_by_a_scripts_first_line(tmp_path: Path, python: Path) -> None:
    script = python.parent / "mytool"
    script.write_text(f"#!{python}\n")
    script.chmod(0o755)
    env = {"PATH": f"{python.parent}:/nonexistent"}
    assert editable.interpreters("PYTHONPATH=src mytool -x && true", env) == [
        str(python), str(python.parent / "python3"),
    ]  # fmt: skip


def test_the_projects_packages_are_found_at_the_root_and_below_src() -> None:
    paths = ["src/auth/__init__.py", "app/main.py", "tool.py", "docs/conf.py", "json/x.py", "a-b/c.py", "README.md"]
    assert editable.packages(paths) == ["app", "auth", "tool"]
