"""Commands that only read: shapes, exit codes, and that they leave nothing behind."""

import json
from pathlib import Path

import pytest

from agentpkg.cli import VERBS, failing, render_tables, run
from agentpkg.config import parse
from agentpkg.config.governance import Policy, parse_policy
from agentpkg.core.errors import AgentpkgError, BadInput, Busy, FellShort, Lacking, NotAllowed
from agentpkg.engine.setup import GOVERNANCE, config_text
from tests.cli import support
from tests.support.repos import ScratchFactory, git


@pytest.fixture
def repo(scratch: ScratchFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = scratch(support.files())
    monkeypatch.chdir(found)
    return found


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "demo"])
def test_every_command_has_help_with_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([verb, "-h"]) == 0
    said = capsys.readouterr().out
    assert "Example:" in said
    assert f"agentpkg {verb}" in said


@pytest.mark.parametrize(
    "words",
    [["wp", "transition"], ["config", "show"], ["agents", "list"], ["agents", "test"], ["events", "tail"],
     ["events", "query"], ["events", "export"], ["events", "audit-verify"], ["events", "endpoint"]],
)  # fmt: skip
def test_every_command_in_a_group_has_help_with_an_example(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*words, "-h"]) == 0
    said = capsys.readouterr().out
    assert f"agentpkg {' '.join(words)}" in said
    assert "--repo" in said
    assert "--json" in said


@pytest.mark.slow
def test_reading_a_repository_leaves_no_trace_in_it(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ["status"], ["status", "001"], ["features"], ["graph", "001"], ["prompt", "001", "WP01"], ["config", "show"],
        ["agents", "list"], ["doctor"], ["clean"], ["events", "query"], ["events", "export"],
        ["events", "audit-verify", "--feature", "001"],
    ):  # fmt: skip
        assert run(words) == 0, words
    assert not (repo / ".git" / "agentpkg").exists()
    capsys.readouterr()


