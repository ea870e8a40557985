"""The agent's private git dir, S: a common dir of its own that reads the repository's objects through alternates.

While a session runs, the worktree's ``.git`` file names S, so that every git command of the agent writes there and
the repository's own refs, configuration, hooks and objects stay as they are. S belongs to the agent: nothing here
ever runs git *in* it, and what is read from it is read as bounded data, without following links. What it made comes
back through admission alone.
"""

import os
import re
import secrets
import shutil
import stat
from collections.abc import Container, Sequence
from pathlib import Path

from agentpkg.core.errors import Lacking
from agentpkg.files import write_atomic
from agentpkg.git.control import alternates_line, config_text, mirror, read_settings
from agentpkg.git.discover import BACK_POINTER, Repository, admin_dir_of, read_gitfile, read_small
from agentpkg.git.identity import Identity
from agentpkg.git.index import copy_index, load_index
from agentpkg.git.lent import lent
from agentpkg.git.marks import Mark, read_mark
from agentpkg.git.repo import Git
from agentpkg.git.walk import blocking_files

_ID = re.compile(rb"[0-9a-f]{40}(?:[0-9a-f]{24})?")

#: the most bytes of ``packed-refs`` that are looked at
_PACKED_LIMIT = 64 << 20

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

#: folders of a private dir, beside the worktree's own
_FOLDERS = ("refs/heads", "refs/tags", "hooks", "logs/refs/heads", "info", "objects/info", "objects/pack")

#: where a private dir that covers the repository's own sees the repository's objects, below its object folder
BASE = "base"

#: the agent commits unsigned, even where the user signs, and no housekeeping outlives it
_AGENT_CONFIG = """[core]
\tlogallrefupdates = true
[gc]
\tautoDetach = false
[maintenance]
\tautoDetach = false
[commit]
\tgpgSign = false
[tag]
\tgpgSign = false
"""

#: what the file holds where the real HEAD lies in a reftable
_REFTABLE_HEAD = b"ref: refs/heads/.invalid\n"

_GLOB = re.compile(r"([\\*?\[ ])")
_BACKSLASH = r"\\\1"


def place(session_dir: Path) -> Path:
    """Where a session's private git dir lies, made or not."""
    return session_dir / "git"


def make_private(
    repo: Repository, session_dir: Path, worktree: Path, branch: str, head: str, identity: Identity, *,
    covering: bool = False,
) -> Path:  # fmt: skip
    """Makes ``<session_dir>/git``, the private common dir of one session, and the session's back-pointer.

    The layout is that of a git common dir with one linked worktree (gitrepository-layout(5)); its configuration is
    new: nothing of the user's but how files are written.

    Args:
        worktree: the package's worktree, as :func:`agentpkg.git.worktrees.create` made it.
        branch: its branch, without ``refs/heads/``.
        head: the branch's tip.
        identity: whom the agent's commits name.
        covering: it will be seen in place of the repository's common dir, whose objects then lie below its own, in
            :data:`BASE`; otherwise :func:`enter` makes the worktree name it.

    Raises:
        Lacking: the repository knows no such worktree.
        FileExistsError: the session has a private dir already.
    """
    admin = _admin(repo, worktree)
    private, draft = place(session_dir), session_dir / f"git.{secrets.token_hex(8)}"
    if private.exists():
        raise FileExistsError(private)
    write_atomic(session_dir / BACK_POINTER, os.fsencode(repo.common_dir) + b"\n")
    draft.mkdir(mode=0o700)
    for folder in (*_FOLDERS, f"worktrees/{admin.name}"):
        (draft / folder).mkdir(mode=0o700, parents=True)
    _write_common(repo, draft, branch, head, identity)
    borrowed = _alternates(repo.objects, private)
    if covering:
        (draft / "objects" / BASE).mkdir(mode=0o700)
        borrowed = _named(repo.objects / BASE, BASE) + b"".join(
            os.fsencode(path) + b"\n" for path in lent(repo.objects)
        )
    (draft / "objects/info/alternates").write_bytes(borrowed)
    _write_worktree(draft / "worktrees" / admin.name, admin, worktree, branch)
    provided = (read_mark(admin) or Mark(branch)).provided
    _exclude(draft / "info" / "exclude", provided)
    os.rename(draft, private)
    return private


def git_dir(repo: Repository, worktree: Path, private: Path) -> Path:
    """The worktree's own git dir within its private common dir."""
    return private / "worktrees" / _admin(repo, worktree).name


def enter(repo: Repository, worktree: Path, private: Path) -> None:
    """Lets the worktree's ``.git`` name the private dir: from now on every git in it works there."""
    _write_gitfile(worktree, git_dir(repo, worktree, private))


