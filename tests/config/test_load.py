"""The configuration: defaults, layers, origins, and every problem at once."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agentpkg.config import Loaded, Settings, always_forbidden, commit_expression, load, parse
from agentpkg.core.errors import BadInput

FULL = """
project: {name: my-app, target_branch: main, features_dir: features, worktrees_dir: .worktrees, branch_prefix: feat/}
agent:
  harness: claude-code
  timeout_seconds: 3600
  kill_grace_seconds: 30
  retries: 2
  max_review_cycles: 3
  environment:
    RUST_LOG: info
    PORT: 0080
    DEBUG: yes
    EMPTY:
    JWT_SECRET: ${{ secrets.JWT_SECRET }}
  constraints:
    max_file_size: 1000000
    allowed_paths: ["src/", "tests/"]
    forbidden_paths: ["env_secrets/"]
    forbidden_commands: ["cargo test"]
agents:
  my-agent: {harness: command, command: ["my-agent", "--prompt-file", "{prompt_path}"]}
worktree: {setup: ["./init.sh"], copy: [".env"], link: ["node_modules"], filters: []}
review:
  checks:
    - {name: tests, group: test-quality, run: "pytest -q --junitxml=report.xml", report: report.xml, minimum_tests: 1}
    - {name: lint, group: code-quality, run: "ruff check ."}
  coverage: {report: coverage.xml, minimum: 85, per: total}
  requirements: warn
  commit_pattern: '^(feat|fix|docs|test|refactor|chore|perf|build)\\({wp}\\): .+'
