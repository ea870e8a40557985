"""Snapshots of work that nobody committed: commits in the quarantine repository of a session, and the way back.

Kept are tracked and untracked files as they are in the worktree, at a session's end also those that nobody may read,
which are made readable for it; not those that git ignores, nor what lies inside a repository of its own within the
worktree. No filter, no hook and no configuration of the user's or the agent's runs,
and the worktree, its index, its branch, the private dir and the repository stay as they are: the index that git needs
is one of agentpkg's own, in the quarantine.
"""

import errno
import os
import re
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from agentpkg.core.errors import NotAllowed
from agentpkg.files import write_atomic
from agentpkg.git.checkouts import Checkout, in_the_way
from agentpkg.git.control import mirror
from agentpkg.git.diff import changed_paths
from agentpkg.git.discover import Repository, read_small
from agentpkg.git.doubt import objects_in_doubt
from agentpkg.git.finite import require_finite
from agentpkg.git.identity import agent_identity
from agentpkg.git.private import private_tip
from agentpkg.git.quarantine import BRANCHES, adopt_objects, open_quarantine, plain_names
from agentpkg.git.repo import Enclose, Git, GitFailed, unenclosed
from agentpkg.git.walk import LARGEST, blocking_files, large_files, open_closed

#: where a quarantine keeps them: ``00001``, ``00002`` … while an agent works, ``refused``, ``end``, ``rewind-00001`` …
SNAPSHOTS = "refs/snapshots"

#: the label of the one at a session's end
END = "end"

#: the label of what a session committed and the repository did not take in
REFUSED = "refused"

#: seconds that one step may take
_SECONDS = 600.0
#: and one of those that are made while an agent works
_WHILE_SECONDS = 120.0

#: bytes
_INDEX_LIMIT = 1 << 28

_GLOB, _BACKSLASH = re.compile(r"([\\*?\[ ])"), r"\\\1"
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,80}")
_SAID = re.compile(r"^Files: (\d+)\nBytes: (\d+)$", re.MULTILINE)

_FIELDS = "%(refname)%00%(objectname)%00%(committerdate:unix)%00%(contents)%00"


class Snapshot(NamedTuple):
    """Uncommitted work that was kept: its commit, None when there was none, and how many paths it is about."""

    commit: str | None
    paths: int


@dataclass(frozen=True, slots=True)
class Kept:
    """A snapshot as it lies in a quarantine.

    Attributes:
        label: what it is called there, see :data:`SNAPSHOTS`.
        seconds: when it was made, since the epoch, by the clock of that moment.
        files: how many files differ from the commit below it.
        size: their bytes.
    """

    label: str
    commit: str
    seconds: int
    files: int
    size: int


def snapshot(
    control: Git, private: Path, worktree: Path, head: str, label: str = END, *, provided: Sequence[str] = (),
    excludes: Path | None = None, enclose: Enclose = unenclosed,
) -> Snapshot:  # fmt: skip
    """Keeps the uncommitted work of a worktree that has a private dir, or had one.

    Args:
        control: git on the repository's control dir.
        private: the session's private git dir, whose objects are read; the quarantine lies beside it.
        head: the tip of the worktree's branch, in the repository, the quarantine or the private dir.
        label: the last part of the ref below :data:`SNAPSHOTS`; letters, digits, ``-`` and ``_``.
        provided: paths that agentpkg put there itself; left out unless they are tracked.
        excludes: the user's own ignore file.
        enclose: puts git, which reads files and objects of the agent's, behind walls.

    Raises:
        GitFailed: the files could not be read, or there is no room for them.
    """
    if not _LABEL.fullmatch(label):
        raise ValueError(label)
    quarantine = _opened(control, private.parent, head, provided)
    objects = private / "objects"
    # what only they hold is lost then, which is for whoever put a pipe there
    trusted = objects.is_dir() and objects_in_doubt(objects, control.git_dir.parent.parent / "objects") is None
    alternates = (objects,) if trusted else ()
    draft = quarantine.git_dir / f"index.{secrets.token_hex(8)}"
    walls = _walls(quarantine, worktree, (*alternates, *([excludes] if excludes else [])), enclose)
    git = _reading(quarantine, worktree, draft, excludes).but(alternates=alternates, prefix=walls)
    try:
        tree = _tree_of_files(git, head, _index_of(private, worktree), _SECONDS, opens=True)
        return _keep(git, head, tree, label, _SECONDS)
    finally:
        draft.unlink(missing_ok=True)