def test_status_of_a_feature_has_the_shape_of_the_contract(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["status", "001", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["feature"] == {"id": "001-greeting", "title": "Greeting", "state": "planned", "target": "main"}
    assert found["progress"] == {"done": 0, "total": 2}
    assert found["critical_path"] == ["WP01", "WP02"]
    assert found["estimate_seconds"] == 4 * 3600
    keys = {"id", "title", "state", "ready", "dependencies", "blocked_by", "dependents", "branch", "worktree",
            "session", "agent", "isolation", "review_cycle", "commits", "files_changed", "tests", "activity",
            "started_at", "finished_at", "reason"}  # fmt: skip
    assert keys <= set(found["work_packages"][0])
    assert found["work_packages"][1]["blocked_by"] == ["WP01"]


def test_lists_of_features_have_the_shape_of_the_contract(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = {
        "features": [
            {"id": "001-greeting", "title": "Greeting", "state": "planned", "progress": {"done": 0, "total": 2}}
        ],
        "warnings": [],
    }
    for verb in ("status", "features"):
        assert run([verb, "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == wanted


def test_a_bad_feature_is_a_warning_in_lists_and_an_error_when_it_is_named(
    repo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = repo / "features" / "002-bad" / "tasks" / "WP01-x.md"
    bad.parent.mkdir(parents=True)
    bad.write_text("---\nwork_package_id: WP01\ntitle: X\ndependencies: [WP77]\n---\n")
    assert run(["features"]) == 0
    said = capsys.readouterr()
    assert "002-bad" in said.out
    assert "warning: " in said.err
    assert "WP77" in said.err
    assert run(["status", "002", "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["details"]["problems"][0]["value"] == "WP77"
    assert run(["graph", "002"]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("error: ")
    assert "hint: " in said.err


@pytest.mark.slow
def test_a_prompt_is_printed_byte_for_byte(repo: Path) -> None:
    plain, document = support.cli(repo, "prompt", "001", "WP01"), support.cli(repo, "prompt", "WP01", "--json").json
    assert plain.out == document["prompt"]
    assert plain.out.startswith("# Mission")
    assert document["sizes"][-1] == {"part": "Total prompt", "bytes": len(plain.out.encode())}


@pytest.mark.parametrize(
    ("form", "begins"), [("text", "WP01 "), ("mermaid", "flowchart"), ("dot", "digraph"), ("json", "{")]
)
def test_a_graph_is_drawn_in_every_form(form: str, begins: str, repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["graph", "001", "--format", form]) == 0
    assert capsys.readouterr().out.startswith(begins)


def test_settings_are_shown_with_their_origin(
    repo: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTPKG_RUN_JOBS", "9")
    assert run(["config", "show", "--json"]) == 0
    values = {one["key"]: one for one in json.loads(capsys.readouterr().out)["values"]}
    assert values["run.jobs"] == {"key": "run.jobs", "value": 9, "origin": "environment AGENTPKG_RUN_JOBS"}
    assert values["agent.retries"]["origin"] == ".kittify/config.yaml:1"
    assert values["merge.strategy"]["origin"] == "default"
    assert run(["config", "show"]) == 0
    assert "environment AGENTPKG_RUN_JOBS" in capsys.readouterr().out


def test_agents_are_listed_with_whether_they_can_start(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = repo / ".kittify" / "config.yaml"
    config.write_text(config.read_text() + '  gone: {harness: command, command: ["no-such-program"]}\n')
    assert run(["agents", "list", "--json"]) == 0
    agents = {one["name"]: one for one in json.loads(capsys.readouterr().out)["agents"]}
    assert agents["good"]["ready"]
    assert agents["good"]["path"] == "/bin/sh"
    assert not agents["gone"]["ready"]
    assert "no-such-program" in agents["gone"]["detail"]
    assert set(agents["good"]) == {
        "name",
        "harness",
        "path",
        "version",
        "ready",
        "sessions",
        "detail",
        "last_heard",
        "signed_in",
        "model",
    }
    assert run(["agents", "list"]) == 0
    assert "good (default)  ready" in capsys.readouterr().out


def test_the_first_configuration_is_good_and_never_overwrites(
    scratch: ScratchFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    repo = scratch()
    assert run(["init", "--repo", str(repo), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document == {
        "written": [".kittify/config.yaml", ".kittify/governance.yaml", ".kittify/constitution.md"],
        "kept": [],
    }
    mine = repo / ".kittify" / "config.yaml"
    mine.write_text("run: {jobs: 3}\n")
    assert run(["init", "--repo", str(repo)]) == 0
    assert "kept" in capsys.readouterr().out
    assert mine.read_text() == "run: {jobs: 3}\n"


def test_every_key_of_the_first_configuration_is_a_real_one() -> None:
    text = config_text('odd "name"', "trunk")
    assert parse(text, "config.yaml", {}).settings.project.name == 'odd "name"'
    bare = "\n".join(_uncommented(line) for line in text.splitlines())
    settings = parse(bare, "config.yaml", {"JWT_SECRET": "x" * 20}).settings
    assert settings.project.target_branch == "trunk"
    assert settings.agent.harness == "my-agent"
    assert [check.name for check in settings.review.checks] == ["tests", "lint"]


def test_every_key_of_the_first_policy_is_a_real_one() -> None:
    assert parse_policy(GOVERNANCE) == Policy()
    bare = "\n".join(line.removeprefix("# ") for line in GOVERNANCE.splitlines()[2:])
    policy = parse_policy(bare)
    assert (policy.actions, policy.approval) == (Policy().actions, Policy().approval)
    assert [rule.name for rule in policy.paths] == ["infrastructure"]


def _uncommented(line: str) -> str:
    head, mark, rest = line.partition("# ")
    is_key = mark and not head.strip() and rest.split(" ")[0].rstrip(":") != rest.split(" ")[0]
    is_item = (
        mark
        and not head.strip()
        and rest.lstrip().startswith(
            ("- name", "run:", "group:", "report:", "minimum", "LOG", "JWT", "max_", "allowed", "forbidden")
        )
    )
    below = mark and not head.strip() and rest.startswith(" ")
    return head + rest if is_key or is_item or below else line


def test_doctor_says_what_is_there_and_fails_without_a_repository(
    repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["doctor", "--json"]) == 0
    checks = {one["name"]: one for one in json.loads(capsys.readouterr().out)["checks"]}
    assert {
        "python",
        "git",
        "repository",
        "config",
        "ledger",
        "nats-server",
        "relay",
        "isolation",
        "agents",
        "disk",
    } <= set(checks)
    assert all(set(one) == {"name", "status", "detail", "fix"} for one in checks.values())
    outside = tmp_path / "outside"
    outside.mkdir()
    assert run(["doctor", "--repo", str(outside), "--json"]) == 5
    document = json.loads(capsys.readouterr().out)
    assert document["error"]["code"] == "unhealthy"
    assert {"name": "repository", "status": "fail"}.items() <= document["checks"][2].items()


def test_doctor_survives_a_bad_configuration(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (repo / ".kittify" / "config.yaml").write_text("agnet: {}\n")
    assert run(["doctor"]) == 5
    assert "✗ config" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["status", "nothing-like-it"], 2), (["logs", "001", "WP77"], 2), (["logs", "WP01"], 3), (["nonsense"], 2),
        (["move", "001", "--to", "done"], 2), (["cancel", "001", "WP01"], 2), (["events", "query", "--since", "x"], 2),
        (["run", "001", "--jobs", "0"], 2), (["review", "001", "WP01"], 3),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_an_error_with_a_hint(
    words: list[str], code: int, repo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == code
    said = capsys.readouterr()
    assert said.err.splitlines()[0].startswith(("error: ", "judging"))
    assert "hint: " in said.err
    assert "Traceback" not in said.err
    assert run([*words, "--json"]) == code
    assert set(json.loads(capsys.readouterr().out)["error"]) == {"code", "message", "hint", "details"}


@pytest.mark.parametrize(
    ("words", "named"),
    [(["events"], "tail"), (["events", "--json"], "tail"), (["agents"], "list"), (["config"], "show"),
     (["wp"], "transition")],
)  # fmt: skip
def test_a_group_without_a_command_names_those_it_has(
    words: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 2
    said = capsys.readouterr()
    if "--json" in words:
        assert f" {named}" in json.loads(said.out)["error"]["message"]
        return
    error, hint = said.err.splitlines()
    assert error.startswith("error: name a command: ")
    assert named in error
    assert hint == f"hint: see `agentpkg {words[0]} -h`"


def test_the_bare_name_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    said = capsys.readouterr()
    assert "Commands:" in said.out
    assert said.err == ""


def test_wrong_usage_is_told_in_plain_words(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["move", "001", "WP01"]) == 2
    error = capsys.readouterr().err.splitlines()[0]
    assert error == (
        "error: Missing option '--to'. Choose from: planned, doing, for_review, done, blocked, cancelled, shipped"
    )


def test_every_error_has_a_hint(capsys: pytest.CaptureFixture[str]) -> None:
    for kind in (AgentpkgError, FellShort, BadInput, NotAllowed, Busy, Lacking):
        assert failing.show(kind("wrong"), [], False) == kind.exit_code
        assert "hint: see" in capsys.readouterr().err.replace("hint: wait", "hint: see")


def test_a_problem_is_told_once(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tasks = repo / "features" / "001-greeting" / "tasks"
    (tasks / "WP03-x.md").write_text("no front matter here\n")
    (tasks / "WP04-x.md").write_text("nor here\n")
    assert run(["status", "001"]) == 2
    said = capsys.readouterr().err
    assert said.count("WP03-x.md:1: ") == 1
    assert said.count("WP04-x.md:1: ") == 1
    assert run(["features", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["features"][0]["progress"] == {"done": 0, "total": 4}


def test_a_feature_is_not_cancelled_as_a_whole(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["move", "001", "--to", "cancelled"]) == 3
    assert "hint: cancel the packages" in capsys.readouterr().err


def test_feedback_that_is_no_text_is_refused(repo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    notes = tmp_path / "notes"
    for data, word in (
        (b"good\n\xff", "notes:2: not UTF-8"), (b"x" * (1 << 20) + b"x", "over 1048576"), (b"\0", "NUL"),
    ):  # fmt: skip
        notes.write_bytes(data)
        assert run(["move", "001", "WP01", "--to", "planned", "--review-feedback-file", str(notes)]) == 2
        assert word in capsys.readouterr().err


def test_entries_of_an_unknown_package_are_asked_for_in_vain(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--wp", "banana"], ["--wp", "WP99", "--feature", "001"]):
        assert run(["events", "query", *words]) == 2
        assert "WP01, WP02" in capsys.readouterr().err
    assert run(["events", "query", "--wp", "WP02"]) == 0


def test_a_run_of_a_feature_without_packages_is_refused(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (repo / "features" / "002-empty").mkdir()
    (repo / "features" / "002-empty" / "spec.md").write_text("# Empty\n")
    assert run(["run", "002"]) == 2
    assert "has no work packages" in capsys.readouterr().err


def test_an_agent_of_an_unknown_harness_is_told_before_it_is_used(
    repo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = repo / ".kittify" / "config.yaml"
    config.write_text(config.read_text() + "  odd: {harness: nope, command: [x]}\n")
    for words in (["config", "show"], ["agents", "list"]):
        assert run(words) == 0
        assert "config.yaml:6: agent odd: no harness is called nope; known ones: command" in capsys.readouterr().err
    assert run(["doctor", "--json"]) == 0
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert [one["status"] for one in checks if one["name"] == "harness"] == ["warn"]
    assert run(["implement", "001", "--wp", "WP01", "--agent", "odd"]) == 2
    said = capsys.readouterr()
    assert "hint: known ones: command" in said.err
    assert said.out == ""


def test_doctor_finds_what_git_misses(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blob = git(repo, "rev-parse", "HEAD:features/001-greeting/spec.md")
    (repo / ".git" / "objects" / blob[:2] / blob[2:]).unlink()
    assert run(["doctor", "--json"]) == 5
    checks = {one["name"]: one for one in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["objects"]["status"] == "fail"
    assert blob in checks["objects"]["detail"]


def test_doctor_tells_of_a_damaged_ledger_once(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (repo / ".git" / "agentpkg").mkdir()
    (repo / ".git" / "agentpkg" / "ledger.db").write_text("no database\n" * 100)
    assert run(["doctor"]) == 5
    said = capsys.readouterr().out
    assert said.count("is damaged") == 1
    assert "not looked at: see ledger" in said


def test_a_fact_of_an_entry_is_cut_with_a_mark() -> None:
    one = {
        "timestamp": "2026-03-01T10:15:33Z",
        "feature_id": "001-x",
        "id": 1,
        "transition": "a->b",
        "actor": "human:x",
    }
    whole = render_tables.entry({**one, "metadata": {"reason": "because " * 40}}).plain
    assert whole.rstrip().endswith("because")
    assert render_tables.entry({**one, "metadata": {"reason": "x" * 900}}).plain.endswith("x…")


@pytest.mark.slow
def test_a_reader_who_goes_away_is_no_error(repo: Path) -> None:
    process = support.start(repo, "config", "show", "--json")
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(30) == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
