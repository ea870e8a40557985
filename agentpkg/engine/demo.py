"""The demo's scratch repository: the sample feature, the sample project, and agents that replay recorded work."""

import shutil
from importlib import resources
from pathlib import Path

import agentpkg
from agentpkg.core.errors import Lacking
from agentpkg.engine.scratch import first_commit

#: the sample feature: at the top of the project's tree, and inside the wheel
FEATURE = "003-auth-system"
_IN_WHEEL = "sample"

#: files whose names would mean something to git, or to a packager, where the sample lies
_RENAMED = {"gitignore": ".gitignore"}

_CONFIG = """\
project: {{name: small-web-service}}
agent:
  harness: recorded
  timeout_seconds: 120
  kill_grace_seconds: 2
  retries: 0
  constraints:
    allowed_paths: ["src/", "tests/"]
    forbidden_paths: ["tests/contract/"]
agents:
  # plays recorded work in a real process; put your own agent here
  recorded: {{harness: replay, transcripts: "{transcripts}"}}
review:
  # one fault tried in each package's lines, for the demo's sake; three are the default
  integrity: {{mutants_tried: 1}}
  checks:
    - name: tests
      group: test-quality
      run: python -m pytest -q --junitxml=report.xml
      report: report.xml
      minimum_tests: 1
run: {{jobs: 3}}
"""

_CONSTITUTION = """\
# Constitution

- Standard library only
- Every public function says in one sentence what it gives
- A change comes with a test that fails without it
"""


def sample() -> Path:
    """The folder of the sample feature. Raises :class:`Lacking` when the installation is incomplete."""
    beside = Path(agentpkg.__file__).parents[1] / "features" / FEATURE
    inside = Path(str(resources.files("agentpkg"))) / _IN_WHEEL / FEATURE
    for folder in (inside, beside):
        if (folder / "spec.md").is_file():
            return folder
    raise Lacking("the sample feature is missing from this installation", "install agentpkg anew", code="no_sample")


def make(folder: Path) -> None:
    """Makes the scratch repository in an empty folder, with one commit on ``main``."""
    source = sample()
    shutil.copytree(source / "recorded" / "base", folder, dirs_exist_ok=True)
    for name, real in _RENAMED.items():
        (folder / name).rename(folder / real)
    feature = folder / "features" / FEATURE
    shutil.copytree(source, feature, ignore=shutil.ignore_patterns("recorded"))
    kittify = folder / ".kittify"
    kittify.mkdir()
    transcripts = str(source / "recorded").replace("\\", "\\\\").replace('"', '\\"')
    (kittify / "config.yaml").write_text(_CONFIG.format(transcripts=transcripts))
    (kittify / "constitution.md").write_text(_CONSTITUTION)
    first_commit(folder, "agentpkg-demo", "A small web service and its planned feature")