class Watch:
    """Snapshots of a worktree in which an agent works, each only if something has changed since the last.

    Between two of them it remembers which files were unchanged, so that one costs a look at every file and the reading
    of those that changed. It reads no object of the agent's from where the agent could put a pipe in its way.

    Args:
        control: git on the repository's control dir.
        private: the session's private git dir.
        branch: the package's branch.
        old_head: its tip when the session began.
        provided, excludes, enclose: as for :func:`snapshot`.
    """

    def __init__(
        self, control: Git, private: Path, worktree: Path, branch: str, old_head: str,
        provided: Sequence[str] = (), excludes: Path | None = None, enclose: Enclose = unenclosed,
    ) -> None:  # fmt: skip
        self._private, self._worktree, self._branch, self._old_head = private, worktree, branch, old_head
        self._quarantine = _opened(control, private.parent, old_head, provided)
        self._index = self._quarantine.git_dir / "index.watch"
        self._index.unlink(missing_ok=True)
        walls = _walls(self._quarantine, worktree, [excludes] if excludes else [], enclose)
        self._git = _reading(self._quarantine, worktree, self._index, excludes).but(prefix=walls)
        self._head: str | None = None
        self._tree: str | None = None
        self._number = 0
        #: bytes that were kept so far, before compression
        self.size = 0

    def take(self) -> Snapshot:
        """Keeps what is uncommitted now; ``(None, 0)`` when that is nothing, or what was kept last.

        Raises:
            GitFailed: the files could not be read, there is no room for them, or it took too long.
        """
        if self._worktree.is_symlink() or not self._worktree.is_dir() or blocking_files(self._worktree):
            return Snapshot(None, 0)
        adopt_objects(self._quarantine, self._private)
        head = private_tip(self._private, self._branch) or self._old_head
        try:
            tree = self._tree_now(head)
        except GitFailed:
            # a git that was killed leaves its lock; what it wrote of the index is nothing to build on
            self._head = None
            for name in ("index.watch.lock", "index.watch"):
                (self._quarantine.git_dir / name).unlink(missing_ok=True)
            raise
        if tree == self._tree:
            return Snapshot(None, 0)
        kept = _keep(self._git, head, tree, f"{self._number + 1:05d}", _WHILE_SECONDS)
        if kept.commit is not None:
            self._number += 1
            self.size += sum(change.size for change in changed_paths(self._git, self._tree or head, tree))
        self._tree = tree
        return kept

    def _tree_now(self, head: str) -> str:
        if head == self._head and self._index.exists():
            return _added(self._git, _WHILE_SECONDS)
        # unknown until it is done: the next one begins anew if this is cut off
        self._head = None
        start = self._index if self._index.exists() else _index_of(self._private, self._worktree)
        tree = _tree_of_files(self._git, head, start, _WHILE_SECONDS)
        self._head = head
        return tree


def keep_refused(repo: Repository, session: Path, branch: str, old_head: str, enclose: Enclose = unenclosed) -> None:
    """Keeps what a sealed session had committed, when nothing of it came in; may be repeated.

    What cannot be read as a commit is kept in the quarantine as it is, without being one of the snapshots.

    Args:
        branch: the package's.
        old_head: its tip in the repository when the session began.
        enclose: puts git, which reads objects of the agent's, behind walls.
    """
    quarantine = open_quarantine(repo.common_dir, session, repo.object_format)
    git = quarantine.but(
        prefix=enclose((repo.objects,), (quarantine.git_dir,)), environment=agent_identity("agentpkg").variables()
    )
    with suppress(GitFailed):
        tip = git.text("rev-parse", "--verify", "--quiet", f"{BRANCHES}/heads/{branch}^{{tree}}")
        _keep(git, old_head, tip, REFUSED, _SECONDS)


