"""What a file is for, by its path: tests, their snapshots, what decides how they run, code, words."""

import re

from agentpkg.checks.runconfig import INSTALLED, RUN_FILES
from agentpkg.core.patterns import Patterns

_TEST = re.compile(
    r"(^|/)(tests?|__tests__|spec|specs|testing|e2e|itest|integration_tests?)/"
    r"|(^|/)(test_[^/]*|[^/]*_test|[^/]*_spec|[^/]*[.-](test|spec|cy)|[^/]*Tests?|[^/]*IT|tests)\.\w+$"
    r"|(^|/)conftest\.py$"
)
_SNAPSHOT = re.compile(
    r"(^|/)(__snapshots__|snapshots?|goldens?|golden_files|__image_snapshots__|cassettes)/"
    r"|\.(snap|ambr|golden|approved(\.\w+)?|snapshot)$"
)
_CODE = re.compile(
    r"\.(pyi?|pyx|[mc]?js|jsx|[mc]?ts|tsx|vue|svelte|go|rs|rb|java|kts?|scala|groovy|cs|fs|vb|c|h|cc|cpp|cxx|hpp|mm?|swift"
    r"|php|p[lm]|exs?|erl|hs|ml|clj|lua|dart|r|jl|sh|bash|zig|nim|sql)$",
    re.IGNORECASE,
)
_RUN = Patterns((*RUN_FILES, *INSTALLED))
_INSTALLED = Patterns(INSTALLED)


def is_snapshot(path: str) -> bool:
    """What tests compare their results with, recorded from an earlier run."""
    return bool(_SNAPSHOT.search(path))


def is_run_file(path: str) -> bool:
    """It decides how tests run."""
    return path in _RUN


def is_installed(path: str) -> bool:
    """A library or program that is usually installed, and not part of a project."""
    return path in _INSTALLED


def is_test(path: str) -> bool:
    """Test code, or data of tests."""
    return bool(_TEST.search(path)) or is_snapshot(path)


def is_code(path: str) -> bool:
    """Source code in some language."""
    return bool(_CODE.search(path))


def is_product(path: str) -> bool:
    """Code that tests are about."""
    return is_code(path) and not is_test(path) and not is_run_file(path)


def is_python(path: str) -> bool:
    """Python source."""
    return path.endswith((".py", ".pyi"))
