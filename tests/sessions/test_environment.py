from pathlib import Path

from agentpkg.sessions.environment import build
from tests.support.sessions_jobs import job

CALLER = {
    "PATH": "/bin", "HOME": "/home/u", "LC_TIME": "C", "GIT_DIR": "/elsewhere", "SSH_AUTH_SOCK": "/run/s",
    "AWS_SECRET_ACCESS_KEY": "x", "AGENTPKG_NATS_URL": "nats://a:b@c", "PYTHONPATH": "/p",
}  # fmt: skip


def test_an_agent_sees_the_allow_list_the_configured_and_itself(tmp_path: Path) -> None:
    env = build(CALLER, {"RUST_LOG": "info", "HOME": "/private"}, "claude-code", job(tmp_path))
    assert env == {
        "TERM": "dumb",
        "PATH": "/bin",
        "LC_TIME": "C",
        "HOME": "/private",
        "RUST_LOG": "info",
        "GIT_AUTHOR_NAME": "claude-code",
        "GIT_AUTHOR_EMAIL": "claude-code@agentpkg.invalid",
        "GIT_COMMITTER_NAME": "claude-code",
        "GIT_COMMITTER_EMAIL": "claude-code@agentpkg.invalid",
        "AGENTPKG_SESSION": "sess_01",
        "AGENTPKG_FEATURE": "003-auth",
        "AGENTPKG_WP": "WP02",
        "AGENTPKG_PROMPT": str(tmp_path / "prompt.md"),
        "AGENTPKG_TASK": str(tmp_path / "task.md"),
    }


def test_the_configuration_can_name_no_other_repository_session_or_author(tmp_path: Path) -> None:
    wanted = {"GIT_DIR": "/x", "GIT_OBJECT_DIRECTORY": "/x", "AGENTPKG_SESSION": "other", "GIT_AUTHOR_NAME": "boss"}
    env = build(CALLER, {**wanted, "GIT_TRACE": "1"}, "a", job(tmp_path))
    assert not {"GIT_DIR", "GIT_OBJECT_DIRECTORY"} & env.keys()
    assert (env["AGENTPKG_SESSION"], env["GIT_AUTHOR_NAME"], env["GIT_TRACE"]) == ("sess_01", "a", "1")
