"""Scratch repositories, made with plain git as a user would."""

import subprocess
from collections.abc import Mapping
from pathlib import Path


def git(repo: Path, *args: str, stdin: bytes | None = None) -> str:
    """Runs plain git in ``repo`` and gives its output without the last newline; fails the test when git fails."""
    done = subprocess.run(["git", "-C", str(repo), *args], input=stdin, capture_output=True, check=False)
    assert done.returncode == 0, f"git {args}: {done.stderr.decode()}"
    return done.stdout.decode().rstrip("\n")


def write(root: Path, files: Mapping[str, str]) -> None:
    """Writes text files below ``root``."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def commit(repo: Path, files: Mapping[str, str], message: str = "a commit") -> str:
    """Writes and commits files; gives the commit's id."""
    write(repo, files)
    git(repo, "add", "-A")
    git(repo, "commit", "-q", "--allow-empty", "-m", message)
    return git(repo, "rev-parse", "HEAD")


class ScratchFactory:
    """Makes repositories below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.made = 0

    def __call__(self, files: Mapping[str, str] | None = None) -> Path:
        """A new repository on branch main with one commit of ``files``."""
        self.made += 1
        repo = self.root / f"repo{self.made}"
        repo.mkdir()
        git(repo, "init", "-q", "-b", "main")
        commit(repo, files or {"README.md": "# scratch\n"}, "base")
        return repo
