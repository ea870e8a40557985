"""A commit's files as data."""

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from agentpkg.git.repo import Git

LINK = "120000"
SUBMODULE = "160000"

_MAX_LINK = 4096


@dataclass(frozen=True, slots=True)
class Blob:
    """One entry of a tree: its mode as git writes it, its object id, its size in bytes (0 for a submodule)."""

    mode: str
    oid: str
    size: int


def files(git: Git, commit: str) -> dict[str, Blob]:
    """Every file of a commit by path (bytes that are not UTF-8 as surrogates)."""
    out = git.run("ls-tree", "-r", "-l", "-z", "--full-tree", "--end-of-options", commit).stdout
    return dict(_entries(out))


def _entries(out: bytes) -> Iterator[tuple[str, Blob]]:
    for record in out.decode("utf-8", "surrogateescape").split("\0"):
        if record:
            facts, path = record.split("\t", 1)
            mode, _, oid, size = facts.split()
            yield path, Blob(mode, oid, int(size) if size.isdigit() else 0)


def below(tree: Mapping[str, Blob], folder: str) -> list[str]:
    """The files in a folder, at any depth."""
    prefix = folder.rstrip("/") + "/"
    return [path for path in tree if path.startswith(prefix)]


def content(git: Git, blob: Blob) -> bytes:
    """A blob's bytes."""
    return git.run("cat-file", "blob", blob.oid).stdout


def follow(git: Git, tree: Mapping[str, Blob], path: str) -> str | None:
    """The file or folder of the tree that a path leads to through links; None when it leads nowhere in it."""
    for _ in range(8):
        blob = tree.get(path)
        if blob is None:
            return path if below(tree, path) else None
        if blob.mode != LINK:
            return path
        if blob.size > _MAX_LINK:
            return None
        target = content(git, blob).decode("utf-8", "surrogateescape")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    return None
