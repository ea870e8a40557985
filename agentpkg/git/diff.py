"""What changed between commits, as data: raw records of plumbing commands, parsed byte by byte.

Nothing here follows a rename, runs a text conversion or reads a configuration of the user's. Paths are text in which
bytes that are not UTF-8 stand as surrogates (``os.fsdecode``).
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import IO, Literal

from agentpkg.git.repo import TIMEOUT, Git, GitFailed

#: one letter of git's raw format: added, modified, deleted, type changed
Status = Literal["A", "M", "D", "T"]

FILE, EXECUTABLE, LINK, GITLINK, TREE = "100644", "100755", "120000", "160000", "040000"

_RAW = (
    "--raw", "-r", "-z", "--no-renames", "--no-abbrev", "--no-ext-diff", "--no-textconv", "--ignore-submodules=none",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Change:
    """One path that differs between two trees.

    Attributes:
        mode_old: six octal digits, ``000000`` where the path did not exist.
        blob_old: object id before, all zeros where there was none.
        size: bytes of the new content; 0 for a deletion, and where nobody asked.
    """

    status: Status
    mode_old: str
    mode_new: str
    blob_old: str
    blob_new: str
    path: str
    size: int = 0


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit object, read byte by byte: no mail map, no re-encoding, no notes.

    Attributes:
        author: ``Name <mail>``; ``author_date`` and ``committer_date`` are git's ``SECONDS +ZONE``.
        message: the whole message; invalid UTF-8 as surrogates.
    """

    sha: str
    tree: str
    parents: tuple[str, ...]
    author: str
    author_date: str
    committer: str
    committer_date: str
    message: str
    encoding: str = "utf-8"

    @property
    def subject(self) -> str:
        """The first line of the message."""
        return self.message.lstrip("\n").partition("\n")[0]

    @property
    def shown(self) -> list[str]:
        """What git may show of names and message: as they are, and taken out of the encoding that the commit names.

        git shows the first where the second fails; there is no second where nobody here knows the encoding.
        """
        whole = "\n".join((self.author, self.committer, self.message))
        try:
            return [whole, whole.encode("utf-8", "surrogateescape").decode(self.encoding, "replace")]
        except (LookupError, ValueError):
            return [whole]


def changed_paths(git: Git, old: str, new: str, *, sizes: bool = True) -> list[Change]:
    """What differs between two commits or trees, sorted by path as git does.

    Args:
        sizes: also ask for the size of every new blob (one more process).
    """
    out = git.run("diff-tree", *_RAW, "--end-of-options", old, new).stdout
    changes = [_change(header, path) for header, path in _pairs(out)]
    return _with_sizes(git, changes) if sizes else changes


def patch(git: Git, old: str, new: str) -> str:
    """The changes between two commits as text for people, in one form whatever the user or the repository has set."""
    plain = ("--no-color", "--no-ext-diff", "--no-textconv", "--no-renames", "--src-prefix=a/", "--dst-prefix=b/")
    return git.text("diff", *plain, "--end-of-options", old, new)


def commit_ids(git: Git, tip: str, *excluded: str, first_parent: bool = False) -> list[str]:
    """Ids of the commits that ``tip`` reaches and none of ``excluded`` does, oldest first."""
    options = ["--topo-order", "--reverse", *(["--first-parent"] if first_parent else [])]
    revisions = "\n".join([tip, *(f"^{sha}" for sha in excluded)]) + "\n"
    return git.run("rev-list", *options, "--stdin", stdin=revisions.encode()).text.split()


def commits(git: Git, tip: str, *excluded: str, first_parent: bool = False) -> list[Commit]:
    """The commits that ``tip`` reaches and none of ``excluded`` does, oldest first.

    Args:
        first_parent: follow only the first parent of merges.
    """
    return read_commits(git, commit_ids(git, tip, *excluded, first_parent=first_parent))


def read_commits(git: Git, ids: Sequence[str]) -> list[Commit]:
    """Reads commit objects by id, in the order given. Raises GitFailed when one is missing or no commit."""
    return [parse_commit(sha, data) for sha, data in read_objects(git, ids, "commit")]


def read_objects(git: Git, ids: Sequence[str], kind: str = "blob") -> Iterator[tuple[str, bytes]]:
    """Reads whole objects by id, in the order given; for objects whose size is known to be small.

    Raises:
        GitFailed: one of them is missing or of another kind.
    """
    if not ids:
        return
    out = git.run("cat-file", "--batch", stdin=("\n".join(ids) + "\n").encode()).stdout
    at = 0
    for sha in ids:
        end = out.find(b"\n", at)
        header = out[at:end].split(b" ")
        if end < 0 or len(header) != 3 or header[1].decode() != kind:
            raise GitFailed(("cat-file", "--batch"), 1, f"{sha} is no {kind} that can be read".encode())
        size = int(header[2])
        yield sha, out[end + 1 : end + 1 + size]
        at = end + 2 + size