def leave(repo: Repository, control: Git, worktree: Path, aside: Path) -> None:
    """Gives the worktree back to the repository, whatever its ``.git`` has become. May be repeated.

    ``.git`` names the admin dir again, HEAD is the package's branch, and the index is that of the branch's tip, so
    that what the agent left uncommitted shows as changes. No file of the worktree is touched.

    Args:
        aside: where a *folder* found in place of ``.git`` is moved, since it may hold the agent's work.

    Raises:
        Lacking: the worktree or its admin dir is gone.
    """
    admin = _admin(repo, worktree)
    mark = read_mark(admin)
    if mark is None or not stat.S_ISDIR(os.lstat(worktree).st_mode):
        raise _lost(worktree)
    _write_gitfile(worktree, admin, aside)
    if read_small(admin / "HEAD") != _REFTABLE_HEAD:
        _write_if_other(admin / "HEAD", os.fsencode(f"ref: refs/heads/{mark.branch}\n"))
    tip = repo.git.text("rev-parse", "--verify", "--end-of-options", f"refs/heads/{mark.branch}^{{commit}}")
    rebuild_index(control, admin, worktree, tip)


def rebuild_index(control: Git, admin: Path, worktree: Path, tip: str) -> None:
    """Makes an admin dir's index that of ``tip``, keeping what it knows of unchanged files; touches no file."""
    draft = admin / f"index.{secrets.token_hex(8)}"
    try:
        if blocking_files(worktree):
            control.but(index=draft).run("read-tree", tip)
        else:
            load_index(control, draft, admin / "index", worktree, tip)
        os.replace(draft, admin / "index")
    finally:
        draft.unlink(missing_ok=True)


def is_entered(repo: Repository, worktree: Path) -> bool:
    """Whether the worktree's ``.git`` names anything but its admin dir: a session has it, or had it and fell."""
    named = read_gitfile(worktree / ".git")
    admin = admin_dir_of(repo.common_dir, worktree)
    return named is None or admin is None or os.path.realpath(named) != os.path.realpath(admin)


def private_tip(private: Path, branch: str) -> str | None:
    """The commit id a branch has in a private git dir, read as data; None if there is none to be read.

    A loose ref stands before a packed one, as in git. A symbolic, malformed, linked or oversized ref counts as none:
    what an agent does to its own refs is its own loss.

    Args:
        private: S, or a quarantine made of it.
        branch: the name without ``refs/heads/``.
    """
    loose = _read_below(private, ("refs", "heads", *branch.split("/")), 256)
    if loose is not None:
        found = _ID.fullmatch(loose.rstrip(b"\n"))
        return found[0].decode() if found else None
    packed = _read_below(private, ("packed-refs",), _PACKED_LIMIT) or b""
    name = re.escape(os.fsencode(f"refs/heads/{branch}"))
    line = re.search(rb"^(" + _ID.pattern + rb") " + name + rb"$", packed, re.MULTILINE)
    return line[1].decode() if line else None


def astray(git_dir: Path, branch: str, known: Container[str | None]) -> str | None:
    """Where a worktree's HEAD is instead of on its branch, in words; None where nothing can be missed there.

    Args:
        git_dir: what :func:`git_dir` gives.
        known: commits that are nobody's new work: the branch's tip, and where it began.
    """
    head = _read_below(git_dir, ("HEAD",), 4096) or b""
    named = re.fullmatch(rb"ref: refs/heads/([^\n\x00]+)\n?", head)
    if named is not None:
        name = os.fsdecode(named[1])
        tip = private_tip(git_dir.parent.parent, name) if name != branch else None
        return f"on a branch of its own, {name!a}" if tip is not None and tip not in known else None
    detached = _ID.fullmatch(head.rstrip(b"\n"))
    return "on a detached HEAD" if detached and detached[0].decode() not in known else None


def _read_below(root: Path, parts: Sequence[str], limit: int) -> bytes | None:
    """A regular file below ``root``, none of whose folders is a link; None if it is not that, or over ``limit``."""
    if any(part in ("", ".", "..") for part in parts):
        return None
    folder = -1
    try:
        folder = os.open(root, _FOLDER)
        for part in parts[:-1]:
            folder = _swap(folder, os.open(part, _FOLDER, dir_fd=folder))
        folder = _swap(folder, os.open(parts[-1], _FILE, dir_fd=folder))
        if not stat.S_ISREG(os.fstat(folder).st_mode):
            return None
        return _read_up_to(folder, limit)
    except OSError:
        return None
    finally:
        if folder >= 0:
            os.close(folder)


def _swap(old: int, new: int) -> int:
    os.close(old)
    return new


def _read_up_to(handle: int, limit: int) -> bytes | None:
    parts: list[bytes] = []
    size = 0
    while chunk := os.read(handle, 1 << 20):
        size += len(chunk)
        if size > limit:
            return None
        parts.append(chunk)
    return b"".join(parts)


