"""``worktree.copy`` and ``worktree.link``: files of the main work tree that a package's worktree needs beside the
tracked ones.

Both trees may hold links that somebody else made, so paths are walked a folder at a time without following any: what
is read lies in the main work tree, what is written lies in the package's.
"""

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agentpkg.core.errors import BadInput
from agentpkg.files import open_regular
from agentpkg.git.discover import Repository
from agentpkg.git.worktrees import record_provided

#: the shortest value worth hiding; shorter ones are words
_SHORTEST = 8

#: largest copied file that is looked through for values
_LARGEST = 1 << 20

#: ``KEY=value``, ``export KEY="value"``, ``key: value``, ``"key": "value",``
_ASSIGNMENT = re.compile(r"""^\s*(?:export\s+)?["']?[\w.-]+["']?\s*[=:]\s*(.+?)\s*,?\s*$""", re.MULTILINE)

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Provided:
    """What :func:`provide` did; paths relative to the worktree.

    Attributes:
        copied: files that are there as copies, folders as their files.
        linked: links to the main work tree.
        missing: configured paths that the main work tree does not have.
        values: what copied files assign, for redaction; never stored.
    """

    copied: tuple[str, ...] = ()
    linked: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    values: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return f"Provided(copied={self.copied}, linked={self.linked}, missing={self.missing}, values=***)"


def provide(repo: Repository, worktree: Path, copy: Sequence[str] = (), link: Sequence[str] = ()) -> Provided:
    """Copies and links configured paths of the main work tree into a worktree. May be repeated.

    What is already there stays as it is: a tracked file is never replaced.

    Args:
        copy: files or folders, relative to the work tree.
        link: the same, to be symbolic links to the main work tree's.

    Raises:
        BadInput: a path is absolute, leaves the work tree, leads through a link, or is not a file or folder.
    """
    copied: list[str] = []
    missing: list[str] = []
    values: set[str] = set()
    for name in map(_checked, copy):
        files = list(_files(repo.work_tree, name))
        missing += [] if files else [name]
        for file in files:
            values |= _values(repo.work_tree / file)
            _copy(repo.work_tree / file, worktree, file)
            copied.append(file)
    linked = []
    for name in map(_checked, link):
        kind = _kind(repo.work_tree, name)
        if kind is None:
            missing.append(name)
        elif _link(repo.work_tree / name, worktree, name):
            linked.append(name)
    record_provided(repo, worktree, (*copied, *linked))
    return Provided(tuple(copied), tuple(linked), tuple(missing), frozenset(values))


def values(repo: Repository, copy: Sequence[str]) -> frozenset[str]:
    """What the files of ``worktree.copy`` assign as they are now, for redaction. Raises as :func:`provide`."""
    files = (file for name in map(_checked, copy) for file in _files(repo.work_tree, name))
    return frozenset[str]().union(*(_values(repo.work_tree / file) for file in files))


def _checked(name: str) -> str:
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith(("/", "~")) or ".." in parts or not parts or any(part.lower() == ".git" for part in parts):
        raise BadInput(f"worktree.copy/link: {name!r} is no path inside the work tree", "name it relative to the top")
    return "/".join(parts)


def _through_link(name: str) -> BadInput:
    return BadInput(
        f"worktree.copy/link: {name} leads through a link", "name the file it stands for", code="link_in_path"
    )


def _kind(root: Path, name: str) -> int | None:
    """The file type of ``name`` below ``root``, None if there is nothing; no folder on the way may be a link."""
    parts = name.split("/")
    for depth in range(1, len(parts) + 1):
        try:
            mode = os.lstat(root.joinpath(*parts[:depth])).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return None
        if stat.S_ISLNK(mode):
            raise _through_link(name)
    return stat.S_IFMT(mode)


def _files(root: Path, name: str) -> Iterator[str]:
    """A file, or the files of a folder; links and special files in a folder are left out."""
    kind = _kind(root, name)
    if kind == stat.S_IFREG:
        yield name
    elif kind == stat.S_IFDIR:
        for where, folders, names in os.walk(root / name):
            folders[:] = sorted(folder for folder in folders if folder.lower() != ".git")
            for file in sorted(names):
                path = os.path.relpath(os.path.join(where, file), root)
                if stat.S_ISREG(os.lstat(root / path).st_mode):
                    yield path
    elif kind is not None:
        raise BadInput(f"worktree.copy: {name} is not a file or folder", "name a plain file", code="not_a_file")


def _copy(source: Path, worktree: Path, name: str) -> None:
    folder = _open_parent(worktree, name)
    try:
        with open_regular(source) as handle:
            mode = stat.S_IMODE(os.fstat(handle).st_mode)
            to = os.open(
                os.path.basename(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode, dir_fd=folder
            )
            with os.fdopen(to, "wb") as out, os.fdopen(os.dup(handle), "rb") as file:
                while chunk := file.read(1 << 20):
                    out.write(chunk)
    except FileExistsError:
        pass
    finally:
        os.close(folder)


def _link(source: Path, worktree: Path, name: str) -> bool:
    """Makes the link; True if it is there now, False if something else has the name."""
    folder = _open_parent(worktree, name)
    try:
        os.symlink(source, os.path.basename(name), dir_fd=folder)
    except FileExistsError:
        found = worktree / name
        return found.is_symlink() and os.readlink(found) == str(source)
    finally:
        os.close(folder)
    return True


def _open_parent(worktree: Path, name: str) -> int:
    """A descriptor of the folder that ``name`` lies in, made if missing, reached through no link."""
    folder = os.open(worktree, _FOLDER)
    for part in name.split("/")[:-1]:
        try:
            os.mkdir(part, dir_fd=folder)
        except FileExistsError:
            pass
        try:
            deeper = os.open(part, _FOLDER, dir_fd=folder)
        except OSError as error:
            os.close(folder)
            raise _through_link(name) from error
        os.close(folder)
        folder = deeper
    return folder


def _values(path: Path) -> set[str]:
    with open_regular(path) as handle:
        if os.fstat(handle).st_size > _LARGEST:
            return set()
        with os.fdopen(os.dup(handle), "rb") as file:
            text = file.read(_LARGEST).decode("utf-8", "surrogateescape")
    found = (match[1].strip("\"'") for match in _ASSIGNMENT.finditer(text))
    return {value for value in found if len(value) >= _SHORTEST}