def blob_sizes(git: Git, blobs: Iterable[str]) -> dict[str, int]:
    """The sizes of objects by id; -1 for those that are missing."""
    wanted = sorted(set(blobs))
    if not wanted:
        return {}
    asked = git.run("cat-file", "--batch-check=%(objectsize)", stdin=("\n".join(wanted) + "\n").encode())
    lines = asked.text.split("\n")
    return {sha: int(line) if line.isdigit() else -1 for sha, line in zip(wanted, lines, strict=True)}


def parse_commit(sha: str, data: bytes) -> Commit:
    """A commit from its raw bytes (git-hash-object(1), gitformat: headers, an empty line, the message)."""
    head, _, message = data.partition(b"\n\n")
    found: dict[bytes, list[bytes]] = {}
    for line in head.split(b"\n"):
        key, _, value = line.partition(b" ")
        found.setdefault(key, []).append(value)
    author, author_date = _person(found.get(b"author", [b""])[0])
    committer, committer_date = _person(found.get(b"committer", [b""])[0])
    encoding = found.get(b"encoding", [b"utf-8"])[0].decode("ascii", "replace")
    return Commit(
        sha, found.get(b"tree", [b""])[0].decode("ascii", "replace"),
        tuple(p.decode("ascii", "replace") for p in found.get(b"parent", [])),
        author, author_date, committer, committer_date, message.decode("utf-8", "surrogateescape"), encoding,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Entry:
    """One path a commit changes against *all* of its parents; ``old`` has a ``(mode, blob)`` for each parent."""

    old: tuple[tuple[str, str], ...]
    mode: str
    blob: str
    path: str

    @property
    def is_new(self) -> bool:
        """No parent has this path."""
        return all(blob.strip("0") == "" for _, blob in self.old)

    @property
    def is_deleted(self) -> bool:
        """The commit has no such path."""
        return not self.blob.strip("0")


def each_commit(git: Git, ids: Sequence[str], timeout: float = TIMEOUT) -> Iterator[tuple[str, list[Entry]]]:
    """What every one of these commits changes, folders included; merges combined (``-c``), roots against nothing.

    Folders are reported too, since an empty folder appears in no list of files.

    Raises:
        GitFailed: git ended early.
    """
    args = ("diff-tree", "--stdin", "-c", "-t", "--root", *_RAW)
    out = git.run(*args, stdin=("\n".join(ids) + "\n").encode(), timeout=timeout).stdout if ids else b""
    sha, entries = "", list[Entry]()
    fields = iter(out.split(b"\0")[:-1])
    for field in fields:
        if field.startswith(b":"):
            entries.append(_entry(field, next(fields)))
            continue
        if sha:
            yield sha, entries
        sha, entries = field.decode(), []
    if sha:
        yield sha, entries


def stream_objects(pipe: IO[bytes], chunk: int) -> Iterator[tuple[str, str, bytes, bool]]:
    """Reads the output of ``cat-file --batch`` in bounded memory.

    Yields:
        ``(id, kind, bytes, last)``: one or more parts of every object, each of at most ``chunk`` bytes; ``kind`` is
        ``missing`` for an object that is not there.
    """
    while header := pipe.readline():
        words = header.decode("ascii", "replace").split()
        if len(words) != 3:
            yield words[0], "missing", b"", True
            continue
        left = int(words[2])
        while True:
            part = pipe.read(min(left, chunk))
            left -= len(part)
            yield words[0], words[1], part, left == 0 or not part
            if left == 0 or not part:
                break
        pipe.read(1)


def _pairs(out: bytes) -> Iterator[tuple[bytes, bytes]]:
    fields = iter(out.split(b"\0")[:-1])
    return zip(fields, fields, strict=True)


def _change(header: bytes, path: bytes) -> Change:
    mode_old, mode_new, blob_old, blob_new, status = header[1:].decode("ascii").split(" ")
    return Change(status[0], mode_old, mode_new, blob_old, blob_new, os.fsdecode(path))  # type: ignore[arg-type]


def _entry(header: bytes, path: bytes) -> Entry:
    # ":::" and then a mode and a blob for each parent, the new ones last, and the letters
    parents = len(header) - len(header.lstrip(b":"))
    words = header[parents:].decode("ascii").split(" ")
    modes, blobs = words[: parents + 1], words[parents + 1 : 2 * parents + 2]
    old = tuple(zip(modes[:-1], blobs[:-1], strict=True))
    return Entry(old, modes[-1], blobs[-1], os.fsdecode(path))


def _with_sizes(git: Git, changes: list[Change]) -> list[Change]:
    sizes = blob_sizes(git, (c.blob_new for c in changes if c.status != "D" and c.mode_new != GITLINK))
    return [replace(c, size=sizes.get(c.blob_new, 0)) for c in changes]


def _person(raw: bytes) -> tuple[str, str]:
    who, mark, when = raw.rpartition(b"> ")
    return (who + mark.rstrip(b" ")).decode("utf-8", "surrogateescape"), when.decode("ascii", "replace")