merge: {strategy: merge, auto: true}
run: {jobs: 4}
secrets: {providers: [environment]}
isolation: {minimum: basic, network: {allow: []}, mounts: []}
limits: {}
nats: {url: null, credentials: null, prefix: agentpkg}
"""


def read(text: str, environ: Mapping[str, str] | None = None, flags: Mapping[str, Any] | None = None) -> Loaded:
    return parse(text, "config.yaml", environ or {}, flags)


def problems(text: str, environ: Mapping[str, str] | None = None) -> list[tuple[int, str, str]]:
    with pytest.raises(BadInput) as caught:
        read(text, environ)
    assert caught.value.exit_code == 2
    return [(one["line"], one["value"], one["message"]) for one in caught.value.details["problems"]]


def test_the_whole_sample_is_read_and_says_what_the_defaults_say() -> None:
    settings = read(FULL).settings
    assert settings.project.target_branch == "main"
    assert settings.agents["my-agent"].command == ("my-agent", "--prompt-file", "{prompt_path}")
    assert settings.worktree.copy == (".env",)
    assert settings.review.checks[0].minimum_tests == 1
    assert settings.review.coverage is not None
    assert settings.review.coverage.minimum == 85
    assert settings.review.commit_pattern == Settings().review.commit_pattern
    assert settings.agent.constraints.forbidden_commands == ("cargo test",)


def test_nothing_at_all_means_the_defaults_of_the_contract() -> None:
    settings = read("").settings
    assert settings == Settings()
    assert (settings.agent.harness, settings.agent.timeout_seconds, settings.agent.kill_grace_seconds) == (
        None,
        3600,
        30,
    )
    assert (settings.agent.retries, settings.agent.max_review_cycles, settings.run.jobs) == (2, 3, 4)
    assert settings.agent.constraints.max_file_size == 1_000_000
    assert (settings.secrets.providers, settings.isolation.minimum) == (("environment",), "basic")
    assert (settings.nats.url, settings.nats.prefix) == (None, "agentpkg")
    assert (settings.merge.strategy, settings.merge.auto, settings.review.requirements) == ("merge", True, "warn")
    assert settings.review.coverage is None


def test_variables_of_agents_are_text_as_it_was_written() -> None:
    environment = read(FULL).settings.agent.environment
    assert environment["PORT"] == "0080"
    assert environment["DEBUG"] == "yes"
    assert environment["EMPTY"] == ""
    assert environment["JWT_SECRET"] == "${{ secrets.JWT_SECRET }}"


def test_flag_beats_environment_beats_file_beats_default_and_each_value_tells_its_origin() -> None:
    environ = {"AGENTPKG_RUN_JOBS": "8", "AGENTPKG_AGENT_RETRIES": "5", "AGENTPKG_NATS_URL": "nats://u:pw@h:4222"}
    loaded = read(FULL, environ, {"run.jobs": 2, "agent.timeout_seconds": 60, "agent.harness": None})
    rows = {key: (value, origin) for key, value, origin in loaded.rows()}
    assert rows["run.jobs"] == (2, "flag --jobs")
    assert rows["agent.timeout_seconds"] == (60, "flag --timeout")
    assert rows["agent.retries"] == (5, "environment AGENTPKG_AGENT_RETRIES")
    assert rows["agent.harness"] == ("claude-code", "config.yaml:4")
    assert rows["agent.environment.RUST_LOG"] == ("info", "config.yaml:10")
    assert rows["limits.memory"] == (None, "default")
    assert rows["agents.my-agent.harness"] == ("command", "config.yaml:21")
    assert rows["nats.url"] == ("nats://u:***@h:4222", "environment AGENTPKG_NATS_URL")
    assert loaded.settings.nats.url == "nats://u:pw@h:4222"


def test_variables_set_lists_texts_and_deeper_keys() -> None:
    environ = {
        "AGENTPKG_PROJECT_NAME": "123",
        "AGENTPKG_SECRETS_PROVIDERS": "environment, keyring",
        "AGENTPKG_WORKTREE_COPY": '[".env", "a b"]',
        "AGENTPKG_AGENT_CONSTRAINTS_MAX_FILE_SIZE": "5",
        "AGENTPKG_ISOLATION_NETWORK_ALLOW": "h:1",
        "AGENTPKG_REVIEW_COVERAGE": "{report: c.xml, minimum: 80}",
        "AGENTPKG_MERGE_AUTO": "false",
        "AGENTPKG_AGENT_HARNESS": "null",
        "AGENTPKG_RUN_JOBS": "",
    }
    settings = read(FULL, environ).settings
    assert settings.project.name == "123"
    assert settings.secrets.providers == ("environment", "keyring")
    assert settings.worktree.copy == (".env", "a b")
    assert settings.agent.constraints.max_file_size == 5
    assert settings.isolation.network.allow == ("h:1",)
    assert settings.review.coverage is not None
    assert settings.merge.auto is False
    assert settings.agent.harness is None
    assert settings.run.jobs == 4


def test_what_agents_are_told_in_variables_is_never_configuration() -> None:
    names = ("SESSION", "FEATURE", "WP", "PROMPT", "TASK", "WORKERS_MAX")
    assert read("", {f"AGENTPKG_{name}": "x" for name in names}).settings == Settings()


def test_a_variable_near_a_key_is_a_problem_that_names_it() -> None:
    assert problems("", {"AGENTPKG_RUN_JOB": "3"}) == [(0, "3", "sets no known key; did you mean `AGENTPKG_RUN_JOBS`?")]
    assert problems("", {"AGENTPKG_RUN_JOBS": "many"}) == [(0, "many", "run.jobs should be a whole number")]


def test_all_problems_are_told_at_once_each_with_its_line() -> None:
    found = problems(
        "agent:\n  retrys: 3\n  timeout_seconds: soon\nmerge: {strategy: mrege}\nrun: {jobs: 0}\n"
        "worktree:\n  copy: .env\n  link: [/etc/passwd, ../x]\nlimts: {}\nproject: []\n"
    )
    assert found == [
        (2, "retrys", "agent.retrys: unknown key; did you mean `retries`?"),
        (3, "soon", "agent.timeout_seconds: should be a whole number"),
        (4, "mrege", "merge.strategy: should be one of merge, squash, rebase; did you mean `merge`?"),
        (5, "0", "run.jobs: should be at least 1"),
        (7, ".env", "worktree.copy: should be a list, such as [a, b]"),
        (8, "/etc/passwd", "worktree.link.0: should be a path inside the repository, relative to its top"),
        (8, "../x", "worktree.link.1: should be a path inside the repository, relative to its top"),
        (9, "limts", "limts: unknown key; did you mean `limits`?"),
        (10, "[]", "project: should be `key: value` lines"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("agent: {harness: nobody}", "no such agent"),
        ("agents: {a: {}}", "`harness` is missing"),
        ("agents: {a: {harness: command}}", "needs `command:"),
        ("agents: {a: {harness: replay}}", "needs `transcripts:"),
        ("agents: {a: {harness: command, command: [x, '{promt}']}}", "unknown placeholder {promt}"),
        ("agents: {a: {harness: command, command: x --y}}", "should be a list"),
        ("agents: {'a b': {harness: x}}", "should be letters"),
        ("agent: {environment: {A: '${{ env.X }}'}}", "should be ${{ secrets.NAME }}"),
        ("agent: {environment: {AGENTPKG_WP: x}}", "is set by agentpkg itself"),
        ("agent: {environment: {GIT_DIR: x}}", "is set by agentpkg itself"),
        ("agent: {environment: {A-B: x}}", "is no name of a variable"),
        ("agent: {timeout_seconds: true}", "should be a whole number"),
        ("agent: {timeout_seconds: 1.5}", "should be a whole number"),
        ("merge: {auto: 1}", "should be true or false"),
        ("project: {name: 3}", "should be text"),
        ("project: {target_branch: refs/heads/main}", "should be the name of a branch"),
        ("project: {target_branch: 'a..b'}", "should be the name of a branch"),
        ("project: {target_branch: -x}", "should be the name of a branch"),
        ("project: {branch_prefix: '/x'}", "should be the beginning of branch names"),
        ("project: {worktrees_dir: features/w}", "should lie apart from features/"),
        ("project: {features_dir: .git/x}", "should not lead into .git"),
        ("review: {commit_pattern: '('}", "is no regular expression"),
        ("review: {checks: [{name: a}]}", "is missing"),
        ("review: {checks: [{name: a, run: x}, {name: a, run: y}]}", "another check has this name"),
        ("review: {coverage: {report: c.xml, minimum: 101}}", "should be at most 100"),
        ("review: {coverage: {report: c.xml, minimum: .nan}}", "should be"),
        ("secrets: {providers: [command]}", "needs `secrets.command"),
        ("nats: {url: 'http://x'}", "should be like nats://"),
        ("nats: {prefix: a.b}", "should be 1 to 64"),
        ("run: {jobs: 1}\nrun: {jobs: 2}", "given twice, first in line 1"),
        ("a: [", "not valid YAML"),
        ("- a", "should be `key: value` lines"),
        ("a: !!python/object:os.system x", "could not determine a constructor"),
    ],
)
def test_bad_values_are_refused_with_what_would_be_right(text: str, message: str) -> None:
    assert any(message in one for _, _, one in problems(text)), problems(text)


def test_a_bad_server_address_is_told_without_its_password() -> None:
    assert "hunter2" not in str(problems("nats: {url: 'http://me:hunter2@host'}"))


def test_a_section_that_is_no_section_is_told_even_when_a_variable_lies_over_it() -> None:
    assert problems("merge: []", {"AGENTPKG_MERGE_AUTO": "true"}) == [(1, "[]", "merge: should be `key: value` lines")]


def test_reserved_sections_are_ignored_with_a_warning_and_empty_ones_are_nothing() -> None:
    loaded = read("agent:\nworkers: {max: 3}\nweb: [1]\n")
    assert loaded.settings == Settings()
    assert [(one.line, one.value) for one in loaded.warnings] == [(2, "workers"), (3, "web")]


def test_aliases_that_multiply_are_stopped() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    assert any("too much of it" in message for _, _, message in problems("\n".join(lines)))
    assert any("nested too deeply" in message for _, _, message in problems("a: " + "[" * 3000))


def test_the_file_of_a_repository_is_read_and_its_digest_is_that_of_its_bytes(tmp_path: Path) -> None:
    assert load(tmp_path, {}).digest == hashlib.sha256(b"").hexdigest()
    (tmp_path / ".kittify").mkdir()
    path = tmp_path / ".kittify/config.yaml"
    path.write_bytes(b"\xef\xbb\xbfrun: {jobs: 9}\r\n")
    loaded = load(tmp_path, {})
    assert loaded.settings.run.jobs == 9
    assert loaded.origin("run.jobs") == ".kittify/config.yaml:1"
    assert loaded.digest == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"a: b\nrun: \xff", ":2: should be UTF-8"), (b"#" * (1 << 20) + b"#", "larger than 1 MiB"), (b"a: \x00", "YAML")],
)
def test_a_file_that_cannot_be_read_is_a_problem_of_the_file(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / ".kittify").mkdir()
    (tmp_path / ".kittify/config.yaml").write_bytes(data)
    with pytest.raises(BadInput, match=message):
        load(tmp_path, {})


def test_a_folder_in_the_place_of_the_file_is_told(tmp_path: Path) -> None:
    (tmp_path / ".kittify/config.yaml").mkdir(parents=True)
    with pytest.raises(BadInput, match="it is no file"):
        load(tmp_path, {})


def test_what_is_always_forbidden_follows_the_features_folder() -> None:
    settings = read("project: {features_dir: plans/specs}").settings
    assert always_forbidden(settings) == (
        "/.kittify/",
        "/plans/specs/",
        "/features/",
        "/kitty-specs/",
        ".gitattributes",
        ".gitmodules",
    )


def test_the_commit_pattern_holds_the_packages_id_as_text() -> None:
    expression = commit_expression(Settings(), "WP02")
    assert expression.search("feat(WP02): add")
    assert not expression.search("feat(WP03): add")
    own = read("review: {commit_pattern: '^{wp}: .{1,5}$'}").settings
    assert commit_expression(own, "WP02").search("WP02: short")
    assert not commit_expression(own, "WP02").search("WP02: too long")


def test_a_wrong_value_is_shown_as_it_was_written() -> None:
    assert problems("review:\n  requirements: yes\nrun: {jobs: 0o7x}\nmerge: {auto: ON2}\n") == [
        (2, "yes", "review.requirements: should be one of warn, strict"),
        (3, "0o7x", "run.jobs: should be a whole number"),
        (4, "ON2", "merge.auto: should be true or false"),
    ]
    assert problems("review: {requirements: warn}", {"AGENTPKG_REVIEW_REQUIREMENTS": "often"})[0][1] == "often"


def test_variables_of_agents_have_their_places() -> None:
    found = read("agent:\n  environment:\n    A: x\n    B: y\nagents:\n  mine:\n    harness: command\n"
                 "    command: [x]\n    environment: {B: z}\n")  # fmt: skip
    assert found.variable_places("mine") == {"A": ("config.yaml", 3), "B": ("config.yaml", 9)}
    assert found.variable_places() == {"A": ("config.yaml", 3), "B": ("config.yaml", 4)}


def test_a_configuration_that_is_no_file_is_a_problem_of_its_first_line(tmp_path: Path) -> None:
    (tmp_path / ".kittify" / "config.yaml").mkdir(parents=True)
    with pytest.raises(BadInput) as caught:
        load(tmp_path, {})
    assert caught.value.details["problems"][0]["line"] == 1
