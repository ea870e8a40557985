"""The quarantine repository of a session: what was refused, and snapshots of work that nobody committed.

A bare repository of agentpkg's own beside the private git dir, with a configuration of its own. Objects and refs are
taken over from the private dir as plain files; its configuration, hooks, attributes and logs are not. Nothing of it
reaches the repository's objects or refs, and nothing an agent made is thrown away.
"""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from agentpkg.files import remove_tree, write_atomic
from agentpkg.git.control import keep_bare, mirror
from agentpkg.git.discover import Repository, read_small
from agentpkg.git.repo import Git

#: where the quarantine keeps the branches of the private dir
BRANCHES = "refs/session"

_PACKED_LIMIT = 64 << 20
_ID = re.compile(rb"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_OBJECT = re.compile(r"[0-9a-f]{38}(?:[0-9a-f]{24})?")
_PACK = re.compile(r"pack-[0-9a-f]{40}(?:[0-9a-f]{24})?\.(?:pack|idx|rev)")


def open_quarantine(common: Path, session: Path, object_format: str = "sha1") -> Git:
    """Git on ``<session>/quarantine.git``, made if it is missing, over the objects of the repository ``common``."""
    path = session / "quarantine.git"
    keep_bare(path, common / "objects", _config(object_format))
    mirror(common / "shallow", path / "shallow")
    return Git(path)


def adopt_objects(git: Git, private: Path) -> None:
    """Gives the quarantine the private dir's objects as well, by another name for the same file.

    From then on they are there whatever the agent does to its own object folder, short of writing into the files; and
    git need not look into that folder. What is there already costs a look.
    """
    for source, name in _object_files(private / "objects"):
        target = git.git_dir / "objects" / name
        if target.exists():
            continue
        target.parent.mkdir(exist_ok=True)
        # the agent may take it away, or exchange it, at any moment
        with suppress(OSError):
            os.link(source, target, follow_symlinks=False)
            if not stat.S_ISREG(os.lstat(target).st_mode):
                target.unlink()


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


def _config(object_format: str) -> bytes:
    if object_format == "sha1":
        return b"[core]\n\trepositoryformatversion = 0\n\tbare = true\n"
    extensions = f"[extensions]\n\tobjectformat = {object_format}\n"
    return f"[core]\n\trepositoryformatversion = 1\n\tbare = true\n{extensions}".encode()


def _object_files(objects: Path) -> Iterator[tuple[Path, str]]:
    """The plain object files of a private dir, each with its name below ``objects``; packs before their indexes."""
    for folder in sorted(plain_names(objects, folders=True)):
        names = sorted(plain_names(objects / folder, folders=False), key=lambda name: (name.endswith(".idx"), name))
        for name in names:
            loose = len(folder) == 2 and _OBJECT.fullmatch(name)
            if loose or (folder == "pack" and _PACK.fullmatch(name)):
                yield objects / folder / name, f"{folder}/{name}"


def plain_names(folder: Path, *, folders: bool) -> list[str]:
    """The plain files, or the folders, right below a folder; none where it is a link or is not there."""
    if folder.is_symlink() or not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        kind = "is_dir" if folders else "is_file"
        return [entry.name for entry in entries if getattr(entry, kind)(follow_symlinks=False)]


def _take_refs(repo: Repository, git: Git, private: Path) -> None:
    """Takes over every ref that is not just the repository's own, and whose object is there."""
    known = set(repo.git.text("for-each-ref", "--format=%(refname) %(objectname)").split("\n"))
    found = {name: sha for name, sha in _refs(private).items() if f"{name} {sha}" not in known}
    asked = "".join(f"{sha}\n" for sha in found.values()).encode()
    answers = git.text("cat-file", "--batch-check=%(objectname)", stdin=asked).split("\n")
    there = [(name, sha) for (name, sha), answer in zip(found.items(), answers, strict=False) if answer == sha]
    if there:
        _pack(git.git_dir / "packed-refs", {f"{BRANCHES}/{name.removeprefix('refs/')}": sha for name, sha in there})


def _pack(file: Path, refs: Mapping[str, str]) -> None:
    """Writes refs into the one file that holds them all: as many as an agent likes, whatever their names are.

    git would make a file of each, and none at all where the name of one is a folder in that of another.
    """
    lines = (read_small(file, 2 * _PACKED_LIMIT) or b"").split(b"\n")
    known = {name: sha for sha, _, name in (line.partition(b" ") for line in lines) if _ID.fullmatch(sha)}
    merged = known | {os.fsencode(name): sha.encode() for name, sha in refs.items()}
    text = b"".join(merged[name] + b" " + name + b"\n" for name in sorted(merged))
    write_atomic(file, b"# pack-refs with: sorted \n" + text, sync=True)


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