def kept_in(repo: Repository, session: Path) -> list[Kept]:
    """The snapshots of a session, oldest first."""
    if not (session / "quarantine.git").is_dir():
        return []
    git = open_quarantine(repo.common_dir, session, repo.object_format)
    listed = git.text("for-each-ref", f"--format={_FIELDS}", SNAPSHOTS)
    words = listed.split("\0")
    found = [_kept(*words[at : at + 4]) for at in range(0, len(words) - 3, 4)]
    # the clock may have been set back, so the labels tell the order
    return sorted(found, key=lambda kept: (kept.label.startswith("rewind"), kept.label == END, kept.label))


def restore(
    repo: Repository, session: Path, commit: str, worktree: Path, admin: Path, head: str, into: Path, *,
    provided: Sequence[str] = (), excludes: Path | None = None,
) -> tuple[Snapshot, int]:  # fmt: skip
    """Makes the files of a worktree those of a snapshot, after keeping what is there; all or nothing.

    The branch, HEAD and the index stay: the difference shows as changes that are not committed. Ignored and provided
    files stay.

    Args:
        session: the folder of the session whose snapshot ``commit`` is.
        admin: the worktree's admin dir; no session has the worktree.
        head: the tip of its branch.
        into: the folder of the session that gets what is there now.

    Returns:
        What was kept of what was there, and how many files are other ones now.

    Raises:
        NotAllowed: an ignored file is in the way; nothing has changed.
        GitFailed: the files could not be read or written.
    """
    own = open_quarantine(repo.common_dir, into, repo.object_format)
    _exclude(own, provided)
    draft = own.git_dir / f"index.{secrets.token_hex(8)}"
    other = (session / "quarantine.git" / "objects",) if session != into else ()
    git = _reading(own, worktree, draft, excludes).but(alternates=other)
    try:
        now = _tree_of_files(git, head, admin / "index", _SECONDS)
        number = sum(kept.label.startswith("rewind") for kept in kept_in(repo, into)) + 1
        saved = _keep(git, head, now, f"rewind-{number:05d}", _SECONDS)
        changed = changed_paths(git, now, f"{commit}^{{tree}}", sizes=False)
        # git itself would write over ignored files
        blocked = in_the_way(Checkout(worktree, admin), changed)
        if blocked:
            raise _in_the_way(worktree, ", ".join(blocked[:5]))
        moved = git.run("read-tree", "-m", "-u", now, commit, ok=(0, 1, 128), timeout=_SECONDS)
        if moved.returncode:
            raise _in_the_way(worktree, moved.stderr.decode("utf-8", "backslashreplace"))
        return saved, len(changed)
    finally:
        draft.unlink(missing_ok=True)


def _in_the_way(worktree: Path, said: str) -> NotAllowed:
    what = next((line.strip() for line in said.splitlines() if line.strip()), "git said nothing")
    return NotAllowed(
        f"the snapshot cannot come back into {worktree}, this is in the way: {what}",
        "move it elsewhere; nothing was changed", code="in_the_way",
    )  # fmt: skip


def _kept(name: str, commit: str, seconds: str, message: str) -> Kept:
    said = _SAID.search(message)
    files, size = (int(said[1]), int(said[2])) if said else (0, 0)
    return Kept(name.strip().removeprefix(f"{SNAPSHOTS}/"), commit, int(seconds), files, size)


def _opened(control: Git, session: Path, head: str, provided: Sequence[str]) -> Git:
    common = control.git_dir.parent.parent
    quarantine = open_quarantine(common, session, "sha256" if len(head) == 64 else "sha1")
    _exclude(quarantine, provided)
    return quarantine


def _exclude(quarantine: Git, provided: Sequence[str]) -> None:
    """What the repository ignores in ``info/exclude``, and what agentpkg put there itself."""
    common = quarantine.git_dir.parents[3]
    file = quarantine.git_dir / "info" / "exclude"
    mirror(common / "info" / "exclude", file)
    before = read_small(file, 1 << 20) or b""
    own = "".join(f"/{_GLOB.sub(_BACKSLASH, path)}\n" for path in provided)
    write_atomic(file, before + (b"\n" if before else b"") + os.fsencode(own))


