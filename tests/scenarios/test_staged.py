"""Eight stages from an empty workspace to six flows that work: two side by side, one session killed, three fixes."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from agentpkg.core.model import FailureClass, State
from agentpkg.engine.project import Project, open_project
from tests.cli.support import cli, start
from tests.support.engine_shop import check_chain
from tests.support.repos import commit, git
from tests.support.wait import until

STAGED = Path(__file__).parent / "staged"
FEATURE = "001-agentkeys"

_CONFIG = """\
agent: {{harness: recorded, kill_grace_seconds: 1, retries: 0}}
agents:
  recorded: {{harness: replay, transcripts: "{recorded}"}}
review:
  checks: [{{name: workspace, run: "test -d crates"}}]
run: {{jobs: 4, max_cycles: 5, backoff: {{agent: 0, environment: 0, provider: 0}}}}
isolation: {{level: basic}}
nats: {{server: /nowhere}}
"""


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A repository with the feature, its harness, and nothing built."""
    place = tmp_path / "agentkeys"
    place.mkdir()
    git(place, "init", "-q", "-b", "main")
    for part in ("features", "harness"):
        shutil.copytree(STAGED / part, place / part)
    (place / ".kittify").mkdir()
    (place / ".kittify" / "config.yaml").write_text(_CONFIG.format(recorded=STAGED / "recorded"))
    commit(place, {"README.md": "# AgentKeys\n"}, "the plan")
    return place


def half_done(project: Project) -> int | None:
    """The pid of the agent of stage 4 once it has committed the first half of its work."""
    if project.ledger_if_any is None:
        return None
    live = [s for s in project.ledger_if_any.sessions(FEATURE, "WP05", live=True) if s.commits]
    return live[0].agent_pid if live else None


@pytest.mark.slow
@pytest.mark.exhaustive
def test_eight_stages_run_to_the_end_through_a_killed_session_and_three_fixes(repo: Path) -> None:
    process = start(repo, "run", "001", "--until-done", "--json")
    pid = until(lambda: half_done(open_project(repo)), seconds=240, what="the first half of stage 4")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, f"{out[-3000:]}\n{err}"
    _require_all_done(open_project(repo))
    _require_tags(repo)
    _require_side_by_side(open_project(repo))
    assert cli(repo, "export", "001", "--dir", "harness").code == 0
    progress = json.loads((repo / "harness" / "progress.json").read_text())
    assert progress["stages"] == {f"stage-{n}": "complete" for n in range(8)}
    features = json.loads((repo / "harness" / "features.json").read_text())
    assert all(feature["implemented"] for feature in features)
    assert git(repo, "status", "--porcelain", "--", "features", "crates", "e2e") == ""


def _require_all_done(project: Project) -> None:
    states = {row.wp: row.state for row in project.ledger.packages(FEATURE)}
    wanted = [*(f"WP{n:02d}" for n in range(1, 8)), "FIX01", "FIX02", "FIX03"]
    assert states == dict.fromkeys(wanted, State.DONE)
    killed = [s.reason_class for s in project.ledger.sessions(FEATURE, "WP05")]
    assert killed == [FailureClass.ENVIRONMENT, None]
    last = [e.metadata["passed"] for e in project.ledger.noted(FEATURE, "stage_checked")
            if e.metadata["stage"] == "stage-7"]  # fmt: skip
    assert last == [False, False, False, True]
    exported = cli(project.work_tree, "events", "export", "--feature", "001").out
    check_chain(project.work_tree, [json.loads(line) for line in exported.splitlines()])


def _require_tags(repo: Path) -> None:
    tags = git(repo, "tag", "--list", f"{FEATURE}/*").splitlines()
    assert tags == [f"{FEATURE}/stage-{n}-done" for n in range(8)]
    for tag in tags:
        assert git(repo, "cat-file", "-t", tag) == "tag"
        git(repo, "merge-base", "--is-ancestor", f"{tag}^{{commit}}", "main")


def _require_side_by_side(project: Project) -> None:
    """Sessions of stages 2 and 3 overlapped, and no package began before the stages it needs had ended."""
    two, three = (project.ledger.sessions(FEATURE, wp)[0] for wp in ("WP03", "WP04"))
    assert two.ended_at
    assert three.ended_at
    assert max(two.started_at, three.started_at) < min(two.ended_at, three.ended_at)
    finished = {e.metadata["stage"]: e.timestamp for e in project.ledger.noted(FEATURE, "stage_checked")}
    for wp, need in (("WP02", "stage-0"), ("WP03", "stage-1"), ("WP05", "stage-2"), ("WP05", "stage-3")):
        assert project.ledger.sessions(FEATURE, wp)[0].started_at > finished[need]
