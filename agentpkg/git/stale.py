"""Lock files that a killed git process left in the repository: nobody will ever remove them, and all wait for them.

Git holds a lock by the mere existence of a file, so a lock counts as stale only when it is known that nobody is left
who could hold it: no process of this user's works in or on the repository. What a lock file holds is a draft of the
file beside it, which is whole.
"""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from agentpkg.git.discover import MARK, Repository, admin_dirs

#: seconds that a lock must be old
_AGE = 5.0

_REFS = ("HEAD.lock", "packed-refs.lock")
_MORE = ("config.lock", "index.lock", "shallow.lock")


def stale_locks(repo: Repository, *, refs_only: bool = False) -> list[Path]:
    """Locks that no living process can hold; none where that is unknown.

    Args:
        refs_only: those of refs alone, which agentpkg's own git processes leave when they are killed.
    """
    found = [lock for lock in _locks(repo.common_dir, _REFS if refs_only else (*_REFS, *_MORE)) if _is_old(lock)]
    if not found or sys.platform != "linux" or any(_git_processes(repo)):
        return []
    return found


def remove_stale_locks(repo: Repository, *, refs_only: bool = False) -> list[str]:
    """Removes them; gives what was done, one sentence each."""
    done = []
    for lock in stale_locks(repo, refs_only=refs_only):
        lock.unlink(missing_ok=True)
        done.append(f"removed {lock.relative_to(repo.common_dir)}, which a killed git process had left")
    return done


def _locks(common: Path, names: Sequence[str]) -> Iterator[Path]:
    yield from (common / name for name in names if (common / name).is_file())
    for admin in admin_dirs(common):
        if (admin / MARK).is_file():
            yield from (admin / name for name in names if (admin / name).is_file())
    for at, _, names in os.walk(common / "refs"):
        yield from (Path(at) / name for name in names if name.endswith(".lock"))


def _is_old(lock: Path) -> bool:
    try:
        return abs(time.time() - lock.lstat().st_mtime) > _AGE
    except FileNotFoundError:
        return False


def _git_processes(repo: Repository) -> Iterator[int]:
    """Git processes that stand in the repository or name it, and those of which that cannot be known."""
    places = [os.fsencode(repo.work_tree), os.fsencode(repo.common_dir)]
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            words = Path(f"/proc/{name}/cmdline").read_bytes()
            if not os.path.basename(words.split(b"\0")[0]).startswith(b"git"):
                continue
            where = os.fsencode(os.readlink(f"/proc/{name}/cwd"))
        except (FileNotFoundError, ProcessLookupError):
            continue
        except PermissionError:
            # another user's, or one that may not be looked at
            where = places[0] if os.stat(f"/proc/{name}").st_uid == os.geteuid() else b""
            words = b""
        if any(where == place or where.startswith(place + b"/") or place in words for place in places):
            yield int(name)