def _reading(quarantine: Git, worktree: Path, index: Path, excludes: Path | None) -> Git:
    return quarantine.but(
        work_tree=worktree, index=index, environment=agent_identity("agentpkg").variables(),
        config=(
            "core.autocrlf=false", "core.safecrlf=false", f"core.excludesFile={excludes or os.devnull}",
            # one flush for all of a snapshot's objects instead of one for each
            "core.fsyncMethod=batch",
        ),
    )  # fmt: skip


def _walls(quarantine: Git, worktree: Path, more: Sequence[Path], enclose: Enclose) -> tuple[str, ...]:
    common = quarantine.git_dir.parents[3]
    return enclose((worktree, common / "objects", *more), (quarantine.git_dir,))


def _keep(git: Git, head: str, tree: str, label: str, seconds: float) -> Snapshot:
    changes = changed_paths(git, head, tree)
    if not changes:
        return Snapshot(None, 0)
    size = sum(max(0, change.size) for change in changes)
    message = f"snapshot {label}\n\nFiles: {len(changes)}\nBytes: {size}\n"
    commit = git.run("commit-tree", tree, "-p", head, "-F", "-", stdin=message.encode(), timeout=seconds).text
    git.run("update-ref", f"{SNAPSHOTS}/{label}", commit)
    return Snapshot(commit, len(changes))


def _index_of(private: Path, worktree: Path) -> Path | None:
    """The index of the session's worktree, for what it knows of unchanged files; anything may be in it."""
    expected = os.fsencode(worktree / ".git")
    for name in plain_names(private / "worktrees", folders=True):
        if (read_small(private / "worktrees" / name / "gitdir") or b"").strip() == expected:
            return private / "worktrees" / name / "index"
    return None


def _tree_of_files(git: Git, head: str, start: Path | None, seconds: float, opens: bool = False) -> str:
    """The tree of the files as they are; git's index is in keeping with it afterwards.

    Args:
        start: an index that knows of unchanged files; anything may be in it, or in its place.
        opens: files that nobody may read are made readable.
    """
    assert git.index is not None
    require_finite(git, [head])
    taken = start is not None and _take_index(start, git.index)
    # without one that git can read, all files are read anew
    if not taken or git.run("read-tree", "--reset", head, ok=(0, 128), timeout=seconds).returncode:
        git.index.unlink(missing_ok=True)
        git.run("read-tree", head, timeout=seconds)
    return _added(git, seconds, opens)


def _take_index(start: Path, index: Path) -> bool:
    """Copies an index that somebody else wrote, if it is a plain file of a size that an index may have."""
    if start == index:
        return index.exists()
    data = read_small(start, _INDEX_LIMIT)
    if data is None:
        return False
    index.write_bytes(data)
    with suppress(OSError):
        # by it git tells which files may be newer than what it says of them
        known = os.lstat(start)
        os.utime(index, ns=(known.st_atime_ns, known.st_mtime_ns))
    return True


def _added(git: Git, seconds: float, opens: bool = False) -> str:
    # what cannot be read (a closed file, a repository without a commit) is left out, the rest is kept
    # and what is so large that reading it would hold everybody up stays in the worktree, which is not removed then
    assert git.work_tree is not None
    large = [f":(exclude,literal){name}" for name in large_files(git.work_tree, LARGEST)]
    adding = git.but(environment={**git.environment, "GIT_LITERAL_PATHSPECS": "0"})

    def add() -> bytes:
        return adding.run(
            "add", "--all", "--ignore-errors", "--pathspec-from-file=-", "--pathspec-file-nul",
            stdin=b"\0".join(map(os.fsencode, (".", *large))), ok=(0, 1, 128), timeout=seconds,
        ).stderr  # fmt: skip

    if os.strerror(errno.EACCES).encode() in add() and opens:
        open_closed(git.work_tree)
        add()
    return git.run("write-tree", timeout=seconds).text
