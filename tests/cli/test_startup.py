"""What a command loads before it does anything: what the verb does not need is not imported."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli import support
from tests.support.repos import ScratchFactory

_LOOK = [
    "agentpkg.checks.pipeline",
    "agentpkg.engine.dispatching.dispatch",
    "agentpkg.git.landing",
    "agentpkg.isolation",
]
_HEAVY = ["asyncio", "ctypes", "ssl", "tomllib", "nats", "acp", "keyring"]

_PROGRAM = """
import sys
from agentpkg.cli import run
code = run(sys.argv[1:])
print(*sorted(sys.modules), file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "unneeded"),
    [
        ("status 001 --json", [*_LOOK, *_HEAVY, "rich"]),
        ("features --json", [*_LOOK, *_HEAVY, "rich", "networkx"]),
        ("implement -h", _HEAVY),
    ],
)
def test_a_verb_loads_only_what_it_needs(scratch: ScratchFactory, words: str, unneeded: list[str]) -> None:
    repo: Path = scratch(support.files())
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *words.split()], cwd=repo, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert not set(unneeded) & set(done.stderr.split())
