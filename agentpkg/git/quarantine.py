"""The quarantine repository of a session: what was refused, and snapshots of work that nobody committed.

A bare repository of agentpkg's own beside the private git dir, with a configuration of its own. Objects and refs are
taken over from the private dir as plain files; its configuration, hooks, attributes and logs are not. Nothing of it
reaches the repository's objects or refs, and nothing an agent made is thrown away.
"""

import os
import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from agentpkg.files import remove_tree, write_atomic
from agentpkg.git.control import alternates_line, mirror
from agentpkg.git.diff import changed_paths
from agentpkg.git.discover import Repository, read_small
from agentpkg.git.identity import agent_identity
from agentpkg.git.repo import Git

#: where the quarantine keeps the branches of the private dir, and the snapshots
BRANCHES, SNAPSHOTS = "refs/session", "refs/snapshots"

_SECONDS = 600.0
_PACKED_LIMIT = 64 << 20
_ID = re.compile(rb"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_GLOB, _BACKSLASH = re.compile(r"([\\*?\[ ])"), r"\\\1"
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,80}")
_OBJECT = re.compile(r"[0-9a-f]{38}(?:[0-9a-f]{24})?")
_PACK = re.compile(r"pack-[0-9a-f]{40}(?:[0-9a-f]{24})?\.(?:pack|idx|rev)")


class Snapshot(NamedTuple):
    """Uncommitted work that was kept: its commit, None when there was none, and how many paths it is about."""

    commit: str | None
    paths: int


def open_quarantine(common: Path, session: Path, object_format: str = "sha1") -> Git:
    """Git on ``<session>/quarantine.git``, made if it is missing, over the objects of the repository ``common``."""
    path = session / "quarantine.git"
    if not path.is_dir():
        draft = session / f"quarantine.{secrets.token_hex(8)}"
        for folder in ("objects/info", "objects/pack", "refs", "info"):
            (draft / folder).mkdir(mode=0o700, parents=True)
        (draft / "HEAD").write_bytes(b"ref: refs/heads/none\n")
        (draft / "objects/info/alternates").write_bytes(alternates_line(common / "objects", path))
        (draft / "config").write_text(_config(object_format))
        try:
            os.rename(draft, path)
        except OSError:
            shutil.rmtree(draft, ignore_errors=True)
            if not path.is_dir():
                raise
    mirror(common / "shallow", path / "shallow")
    return Git(path)


def snapshot(
    control: Git, private: Path, worktree: Path, head: str, label: str = "end", *, provided: Sequence[str] = (),
    excludes: Path | None = None,
) -> Snapshot:  # fmt: skip
    """Keeps the uncommitted work of a worktree, tracked and untracked but not ignored, as a commit in the quarantine.

    No filter, no conversion, no hook: the files' bytes as they are. The worktree, its index, its branch, the private
    dir and the repository stay as they are.

    Args:
        control: git on the repository's control dir.
        private: the session's private git dir, whose objects are read.
        head: the tip of the worktree's branch, in the repository or in the private dir.
        label: the last part of the ref below :data:`SNAPSHOTS`; letters, digits, ``-`` and ``_``.
        provided: paths that agentpkg put there itself; left out unless they are tracked.
        excludes: the user's own ignore file.

    Raises:
        GitFailed: the files could not be read, or there is no room for them.
    """
    if not _LABEL.fullmatch(label):
        raise ValueError(label)
    common = control.git_dir.parent.parent
    quarantine = open_quarantine(common, private.parent, "sha256" if len(head) == 64 else "sha1")
    exclude = "".join(f"/{_GLOB.sub(_BACKSLASH, path)}\n" for path in provided)
    write_atomic(quarantine.git_dir / "info" / "exclude", exclude)
    draft = quarantine.git_dir / f"index.{secrets.token_hex(8)}"
    git = quarantine.but(
        work_tree=worktree, index=draft, alternates=tuple(p for p in (private / "objects",) if p.is_dir()),
        environment=agent_identity("agentpkg").variables(),
        config=("core.autocrlf=false", "core.safecrlf=false", f"core.excludesFile={excludes or os.devnull}"),
    )  # fmt: skip
    try:
        tree = _tree_of_files(git, head, draft, _index_of(private, worktree))
        paths = len(changed_paths(git, head, tree, sizes=False))
        if not paths:
            return Snapshot(None, 0)
        commit = git.run("commit-tree", tree, "-p", head, "-F", "-", stdin=f"snapshot {label}\n".encode()).text
        git.run("update-ref", f"{SNAPSHOTS}/{label}", commit)
        return Snapshot(commit, paths)
    finally:
        draft.unlink(missing_ok=True)


def _index_of(private: Path, worktree: Path) -> bytes | None:
    """The index of the session's worktree, for what it knows of unchanged files; anything may be in it."""
    expected = os.fsencode(worktree / ".git")
    for name in _plain(private / "worktrees", folders=True):
        if (read_small(private / "worktrees" / name / "gitdir") or b"").strip() == expected:
            return read_small(private / "worktrees" / name / "index", 1 << 28)
    return None


def snapshots(repo: Repository, session: Path) -> dict[str, str]:
    """The snapshots of a session: commit ids by label."""
    if not (session / "quarantine.git").is_dir():
        return {}
    git = open_quarantine(repo.common_dir, session, repo.object_format)
    lines = git.text("for-each-ref", "--format=%(refname) %(objectname)", SNAPSHOTS).splitlines()
    return {name.removeprefix(f"{SNAPSHOTS}/"): sha for name, sha in (line.split(" ") for line in lines)}


def seal(repo: Repository, private: Path, session: Path) -> Path:
    """Turns a session's private dir into its quarantine repository; may be repeated. All its processes have ended.

    Branches and tags come under :data:`BRANCHES`. The private dir is removed.

    Returns:
        The quarantine's path.
    """
    git = open_quarantine(repo.common_dir, session, repo.object_format)
    if private.is_dir() and not private.is_symlink():
        for source, name in _object_files(private / "objects"):
            target = git.git_dir / "objects" / name
            if not target.exists():
                target.parent.mkdir(exist_ok=True)
                os.replace(source, target)
        _take_refs(repo, git, private)
        remove_tree(private)
    return git.git_dir


def _config(object_format: str) -> str:
    if object_format == "sha1":
        return "[core]\n\trepositoryformatversion = 0\n\tbare = true\n"
    extensions = f"[extensions]\n\tobjectformat = {object_format}\n"
    return f"[core]\n\trepositoryformatversion = 1\n\tbare = true\n{extensions}"


def _tree_of_files(git: Git, head: str, draft: Path, start: bytes | None) -> str:
    if start is not None:
        draft.write_bytes(start)
    # an index that somebody else wrote may be anything; without it, all files are read anew
    if start is None or git.run("read-tree", "--reset", head, ok=(0, 128), timeout=_SECONDS).returncode:
        draft.unlink(missing_ok=True)
        git.run("read-tree", head, timeout=_SECONDS)
    # what cannot be read (a closed file, a repository without a commit) is left out, the rest is kept
    git.run("add", "--all", "--ignore-errors", "--", ".", ok=(0, 1, 128), timeout=_SECONDS)
    return git.text("write-tree")


def _object_files(objects: Path) -> Iterator[tuple[Path, str]]:
    """The plain object files of a private dir, each with its name below ``objects``; packs before their indexes."""
    for folder in sorted(_plain(objects, folders=True)):
        names = sorted(_plain(objects / folder, folders=False), key=lambda name: (name.endswith(".idx"), name))
        for name in names:
            loose = len(folder) == 2 and _OBJECT.fullmatch(name)
            if loose or (folder == "pack" and _PACK.fullmatch(name)):
                yield objects / folder / name, f"{folder}/{name}"


def _plain(folder: Path, *, folders: bool) -> list[str]:
    if folder.is_symlink() or not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        kind = "is_dir" if folders else "is_file"
        return [entry.name for entry in entries if getattr(entry, kind)(follow_symlinks=False)]


def _take_refs(repo: Repository, git: Git, private: Path) -> None:
    """Takes over every ref that is not just the repository's own, and whose object is there."""
    listed = repo.git.text("for-each-ref", "--format=%(refname) %(objectname)").split("\n")
    found = {name: sha for name, sha in _refs(private).items() if f"{name} {sha}" not in set(listed)}
    asked = "".join(f"{sha}\n" for sha in found.values()).encode()
    answers = git.text("cat-file", "--batch-check=%(objectname)", stdin=asked).split("\n")
    there = [(name, sha) for (name, sha), answer in zip(found.items(), answers, strict=False) if answer == sha]
    lines = "".join(f"update {BRANCHES}/{name.removeprefix('refs/')}\0{sha}\0\0" for name, sha in there)
    if lines:
        git.run("update-ref", "--stdin", "-z", stdin=lines.encode("utf-8", "surrogateescape"))


def _refs(private: Path) -> dict[str, str]:
    """Refs of a private dir, read as data; a loose one stands before a packed one."""
    found: dict[str, str] = {}
    for line in (read_small(private / "packed-refs", _PACKED_LIMIT) or b"").split(b"\n"):
        sha, _, name = line.partition(b" ")
        if _ID.fullmatch(sha) and _is_ref(name):
            found[os.fsdecode(name)] = sha.decode()
    for at, _, names in os.walk(private / "refs"):
        for file in names:
            path = Path(at) / file
            sha = (read_small(path, 256) or b"").strip()
            full = os.fsencode(path.relative_to(private))
            if _ID.fullmatch(sha) and _is_ref(full):
                found[os.fsdecode(full)] = sha.decode()
    return found


def _is_ref(name: bytes) -> bool:
    """A subset of git-check-ref-format(1) that loses no name anybody uses."""
    if re.search(rb"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|\.lock(?:/|$)|(?:^|/)\.|[./]$", name):
        return False
    return name.startswith((b"refs/heads/", b"refs/tags/", b"refs/stash"))
