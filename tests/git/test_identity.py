from pathlib import Path

from agentpkg.git.identity import UserIdentity, agent_identity, user_identity
from tests.support.repos import ScratchFactory, git


def test_the_users_identity_is_read_under_their_own_configuration(scratch: ScratchFactory, still_world: Path) -> None:
    repo = scratch()
    assert user_identity(repo) == UserIdentity("Test User", "user@example.org")
    git(repo, "config", "user.name", "Jörg\nof the line")
    git(repo, "config", "user.signingKey", "ABC")
    (still_world / "ignore me").write_text("*.log\n")
    git(repo, "config", "core.excludesFile", "~/ignore me")
    found = user_identity(repo)
    assert found == UserIdentity("Jörg\nof the line", "user@example.org", "ABC", still_world / "ignore me")


def test_gits_default_excludes_file_is_found(scratch: ScratchFactory, still_world: Path) -> None:
    (still_world / ".config" / "git").mkdir(parents=True)
    (still_world / ".config" / "git" / "ignore").write_text("*.log\n")
    assert user_identity(scratch()).excludes_file == still_world / ".config" / "git" / "ignore"


def test_without_an_identity_it_is_agentpkgs(scratch: ScratchFactory, still_world: Path) -> None:
    repo = scratch()
    (still_world / ".gitconfig").write_text("[user]\n\tname = only a name\n")
    assert user_identity(repo) == UserIdentity("agentpkg", "agentpkg@agentpkg.invalid")


def test_an_agent_commits_under_its_name() -> None:
    assert agent_identity("claude-code").variables() == {
        "GIT_AUTHOR_NAME": "claude-code",
        "GIT_AUTHOR_EMAIL": "claude-code@agentpkg.invalid",
        "GIT_COMMITTER_NAME": "claude-code",
        "GIT_COMMITTER_EMAIL": "claude-code@agentpkg.invalid",
    }
