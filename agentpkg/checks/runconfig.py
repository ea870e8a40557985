"""Files that decide how tests run: a package must not choose its own examiner.

Where a candidate changes one of them and the package does not own it (``owned_files`` or ``deliverables``), the copies
get the target's version: a file the target lacks is not there. Nobody owns caches: byte code beside its source can be
that of another source. The review says which, so that a package that needs such
a file can be given it.
"""

import re
from collections.abc import Iterable, Mapping

from agentpkg.checks.base import TEST_QUALITY, Finding, ReviewContext, named
from agentpkg.checks.copy import Override
from agentpkg.checks.tree import Blob
from agentpkg.core.patterns import Patterns

#: gitignore-style; a leading slash means the repository's root
RUN_FILES = (
    # Python: configuration of pytest, unittest, coverage, tox and nox, and modules that would stand in for them
    "conftest.py", "pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml", "tox.ini", "/setup.cfg",
    "/pyproject.toml", ".coveragerc", "/noxfile.py", "sitecustomize.py", "usercustomize.py",
    "/pytest.py", "/pytest/", "/_pytest/", "/pluggy/", "/pluggy.py", "/unittest/", "/unittest.py",
    "/coverage/__init__.py", "/coverage.py", "/runpy.py", "/site.py",
    # JavaScript
    "jest.config.*", "vitest.config.*", "vitest.workspace.*", ".mocharc*", "karma.conf.*", "playwright.config.*",
    "cypress.config.*", "ava.config.*", ".nycrc*", ".c8rc*", "babel.config.*", ".npmrc", ".yarnrc*", "bunfig.toml",
    # others
    "phpunit.xml*", ".rspec", ".simplecov", "/.cargo/", "nextest.toml", "/.mvn/", ".bazelrc", "Makefile", "makefile",
    "GNUmakefile", "justfile", "Justfile", ".justfile", "Taskfile.y*ml",
    # what linters look at, and let pass
    "ruff.toml", ".ruff.toml", "mypy.ini", ".mypy.ini", ".flake8", "pylintrc", ".pylintrc", "pyrightconfig.json",
    ".bandit", ".eslintrc*", ".eslintignore", "eslint.config.*", "biome.json*", ".prettierrc*", ".prettierignore",
    ".stylelintrc*", ".golangci.*", "clippy.toml", ".clippy.toml", ".rubocop.yml", "phpstan.neon*", ".shellcheckrc",
)  # fmt: skip

#: what tools keep of earlier runs and believe: made anew where it is wanted, and nobody's to bring
CACHES = (
    "__pycache__/",
    ".mypy_cache/",
    ".ruff_cache/",
    ".pytest_cache/",
    ".eslintcache",
    "*.tsbuildinfo",
    ".coverage",
)

#: what is installed, not written: programs and libraries that checks find before those of the machine
INSTALLED = (
    "/node_modules/", "/*/node_modules/", "/packages/*/node_modules/", "/.venv/", "/venv/", "/*/.venv/",
    "/.tox/", "/.nox/",
)  # fmt: skip

_WORD = re.compile(r"[\w./+-]+")


def overrides(
    context: ReviewContext, candidate: Mapping[str, Blob], target: Mapping[str, Blob], commands: Iterable[str]
) -> list[Override]:
    """What the copies get from the target instead of the candidate.

    Args:
        candidate: the candidate's files.
        target: the files of the target's tip.
        commands: the command lines; scripts of the repository that they start count too.
    """
    owned = Patterns([*context.wp.owned_files, *(f"/{path}" for path in context.wp.deliverables)])
    caches = Patterns(CACHES)
    return [
        Override(path, target.get(path), candidate.get(path))
        for path in changed(candidate, target, commands)
        if path not in owned or path in caches
    ]


def changed(candidate: Mapping[str, Blob], target: Mapping[str, Blob], commands: Iterable[str]) -> list[str]:
    """The files that decide how tests run and are not the same in both, sorted."""
    deciding = Patterns((*RUN_FILES, *INSTALLED, *CACHES))
    # a script that only the candidate has can't come from the target: the frozen command asks for it
    scripts = {path for command in commands for path in _scripts(command) if path in target}
    different = sorted(path for path in candidate.keys() | target.keys() if candidate.get(path) != target.get(path))
    return [path for path in different if path in scripts or path in deciding]


def check(instead: list[Override]) -> list[Finding]:
    """Tells which files the copies had from the target."""
    if not instead:
        return []
    paths = [item.path for item in instead]
    detail = f"from the target, not from the package: {named(paths)} (owned_files decides who may change them)"
    return [Finding(TEST_QUALITY, "test configuration", "warn", detail, {"from_target": paths})]


def _scripts(command: str) -> set[str]:
    words = {word.removeprefix("./") for word in _WORD.findall(command) if word.startswith("./")}
    return words | {word for word in _WORD.findall(command) if word.endswith((".sh", ".bash"))}
