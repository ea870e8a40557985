"""Which changes of a manifest name a new dependency."""

import pytest

from agentpkg.checks.manifests import is_manifest, new_dependencies

PYPROJECT = '[project]\ndependencies = ["requests>=2"]\n'
CARGO = '[dependencies]\nserde = "1"\n'
NPM = '{"dependencies": {"left-pad": "^1.0.0"}}'
GO = "module x\n\nrequire (\n\tgithub.com/a/b v1.0.0 // indirect\n)\n"

CASES = [
    # a version that moves is nothing new
    ("pyproject.toml", PYPROJECT, PYPROJECT.replace(">=2", "[socks] ==3; python_version > '3'"), []),
    ("pyproject.toml", PYPROJECT, PYPROJECT.replace("requests", "Requests"), []),
    ("pyproject.toml", PYPROJECT, PYPROJECT.replace('"]', '", "evil"]'), ["evil"]),
    ("pyproject.toml", PYPROJECT, PYPROJECT.replace(">=2", " @ git+https://evil/x"),
     ["requests from git+https://evil/x"]),
    ("pyproject.toml", PYPROJECT, PYPROJECT + "[dependency-groups]\ndev = ['evil', {include-group = 'x'}]\n", ["evil"]),
    ("pyproject.toml", PYPROJECT, PYPROJECT + "optional-dependencies = {x = ['evil']}\n", ["evil"]),
    ("pyproject.toml", PYPROJECT, PYPROJECT + "[build-system]\nrequires = ['evil']\nbackend-path = ['.']\n",
     ["build backend from .", "evil"]),
    ("pyproject.toml", PYPROJECT, PYPROJECT + "[tool.poetry.group.dev.dependencies]\nevil = '1'\n", ["evil"]),
    ("pyproject.toml", PYPROJECT, PYPROJECT + "[tool.uv.sources]\nrequests = {git = 'https://evil'}\n",
     ["requests from https://evil"]),
    ("pyproject.toml", None, PYPROJECT, ["requests"]),
    ("sub/pyproject.toml", PYPROJECT, "not toml at all [", None),
    ("pyproject.toml", "not toml [", PYPROJECT, ["requests"]),
    ("pyproject.toml", PYPROJECT, "project = 3", None),
    ("requirements.txt", "a==1\n", "a==2 --hash=sha256:0\n# b\n\nc[x]>1 ; os_name=='nt'\n", ["c"]),
    ("requirements-dev.txt", "a\n", "a\n-r other.txt\n--index-url https://evil\ngit+https://evil/b\n",
     ["--index-url https://evil", "-r other.txt", "something from git+https://evil/b"]),
    ("requirements/dev.txt", "a\n", "a\nb \\\n  ==1\n", ["b"]),
    ("Cargo.toml", CARGO, CARGO.replace('"1"', '"2"') + 'evil = {version = "1", features = ["x"]}\n', ["evil"]),
    ("Cargo.toml", CARGO, CARGO.replace('"1"', '{git = "https://evil"}'), ["serde from https://evil"]),
    ("Cargo.toml", CARGO, CARGO + "[target.'cfg(unix)'.build-dependencies]\nevil = '1'\n", ["evil"]),
    ("Cargo.toml", CARGO, CARGO + "[patch.crates-io]\nserde = {path = 'x'}\n", ["serde from x (patch of crates-io)"]),
    ("package.json", NPM, NPM.replace("^1.0.0", ">=2 <3 || latest"), []),
    ("package.json", NPM, NPM.replace("^1.0.0", "evil/repo"), ["left-pad from evil/repo"]),
    ("package.json", NPM, NPM.replace("^1.0.0", "npm:evil@1"), ["left-pad from npm:evil@1"]),
    ("package.json", NPM, NPM[:-1] + ', "devDependencies": {"evil": "1"}, "scripts": {"install": "x", "test": "y"}}',
     ["evil", "install script x"]),
    ("package.json", NPM, NPM[:-1] + ', "dependencies": []}', None),
    ("go.mod", GO, GO.replace("v1.0.0", "v2.0.0"), []),
    ("go.mod", GO, GO + "require evil.com/x v1\nreplace github.com/a/b => ../local\n",
     ["evil.com/x", "github.com/a/b from ../local"]),
    ("composer.json", '{"require": {"a/b": "1"}}', '{"require": {"a/b": "2", "c/d": "1"}}', ["c/d"]),
    ("Pipfile", "[packages]\na = '*'\n", "[packages]\na = '*'\n[dev-packages]\nb = '*'\n", ["b"]),
    # programs, and formats without a reader
    ("setup.py", "setup()", "setup(install_requires=['x'])", None),
    ("app/App.csproj", "<a/>", "<b/>", None),
]  # fmt: skip


@pytest.mark.parametrize(("path", "before", "after", "new"), CASES)
def test_a_new_name_or_a_new_place_is_a_new_dependency(
    path: str, before: str | None, after: str, new: list[str] | None
) -> None:
    assert is_manifest(path)
    assert new_dependencies(path, None if before is None else before.encode(), after.encode()) == new


@pytest.mark.parametrize("path", ["src/a.py", "README.md", "my-requirements.md", "package-lock.json", "docs/go.mod.md"])
def test_other_files_are_no_manifests(path: str) -> None:
    assert not is_manifest(path)


@pytest.mark.parametrize("data", [b"\xff\xfe", b"[" * 100_000, b"", b"{}", b"null", b"[]"])
@pytest.mark.parametrize("path", ["pyproject.toml", "package.json", "Cargo.toml", "go.mod", "requirements.txt"])
def test_whatever_stands_in_it_a_manifest_never_breaks_the_review(path: str, data: bytes) -> None:
    found = new_dependencies(path, b"", data)
    assert found is None or isinstance(found, list)
    assert new_dependencies(path, data, b"") in ([], None)
