"""The project as a whole: what its files promise about each other."""

import os
import pwd
import re
import tomllib
from pathlib import Path

import pytest

from agentpkg import __version__
from agentpkg.cli import VERBS

ROOT = Path(__file__).parents[1]

#: what is written by people and shipped to others
_FOLDERS = ("agentpkg", "tests", "bench", "docs", "features", ".kittify", ".ci")


def _is_generated(path: Path) -> bool:
    """Caches, in folders that begin with a dot, and compiled modules."""
    return any(part.startswith(".") for part in path.parts) or path.suffix == ".pyc"


_TEXTS = sorted(
    path
    for top in _FOLDERS
    for path in (ROOT / top).rglob("*")
    if path.is_file() and path != Path(__file__) and not _is_generated(path.relative_to(ROOT / top))
) + sorted(path for path in ROOT.iterdir() if path.is_file() and path.suffix in (".md", ".toml", ""))

PAGES = ["README.md", "CONTRIBUTING.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]


def _lines(pattern: str) -> list[str]:
    """Where a pattern stands in the project's texts."""
    expression = re.compile(pattern)
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for path in _TEXTS
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1)
        if expression.search(line)
    ]


def test_nothing_is_left_to_do() -> None:
    assert _lines(r"\b(TODO|FIXME|XXX|HACK)\b") == []


def test_nothing_names_a_folder_of_the_machine_it_was_written_on() -> None:
    home = pwd.getpwuid(os.getuid()).pw_dir
    places = [str(place) for place in (ROOT, Path(home)) if len(place.parts) > 2 or place == Path("/root")]
    assert (
        _lines("|".join([r"(?<![\w.])/(home|Users)/[a-z]\w+/", *(rf"(?<![\w.]){re.escape(p)}/" for p in places)])) == []
    )


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_that_a_page_shows_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    code = re.findall(r"^```.*?^```|^    .+$|`[^`\n]+`", text, re.MULTILINE | re.DOTALL)
    verbs = {verb for part in code for verb in re.findall(r"(?:^|[`|;]|[$&] )\s*agentpkg ([a-z]+)", part, re.MULTILINE)}
    assert verbs - set(VERBS) == set()
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    used = {name for part in code for name in re.findall(r"(?:^|`|\$ )\s*make ([a-z][a-z-]*)", part, re.MULTILINE)}
    assert used - targets == set()


@pytest.mark.parametrize("page", PAGES)
def test_the_links_of_a_page_lead_somewhere(page: str) -> None:
    path = ROOT / page
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", path.read_text())
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_the_changelog_tells_of_this_version() -> None:
    assert re.search(rf"^## \[?({re.escape(__version__)})\]?", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_every_key_of_the_configuration_is_documented() -> None:
    from agentpkg.config.schema import variables

    text = (ROOT / "docs/configuration.md").read_text()
    assert [key for path in variables().values() if f"`{(key := '.'.join(path))}`" not in text] == []


def test_every_command_is_documented() -> None:
    text = (ROOT / "docs/commands.md").read_text()
    assert [verb for verb in VERBS if f"agentpkg {verb}" not in text] == []


def test_the_package_tells_that_it_is_typed() -> None:
    assert (ROOT / "agentpkg/py.typed").exists()
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    assert "Typing :: Typed" in classifiers


def test_the_scripts_can_be_run() -> None:
    assert (ROOT / ".ci/run").stat().st_mode & 0o111
