import subprocess
import sys
from pathlib import Path

from agentpkg.harnesses import HARNESSES

PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from agentpkg.core.errors import BadInput
from agentpkg.harnesses import harness_named, names
print(names())
print(harness_named("theirs").version_command(None))
for name in ("broken", "nobody"):
    try:
        harness_named(name)
    except BadInput as error:
        print(error.code)
"""


def test_harnesses_of_other_packages_are_found_and_broken_ones_are_errors(tmp_path: Path) -> None:
    info = tmp_path / "their_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[agentpkg.harnesses]\ntheirs = their_package:Theirs\nbroken = their_package:Missing\ncommand = x:y\n"
    )
    (tmp_path / "their_package.py").write_text(
        "class Theirs:\n    name = 'theirs'\n    def version_command(self, agent): return ('theirs', '-V')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.splitlines() == [
        str([*HARNESSES, "broken", "theirs"]),
        "('theirs', '-V')",
        "broken_harness",
        "unknown_harness",
    ], done.stderr
