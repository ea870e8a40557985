"""What a session's home keeps of a conversation for the next, though an agent could write there what it likes."""

from pathlib import Path

import pytest

from agentpkg.core.errors import Lacking
from agentpkg.engine.supervising import conversation, transcripts
from agentpkg.secrets.redact import Redactor

ID = "0a1b2c3d-conversation"
PATTERNS = ("~/.agent/projects/*/{conversation}.jsonl",)


@pytest.fixture
def patterns(still_world: Path) -> tuple[str, ...]:
    return tuple(one.replace("~", str(still_world)) for one in PATTERNS)


def session(folder: Path, told: str = ID) -> Path:
    """A session's folder whose home has a project with a conversation, a link and another conversation."""
    project = folder / "home/.agent/projects/repo"
    project.mkdir(parents=True)
    (project / f"{ID}.jsonl").write_text('{"said": "the key is s3cr3t-value"}\n')
    (project / "other.jsonl").write_text("other\n")
    outside = folder / "outside"
    outside.mkdir()
    (outside / f"{ID}.jsonl").write_text("private\n")
    (project.parent / "linked").symlink_to(outside)
    (project.parent / "file").mkdir()
    (project.parent / "file" / f"{ID}.jsonl").symlink_to(outside / f"{ID}.jsonl")
    conversation.remember(folder, {"conversation": told}, None)
    return folder


def kept(folder: Path) -> dict[str, str]:
    root = folder / conversation.KEPT
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def test_the_conversation_alone_is_kept_without_secrets_and_without_following_links(
    tmp_path: Path, patterns: tuple[str, ...]
) -> None:
    transcripts.keep(session(tmp_path), patterns, Redactor({"KEY": "s3cr3t-value"}))
    assert kept(tmp_path) == {f".agent/projects/repo/{ID}.jsonl": '{"said": "the key is ***"}\n'}


@pytest.mark.parametrize("told", ["*", "../../outside/x", "", "short", "a" * 200])
def test_an_id_that_is_none_keeps_nothing(tmp_path: Path, patterns: tuple[str, ...], told: str) -> None:
    transcripts.keep(session(tmp_path, told), patterns, Redactor({}))
    assert kept(tmp_path) == {}


def test_what_was_kept_is_put_back_among_plain_folders_only(tmp_path: Path, patterns: tuple[str, ...]) -> None:
    transcripts.keep(session(tmp_path), patterns, Redactor({}))
    home, elsewhere = tmp_path / "next", tmp_path / "elsewhere"
    (home / ".agent").mkdir(parents=True)
    transcripts.put_back(tmp_path / conversation.KEPT, home)
    assert "s3cr3t" in (home / f".agent/projects/repo/{ID}.jsonl").read_text()
    elsewhere.mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / ".agent").symlink_to(elsewhere)
    with pytest.raises(Lacking):
        transcripts.put_back(tmp_path / conversation.KEPT, tmp_path / "bad")
    assert list(elsewhere.iterdir()) == []
