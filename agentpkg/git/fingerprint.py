"""What the real repository looked like before and after a session, where nothing stops an agent from writing to it.

Damage is detected, not prevented. What makes git run programs or read other content (configuration, hooks, ``info``,
alternates, the admin dirs of worktrees) stops the package; what the user and other landings move all the time (refs,
HEAD, indexes, worktrees that come and go) is reported. Nothing is restored here.
"""

import hashlib
import os
import re
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from agentpkg.git.discover import MARK, Repository, admin_dir_of, admin_dirs
from agentpkg.git.repo import GitFailed

#: the file in a session's folder that keeps the fingerprint from before the agent started
FILE = "fingerprint.json"

#: single files of a git dir that stop a package when they change
_GUARDED = ("config", "config.worktree", "commondir", "gitdir", "objects/info/alternates",
            "objects/info/http-alternates")  # fmt: skip
_GUARDED_ADMIN = ("gitdir", "commondir", "config.worktree")
_OWN_ADMIN = (MARK, "HEAD", "index")
_USERS_ADMIN = ("HEAD", "index")
_WATCHED = ("HEAD", "index", "shallow", "index.lock", "HEAD.lock", "config.lock", "packed-refs.lock", "shallow.lock")

#: written by git's own housekeeping, for servers of the dumb protocol only
_INFO_DERIVED = "refs"

#: seconds for git to write or remove the files of one admin dir
_SETTLING = 0.5

#: largest file whose content counts; a larger one counts by size and time
_CONTENT = 64 << 20


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """A repository at one moment: digests by path below the common dir, ids by ref name.

    Attributes:
        guarded: what stops a package.
        watched: what is reported.
        refs: commit id, or ``(target)`` for a symbolic one; agentpkg's own refs are left out.
    """

    guarded: Mapping[str, str] = field(default_factory=dict)
    watched: Mapping[str, str] = field(default_factory=dict)
    refs: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The same as plain JSON data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Fingerprint":
        """The inverse of :meth:`as_json`."""
        return cls(dict(data["guarded"]), dict(data["watched"]), dict(data["refs"]))


@dataclass(frozen=True, slots=True)
class Findings:
    """What changed between two fingerprints, a line each: ``config changed``, ``hooks/pre-commit appeared``.

    Attributes:
        adrift: the session's own worktree has lost its admin dir.
    """

    stops: tuple[str, ...] = ()
    reports: tuple[str, ...] = ()
    adrift: bool = False


def take(repo: Repository, own: Path | None = None) -> Fingerprint:
    """The repository's fingerprint.

    Args:
        own: the session's worktree. The index and HEAD in its real admin dir, which nobody writes while ``.git``
            names the private dir, are guarded then. Take the second one before :func:`agentpkg.git.private.leave`.
    """
    common = repo.common_dir
    admin = admin_dir_of(common, own) if own is not None else None
    guarded = dict(_digests(common, (*_GUARDED, *_below(common, "hooks"), *_info(common), *_modules(common))))
    watched = dict(_digests(common, _WATCHED))
    for other in admin_dirs(common):
        place = f"worktrees/{other.name}"
        if other != admin and not _is_settled(other):
            continue
        guarded[f"{place}/gitdir"] = "missing"
        guarded.update(_digests(common, (f"{place}/{name}" for name in _GUARDED_ADMIN)))
        if other == admin:
            guarded.update(_digests(common, (f"{place}/{name}" for name in _OWN_ADMIN)))
        elif not (other / MARK).exists():
            # other packages' move whenever their sessions begin and end, and are guarded by those
            watched.update(_digests(common, (f"{place}/{name}" for name in _USERS_ADMIN)))
    return Fingerprint(guarded, watched, _refs(repo))


def _is_settled(admin: Path) -> bool:
    """Waits for a worktree that is being made or removed right now, by another package; False once it is gone."""
    deadline = time.monotonic() + _SETTLING
    while not os.path.lexists(admin / "gitdir"):
        if not admin.is_dir():
            return False
        if time.monotonic() > deadline:
            break
        time.sleep(0.01)
    return True


