"""A conflict of one safe shape: both sides have added lines at the same place, and neither has changed any there.

Both are kept, the target's first. Whether that is right for a file only people can say: ``merge.union`` names those.
"""

import os
import tempfile
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path

from agentpkg.files import temporary_folder
from agentpkg.git.repo import Git

#: bytes of a file that is looked at
_LARGEST = 1 << 22
#: what git puts before a side's name, of a length that no text has by chance
_MARKS = 71


def resolved(
    git: Git, tree: str, base: str, ours: str, theirs: str, paths: Sequence[str], as_ours: Container[str] = ()
) -> str | None:  # fmt: skip
    """The tree of a conflicting merge with all conflicts resolved; None where one is of another shape.

    Args:
        tree: what ``merge-tree`` wrote.
        base: the commit that both sides have changed; ``ours`` and ``theirs`` the sides.
        paths: all files that are in conflict.
        as_ours: those that are left as they are on our side.
    """
    kept: dict[str, bytes] = {}
    for path in paths:
        data = _blob(git, ours, path) if path in as_ours else _both(git, path, base, ours, theirs)
        if data is None:
            return None
        kept[path] = data
    return with_files(git, tree, ours, kept)


def _blob(git: Git, commit: str, path: str) -> bytes | None:
    found = git.run("cat-file", "blob", f"{commit}:{path}", ok=(0, 128))
    return None if found.returncode or len(found.stdout) > _LARGEST else found.stdout


def _both(git: Git, path: str, base: str, ours: str, theirs: str) -> bytes | None:
    versions = [_blob(git, commit, path) for commit in (ours, base, theirs)]
    with tempfile.TemporaryDirectory(prefix="agentpkg-union-", dir=temporary_folder()) as folder:
        files = [Path(folder) / name for name in ("ours", "base", "theirs")]
        for file, version in zip(files, versions, strict=True):
            if version is None:
                return None
            file.write_bytes(version)
        names = [word for name in ("ours", "base", "theirs") for word in ("-L", name)]
        merged = git.run("merge-file", "-p", "--diff3", f"--marker-size={_MARKS}", *names, *map(str, files),
                         ok=range(256))  # fmt: skip
    if merged.returncode > 127:
        return None
    lines = list(_kept(merged.stdout.splitlines(keepends=True)))
    return None if any(line is None for line in lines) else b"".join(line for line in lines if line is not None)


def _kept(lines: Sequence[bytes]) -> Iterator[bytes | None]:
    """The lines of both sides without git's marks; None for a place where the base has lines."""
    in_base = False
    for line in lines:
        mark = line[:1]
        if not line.startswith(mark * _MARKS) or mark not in (b"<", b"|", b"=", b">"):
            yield None if in_base else line
        else:
            in_base = mark == b"|"


def with_files(git: Git, tree: str, ours: str, files: Mapping[str, bytes]) -> str:
    """A tree with other contents of some files, which keep the mode that they have in ``ours``."""
    with tempfile.TemporaryDirectory(prefix="agentpkg-union-", dir=temporary_folder()) as folder:
        index = git.but(index=Path(folder) / "index")
        index.run("read-tree", tree)
        for path, data in files.items():
            blob = git.run("hash-object", "-w", "--stdin", stdin=data).text
            mode = git.run("ls-tree", ours, "--", path).text.partition(" ")[0]
            index.run("update-index", "-z", "--index-info", stdin=os.fsencode(f"{mode} {blob}\t{path}") + b"\0")
        return index.run("write-tree").text
