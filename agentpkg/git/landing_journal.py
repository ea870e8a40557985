"""The journal of a landing: which locks it holds and what it was about to do, for whoever comes after a crash."""

import json
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from agentpkg.files import write_atomic
from agentpkg.git.checkouts import Checkout
from agentpkg.git.discover import Repository, read_small


@dataclass
class Journal:
    """One landing, on disk in ``STATE/landing/<id>.json`` while it holds locks.

    Attributes:
        checkouts: those whose index this landing has locked.
        locks: the inode of each lock file, by its path: a lock that somebody else made since is not ours.
        seen: how each path of a checkout looked before, by work tree and path (:func:`stamp`).
    """

    file: Path
    ref: str
    old: str
    new: str
    checkouts: list[Checkout] = field(default_factory=list)
    locks: dict[str, int] = field(default_factory=dict)
    seen: dict[str, dict[str, list[int] | None]] = field(default_factory=dict)

    @classmethod
    def new_one(cls, repo: Repository, ref: str, old: str, new: str) -> "Journal":
        """A journal that is not on disk yet."""
        folder = repo.make_state() / "landing"
        folder.mkdir(mode=0o700, exist_ok=True)
        return cls(folder / f"{secrets.token_hex(8)}.json", ref, old, new)

    def lock(self, checkout: Checkout, paths: Iterable[str]) -> bool:
        """Takes a checkout's ``index.lock``, after a line about it is in the journal; False when somebody has it."""
        self.checkouts.append(checkout)
        self.seen[str(checkout.work_tree)] = {path: stamp(checkout.work_tree / path) for path in paths}
        # made under another name first, so that the journal knows the lock before anybody can meet it
        draft = checkout.admin / f"index.lock.{self.file.stem}"
        handle = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        self.locks[str(checkout.lock)] = os.fstat(handle).st_ino
        os.close(handle)
        try:
            self._write()
            os.link(draft, checkout.lock)
        except FileExistsError:
            del self.locks[str(checkout.lock)]
            self.checkouts.remove(checkout)
            return False
        finally:
            draft.unlink()
        return True

    def holds(self, checkout: Checkout) -> bool:
        """Whether the lock that is there is this landing's."""
        try:
            return os.lstat(checkout.lock).st_ino == self.locks.get(str(checkout.lock))
        except FileNotFoundError:
            return False

    def close(self) -> None:
        """Releases the locks and removes the file. May be repeated."""
        for checkout in self.checkouts:
            (checkout.admin / f"index.lock.{self.file.stem}").unlink(missing_ok=True)
            if self.holds(checkout):
                checkout.lock.unlink(missing_ok=True)
        self.file.unlink(missing_ok=True)

    def _write(self) -> None:
        text = json.dumps(
            {
                "ref": self.ref, "old": self.old, "new": self.new, "locks": self.locks, "seen": self.seen,
                "checkouts": [[str(c.work_tree), str(c.admin)] for c in self.checkouts],
            }
        )  # fmt: skip
        write_atomic(self.file, text, sync=True)


def stamp(path: Path) -> list[int] | None:
    """By what a file is known to be untouched: inode, time of change in nanoseconds, size; None when there is none."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return [found.st_ino, found.st_mtime_ns, found.st_size]


def journals(repo: Repository) -> list[Journal]:
    """The journals that landings have left behind, oldest first; what cannot be read is moved aside."""
    files = sorted((repo.state / "landing").glob("*.json"), key=lambda f: f.stat().st_mtime)
    return [journal for journal in map(_read, files) if journal is not None]


def _read(file: Path) -> Journal | None:
    try:
        found = json.loads(read_small(file, 1 << 20) or b"")
        checkouts = [Checkout(Path(tree), Path(admin)) for tree, admin in found["checkouts"]]
        return Journal(file, found["ref"], found["old"], found["new"], checkouts, found["locks"], found["seen"])
    except (ValueError, KeyError, TypeError):
        # nobody can finish it, and every command would tell of it again; a lock of its is told of as a stale one
        file.replace(file.with_suffix(".damaged"))
        return None
