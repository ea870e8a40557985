"""The user's checkouts of the target, and how they follow it: as ``git merge --ff-only``, all or nothing, and more.

More, because nothing of the user's may be lost: ignored files in the way stop a landing, which git would overwrite.
A checkout's index is locked as git locks it (``index.lock``), and only replaced when everything else has been done.
"""

import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agentpkg.git.diff import GITLINK, Change
from agentpkg.git.discover import Repository, admin_dir_of, read_small
from agentpkg.git.repo import Git, GitFailed
from agentpkg.git.worktrees import list_worktrees

#: seconds for writing the files of a large checkout
_SECONDS = 1800.0

#: files in an admin dir that say "something is under way here"; the target may not move below it
_UNDER_WAY = {
    "MERGE_HEAD": "a merge", "CHERRY_PICK_HEAD": "a cherry-pick", "REVERT_HEAD": "a revert",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Checkout:
    """A work tree that has the target checked out: its folder, and its git dir (``.git``, or an admin dir)."""

    work_tree: Path
    admin: Path

    @property
    def index(self) -> Path:
        """The index file."""
        return self.admin / "index"

    @property
    def lock(self) -> Path:
        """What git makes while it changes the index."""
        return self.admin / "index.lock"


def checkouts_of(repo: Repository, ref: str) -> list[Checkout]:
    """The work trees that have ``ref`` (a full name) checked out; usually one or none."""
    found = []
    for tree in list_worktrees(repo):
        if tree.branch != ref or tree.bare or not tree.path.is_dir():
            continue
        admin = repo.common_dir if tree.path == repo.work_tree else admin_dir_of(repo.common_dir, tree.path)
        if admin is not None:
            found.append(Checkout(tree.path, admin))
    return found


def under_way(repo: Repository, checkouts: Sequence[Checkout], ref: str) -> str | None:
    """What the user is in the middle of, so that the target must not move now; None when it is nothing."""
    for checkout in checkouts:
        for name, what in _UNDER_WAY.items():
            if (checkout.admin / name).exists():
                return f"{what} is not finished in {checkout.work_tree}"
    for admin in [repo.common_dir, *(repo.common_dir / "worktrees").glob("*")]:
        for name in ("rebase-merge/head-name", "rebase-apply/head-name"):
            if (read_small(admin / name) or b"").strip() == os.fsencode(ref):
                return f"{ref.removeprefix('refs/heads/')} is being rebased"
    return None


def in_the_way(checkout: Checkout, changes: Sequence[Change]) -> list[str]:
    """Untracked and ignored files, and folders with such, where the landing makes something; sorted."""
    going = {c.path for c in changes if c.status == "D"}
    found: set[str] = set()
    for change in changes:
        if change.status == "A":
            found.update(_blocking(checkout.work_tree, change.path, going))
    folders = {above for c in changes if c.status != "A" for above in folders_above(c.path)}
    # git would take a link that the user put in place of a folder for the folder
    found.update(folder for folder in folders if (checkout.work_tree / folder).is_symlink())
    return sorted(found)


def folders_above(path: str) -> list[str]:
    """The folders a path lies in, outermost first."""
    parts = path.split("/")
    return ["/".join(parts[:number]) for number in range(1, len(parts))]


def _blocking(root: Path, path: str, going: set[str]) -> Iterator[str]:
    """What of the user's is at ``path`` or in place of a folder above it."""
    for above in folders_above(path):
        if above in going or not os.path.lexists(root / above):
            return
        if (root / above).is_symlink() or not (root / above).is_dir():
            yield above
            return
    full = root / path
    if not os.path.lexists(full) or _is_renamed_case(full, path, root, going):
        return
    if full.is_dir() and not full.is_symlink():
        yield from (p for p in _files_below(root, path) if p not in going)
    else:
        yield path


def _is_renamed_case(full: Path, path: str, root: Path, going: set[str]) -> bool:
    """On a file system that ignores case, a new ``readme`` meets the ``README`` that goes."""
    same = (old for old in going if old.casefold() == path.casefold())
    return any(os.path.lexists(root / old) and os.path.samestat(os.lstat(root / old), os.lstat(full)) for old in same)


def _files_below(root: Path, folder: str) -> Iterator[str]:
    for at, _, names in os.walk(root / folder):
        yield from (os.path.relpath(os.path.join(at, name), root) for name in names)


def filtered(repo: Repository, control: Git, new: str, changes: Sequence[Change], allowed: Iterable[str]) -> list[str]:
    """Changed paths whose content passes a filter (``gitattributes(5)``) that nobody allowed to run; sorted."""
    paths = [c.path for c in changes if c.mode_new != GITLINK]
    if not paths or not _may_be_filtered(repo, control, new, paths):
        return []
    index = control.git_dir / f"index.{secrets.token_hex(8)}"
    try:
        control.but(index=index).run("read-tree", new)
        asking = ("check-attr", "--cached", "-z", "--stdin", "filter")
        # in the repository's own git dir, for its info/attributes; check-attr runs nothing
        out = repo.git.but(index=index).run(*asking, stdin="".join(f"{p}\0" for p in paths).encode(*_AS_IS)).stdout
    finally:
        index.unlink(missing_ok=True)
    fields = [os.fsdecode(field) for field in out.split(b"\0")]
    harmless = {"unspecified", "unset", "set", "", *allowed}
    return sorted(path for path, value in zip(fields[::3], fields[2::3], strict=False) if value not in harmless)


_AS_IS = ("utf-8", "surrogateescape")


def _may_be_filtered(repo: Repository, control: Git, new: str, paths: Sequence[str]) -> bool:
    """Whether any attributes file above these paths speaks of filters: most repositories have none at all."""
    folders = {""}
    for path in paths:
        folders.update(f"{above}/" for above in folders_above(path))
    asked = "".join(f"{new}:{folder}.gitattributes\n" for folder in folders if "\n" not in folder)
    told = control.run("cat-file", "--batch", stdin=asked.encode(*_AS_IS)).stdout
    local = read_small(repo.common_dir / "info" / "attributes", 1 << 20) or b""
    return any("\n" in f for f in folders) or b"filter" in told.replace(b".gitattributes missing", b"") + local


@contextmanager
def view(control: Git, repo: Repository, checkout: Checkout) -> Iterator[Git]:
    """Git over the checkout's files and a *copy* of its index, which the block may change at will.

    The git dir is the control dir, or, where the checkout is sparse or its index split, a throw-away one that shares
    all of the control dir and has the files that git looks for beside the index.
    """
    folder = control.git_dir.parent / f"control.view.{secrets.token_hex(8)}"
    folder.mkdir(mode=0o700)
    try:
        index = folder / "index"
        if checkout.index.exists():
            # with its time stamp: git takes entries as young as the index for possibly changed
            shutil.copy2(checkout.index, index)
        git = control.but(work_tree=checkout.work_tree, index=index, config=(*control.config, *_KEEP))
        sparse = _sparse(repo, checkout)
        if sparse or any(checkout.admin.glob("sharedindex.*")):
            _fill_view(folder, control, checkout)
            git = git.but(git_dir=folder, config=(*git.config, *sparse))
        yield git
    finally:
        shutil.rmtree(folder, ignore_errors=True)


#: a split index is written whole, and git's own cache of untracked files is left in it
_KEEP = ("core.splitIndex=false", "core.untrackedCache=keep")


def _sparse(repo: Repository, checkout: Checkout) -> tuple[str, ...]:
    """The settings of a sparse checkout, as data; empty when it is none."""
    if not (checkout.admin / "info" / "sparse-checkout").exists():
        return ()
    keys = r"^(core\.sparsecheckout|core\.sparsecheckoutcone|index\.sparse)$"
    asked = Git(checkout.admin).run("config", "--null", "--type=bool", "--get-regexp", keys, ok=(0, 1)).stdout
    found = dict(os.fsdecode(item).split("\n", 1) for item in asked.split(b"\0") if item)
    return tuple(f"{key}={value}" for key, value in found.items()) if found.get("core.sparsecheckout") == "true" else ()


def _fill_view(folder: Path, control: Git, checkout: Checkout) -> None:
    (folder / "HEAD").write_bytes(b"ref: refs/heads/none\n")
    (folder / "commondir").write_bytes(os.fsencode(control.git_dir) + b"\n")
    for shared in checkout.admin.glob("sharedindex.*"):
        shutil.copy2(shared, folder / shared.name)
    patterns = checkout.admin / "info" / "sparse-checkout"
    if patterns.exists():
        (folder / "info").mkdir()
        shutil.copy2(patterns, folder / "info" / "sparse-checkout")


def follow(git: Git, old: str, new: str) -> str | None:
    """Moves files and the copied index from ``old`` to ``new``, keeping the user's changes elsewhere.

    Returns:
        None when it is done; otherwise what git says. Nothing has changed then, unless the machine failed.
    """
    move = ("read-tree", "-m", "-u", old, new)
    tried = git.run(*move, ok=(0, 1, 128), timeout=_SECONDS)
    if tried.returncode:
        # files that were touched but not changed are only known as such after a refresh
        git.run("update-index", "-q", "--refresh", ok=(0, 1), timeout=_SECONDS)
        tried = git.run(*move, ok=(0, 1, 128), timeout=_SECONDS)
    said = tried.stderr.decode(*_AS_IS).strip()
    return None if tried.returncode == 0 else said or "git could not move it"


def changed_by_user(git: Git, old: str, changes: Sequence[Change]) -> list[str]:
    """Which of the changed paths the user has staged or unsaved changes in; sorted."""
    ours = {c.path for c in changes}
    looking = ("--name-only", "-z", "--no-renames", "--ignore-submodules=all")
    found: set[str] = set()
    for command in (("diff-files", *looking), ("diff-index", "--cached", *looking, old)):
        try:
            out = git.run(*command, timeout=_SECONDS).stdout
        except GitFailed:
            continue
        found.update(os.fsdecode(name) for name in out.split(b"\0") if name)
    return sorted(p for p in found if p in ours or any(o.startswith(f"{p}/") or p.startswith(f"{o}/") for o in ours))