def compare(before: Fingerprint, after: Fingerprint) -> Findings:
    """What changed. Worktrees may come and go: an admin dir that is gone as a whole makes git run and read nothing."""
    there, now = _admins(before), _admins(after)
    moving = there ^ now
    own = {path.split("/")[1] for path in before.guarded if path.startswith("worktrees/") and path.endswith(f"/{MARK}")}
    differing = [
        (path, line) for path, line in _changed(before.guarded, after.guarded) if _admin_of(path) not in moving
    ]
    stops = [line for path, line in differing if not _is_emptied_index(path, after)]
    reports = [line for path, line in _changed(before.watched, after.watched) if _admin_of(path) not in moving]
    reports += [line for path, line in differing if _is_emptied_index(path, after)]
    reports += [f"worktrees/{name} {'vanished' if name in there else 'appeared'}" for name in sorted(moving)]
    reports += [
        f"{name}: {_short(before.refs.get(name))} -> {_short(after.refs.get(name))}"
        for name, _ in _changed(before.refs, after.refs)
    ]
    return Findings(tuple(stops), tuple(reports), bool(own - now))


def _is_emptied_index(path: str, now: Fingerprint) -> bool:
    """Git has not waited for the disk when it wrote an index: a power cut leaves none, and git reads nothing in it."""
    value = now.guarded.get(path, "")
    return path.rpartition("/")[2] == "index" and value.endswith(hashlib.sha256(b"").hexdigest())


def _short(value: str | None) -> str:
    return "none" if value is None else value[:12] if re.fullmatch("[0-9a-f]{40,64}", value) else value


def _changed(before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            verb = "appeared" if name not in before else "vanished" if name not in after else "changed"
            yield name, f"{name} {verb}"


def _admins(fingerprint: Fingerprint) -> set[str]:
    return {name for path in fingerprint.guarded if (name := _admin_of(path))}


def _admin_of(path: str) -> str:
    parts = path.split("/")
    return parts[1] if parts[0] == "worktrees" else ""


def _refs(repo: Repository) -> dict[str, str]:
    """Ids and symbolic targets by name; one entry that says so when the repository has become unreadable."""
    try:
        listed = repo.git.text("for-each-ref", "--format=%(objectname) %(symref) %(refname)")
    except GitFailed:
        return {"refs": "unreadable"}
    found: dict[str, str] = {}
    for line in listed.splitlines():
        id_, symbolic, name = line.split(" ", 2)
        if not name.startswith("refs/agentpkg/"):
            found[name] = f"({symbolic})" if symbolic else id_
    return found


def _info(common: Path) -> list[str]:
    return [name for name in _below(common, "info") if name != f"info/{_INFO_DERIVED}"]


def _below(common: Path, folder: str) -> list[str]:
    """All files below a folder, links not followed, plus the folder itself if it is something else than one."""
    root = common / folder
    if root.is_symlink() or (os.path.lexists(root) and not root.is_dir()):
        return [folder]
    return sorted(
        os.path.relpath(os.path.join(where, name), common) for where, _, names in os.walk(root) for name in names
    )


def _modules(common: Path) -> list[str]:
    """Configuration and hooks of submodules' git dirs, which lie below ``modules``, nested as their names are."""
    found: list[str] = []
    for where, folders, names in os.walk(common / "modules"):
        if "HEAD" in names:
            place = os.path.relpath(where, common)
            found += [f"{place}/config", *_below(common, f"{place}/hooks")]
            folders[:] = [name for name in folders if name == "modules"]
    return found


def _digests(common: Path, names: Iterator[str] | tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for name in names:
        found = digest(common / name)
        if found is not None:
            yield name, found


def digest(path: Path) -> str | None:
    """What a path is: kind, mode and content; None when there is nothing."""
    try:
        seen = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISLNK(seen.st_mode):
        return f"link {os.readlink(path)} {digest(Path(os.path.realpath(path)))}"
    if not stat.S_ISREG(seen.st_mode):
        return f"special {seen.st_mode:o}"
    if seen.st_size > _CONTENT:
        return f"large {seen.st_mode:o} {seen.st_size} {seen.st_mtime_ns}"
    with open(path, "rb") as file:
        return f"{seen.st_mode:o} {hashlib.file_digest(file, 'sha256').hexdigest()}"
