"""A repository that was moved to another folder: absolute paths in what agentpkg made follow it.

Git writes absolute paths into a worktree's ``.git`` file and into its admin dir, and agentpkg into sessions and the
journals of landings. The state folder remembers where the repository was when they were written. Only worktrees that
agentpkg made are touched; for others there is ``git worktree repair``.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentpkg.files import write_atomic
from agentpkg.git.discover import BACK_POINTER, MARK, Repository, admin_dirs, read_small
from agentpkg.git.fingerprint import FILE, digest
from agentpkg.git.worktrees import refs_lock

#: in the state folder: the work tree and the git common dir, one a line
_PLACE = "place"

_LIMIT = 1 << 20
_FINGERPRINT_LIMIT = 64 << 20


def moved_from(repo: Repository) -> str | None:
    """The work tree that paths still name because the repository was moved; None where they name the present one."""
    before = read_small(repo.state / _PLACE)
    if before is None or before == _place(repo.work_tree, repo.common_dir):
        return None
    return os.fsdecode(before.split(b"\n")[0])


def follow(repo: Repository) -> list[str]:
    """Has everything name the repository's present place; costs a look at one file where it has not moved.

    Returns:
        What was done, one sentence each.
    """
    file, here = repo.state / _PLACE, _place(repo.work_tree, repo.common_dir)
    if not repo.state.is_dir() or read_small(file) == here:
        return []
    with refs_lock(repo):
        before = (read_small(file) or b"").split(b"\n")
        done = []
        if len(before) >= 2:
            move = _Move(repo, os.fsdecode(before[0]), os.fsdecode(before[1]))
            count = move.worktrees() + move.sessions() + move.journals()
            done = [f"the repository was moved from {os.fsdecode(before[0])}; {count} places follow"]
        write_atomic(file, here)
    return done


def _place(work_tree: Path, common: Path) -> bytes:
    return os.fsencode(work_tree) + b"\n" + os.fsencode(common) + b"\n"


@dataclass(frozen=True, slots=True)
class _Move:
    repo: Repository
    old_work_tree: str
    old_common: str

    def worktrees(self) -> int:
        """Admin dirs name their worktrees, and worktrees their admin dirs."""
        count = 0
        for admin in admin_dirs(self.repo.common_dir):
            if not (admin / MARK).is_file():
                continue
            before = digest(admin / "gitdir")
            count += self._rewrite(admin / "gitdir")
            self._expect(f"worktrees/{admin.name}/gitdir", before, digest(admin / "gitdir"))
            named = Path(os.fsdecode((read_small(admin / "gitdir") or b"").strip()))
            if named.is_file() and not named.is_symlink():
                count += self._rewrite(named, b"gitdir: ")
        return count

    def _expect(self, name: str, before: str | None, after: str | None) -> None:
        """What a session that has not ended will be compared with knows of this change, and of no other."""
        for file in self.repo.state.glob(f"sessions/*/{FILE}"):
            known = json.loads(read_small(file, _FINGERPRINT_LIMIT) or b"{}")
            guarded = known.get("guarded", {})
            if before != after and guarded.get(name) == before:
                write_atomic(file, json.dumps({**known, "guarded": {**guarded, name: after}}))

    def sessions(self) -> int:
        """Back-pointers, and private git dirs that were not given back."""
        folders = self.repo.state / "sessions"
        names = (BACK_POINTER, "git/worktrees/*/gitdir", "git/objects/info/alternates")
        files = [file for name in names for file in folders.glob(f"*/{name}")]
        return sum(map(self._rewrite, files))

    def journals(self) -> int:
        """Landings that were cut short."""
        return sum(self._rewrite_json(file) for file in (self.repo.state / "landing").glob("*.json"))

    def _rewrite(self, file: Path, before: bytes = b"") -> int:
        data = read_small(file)
        if data is None or not data.startswith(before):
            return 0
        fresh = os.fsencode(self._moved(os.fsdecode(data[len(before) :])))
        if before + fresh == data:
            return 0
        write_atomic(file, before + fresh, 0o644)
        return 1

    def _rewrite_json(self, file: Path) -> int:
        try:
            write_atomic(file, json.dumps(self._all(json.loads(read_small(file, _LIMIT) or b""))), sync=True)
        except ValueError:
            return 0
        return 1

    def _all(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._moved(value)
        if isinstance(value, list):
            return [self._all(one) for one in value]
        if isinstance(value, dict):
            return {self._moved(key): self._all(one) for key, one in value.items()}
        return value

    def _moved(self, path: str) -> str:
        # the inner one first: the work tree is a beginning of it, as a rule
        for old, new in self._pairs():
            if path.rstrip("\n") == old or path.startswith(f"{old}/"):
                return new + path.removeprefix(old)
        return path

    def _pairs(self) -> Iterator[tuple[str, str]]:
        yield self.old_common, str(self.repo.common_dir)
        yield self.old_work_tree, str(self.repo.work_tree)