def _admin(repo: Repository, worktree: Path) -> Path:
    admin = admin_dir_of(repo.common_dir, worktree)
    if admin is None or not worktree.is_dir():
        raise _lost(worktree)
    return admin


def _lost(worktree: Path) -> Lacking:
    return Lacking(
        f"{worktree} is no worktree of this repository any more",
        "start the package again with --fresh; `git worktree list` shows what is there", code="lost_worktree",
    )  # fmt: skip


def _write_common(repo: Repository, draft: Path, branch: str, head: str, identity: Identity) -> None:
    head_now = read_small(repo.common_dir / "HEAD") or b""
    named = head_now if head_now.startswith(b"ref: refs/heads/") else b"ref: refs/heads/main\n"
    config = config_text(repo, read_settings(repo), bare=False) + _AGENT_CONFIG
    config += f"[user]\n\tname = {_quoted(identity.name)}\n\temail = {_quoted(identity.email)}\n"
    (draft / "HEAD").write_bytes(named)
    (draft / "config").write_bytes(os.fsencode(config))
    (draft / "packed-refs").write_bytes(_packed_refs(repo, branch, head))
    for name in ("shallow", "info/exclude", "info/attributes"):
        mirror(repo.common_dir / name, draft / name)


def _write_worktree(to: Path, admin: Path, worktree: Path, branch: str) -> None:
    (to / "HEAD").write_bytes(os.fsencode(f"ref: refs/heads/{branch}\n"))
    (to / "commondir").write_bytes(b"../..\n")
    (to / "gitdir").write_bytes(os.fsencode(worktree / ".git") + b"\n")
    copy_index(admin / "index", to / "index")


def _packed_refs(repo: Repository, branch: str, head: str) -> bytes:
    """All branches and tags as the header promises: sorted by name, and with what tags are about.

    Programs that read the file by themselves (GitPython) want the latter; the own branch is at ``head``.
    """
    form = "--format=%(objectname) %(*objectname) %(*objecttype) %(refname)"
    lines = [
        line.split(b" ", 3)
        for line in repo.git.run("for-each-ref", form, "refs/heads", "refs/tags").stdout.splitlines()
    ]
    refs = {name: (id_, peeled) for id_, peeled, _, name in lines}
    refs[os.fsencode(f"refs/heads/{branch}")] = head.encode(), b""
    # a tag of a tag is not followed to its end; then the file promises less
    promise = b"sorted" if any(kind == b"tag" for _, _, kind, _ in lines) else b"peeled fully-peeled sorted"
    if promise == b"sorted":
        refs = {name: (id_, b"") for name, (id_, _) in refs.items()}
    return b"# pack-refs with: " + promise + b" \n" + b"".join(_packed(name, *refs[name]) for name in sorted(refs))


def _packed(name: bytes, id_: bytes, peeled: bytes) -> bytes:
    return id_ + b" " + name + b"\n" + (b"^" + peeled + b"\n" if peeled else b"")


def _alternates(objects: Path, private: Path) -> bytes:
    """The file that borrows the repository's objects: absolute, since not every reader of it (gitdb) knows better.

    A name that would have to be quoted is given as git alone reads it.
    """
    return _named(objects, os.fsdecode(alternates_line(objects, private)).removesuffix("\n"))


def _named(folder: Path, otherwise: str) -> bytes:
    path = os.fsencode(folder)
    return (os.fsencode(otherwise) if set(path) & set(b'\n"\\#') else path) + b"\n"


def _exclude(file: Path, paths: Sequence[str]) -> None:
    """Keeps provided files out of the agent's ``git add``; its exclude file is its own, so other packages see none."""
    if not paths:
        return
    lines = "".join(f"/{re.sub(_GLOB, _BACKSLASH, path)}\n" for path in paths if "\n" not in path)
    before = file.read_bytes() if file.exists() else b""
    file.write_bytes(before + (b"" if before.endswith(b"\n") or not before else b"\n") + os.fsencode(lines))


def _quoted(text: str) -> str:
    """A value for a git configuration file; control characters have no place in an identity."""
    plain = re.sub(r"[\x00-\x1f\x7f]", "", text)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _write_gitfile(worktree: Path, names: Path, aside: Path | None = None) -> None:
    dot_git = worktree / ".git"
    if aside is not None and dot_git.is_dir() and not dot_git.is_symlink():
        shutil.move(dot_git, aside / f"found-in-worktree.{secrets.token_hex(4)}")
    _write_if_other(dot_git, b"gitdir: " + os.fsencode(names) + b"\n")


def _write_if_other(path: Path, data: bytes) -> None:
    if read_small(path) != data:
        write_atomic(path, data, 0o644)
