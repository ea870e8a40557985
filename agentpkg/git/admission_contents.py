"""What admission looks for inside objects: secret values, and links that lead out of the tree."""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from agentpkg.files import temporary_folder
from agentpkg.git.admission_policy import Finding
from agentpkg.git.diff import EXECUTABLE, FILE, LINK, Commit, Entry, parse_commit, read_objects, stream_objects
from agentpkg.git.links import escapes
from agentpkg.git.repo import Git, GitFailed
from agentpkg.secrets.finder import Finder, Piece

#: bytes of an object that are searched at once, and how many of them again with the next ones
_CHUNK, _OVERLAP = 8 << 20, 1 << 18

#: the longest content of a symbolic link that a system takes (PATH_MAX)
_LONGEST_LINK = 4096

#: bytes of a file whose lines are compared with those of its parent
_COMPARED = 64 << 20

_FILES = (FILE, EXECUTABLE, LINK)


@dataclass
class Contents:
    """Everything new in a list of commits, read once.

    Attributes:
        commits: the commits by id, in the order asked for.
        secrets: the name of a secret in an object, by the object's id.
        pieces: pieces of secrets in an object, by the object's id.
        links: the content of each new symbolic link, by blob id; None for one that no system would take.
    """

    commits: dict[str, Commit] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    pieces: dict[str, frozenset[Piece]] = field(default_factory=dict)
    links: dict[str, str | None] = field(default_factory=dict)


def read_contents(
    git: Git, ids: Sequence[str], changes: Mapping[str, Sequence[Entry]], find: Finder, timeout: float
) -> Contents:
    """Reads the commits and every blob they bring, in bounded memory.

    Raises:
        GitFailed: an object is missing.
    """
    entries = [e for sha in ids for e in changes.get(sha, ()) if e.mode in _FILES]
    links = {e.blob for e in entries if e.mode == LINK}
    wanted = dict.fromkeys([*ids, *(e.blob for e in entries)])
    out = Contents()
    with tempfile.TemporaryFile(dir=temporary_folder()) as request:
        request.write("".join(f"{sha}\n" for sha in wanted).encode())
        request.seek(0)
        with git.process("cat-file", "--batch", stdin=request, timeout=timeout) as child:
            assert child.stdout is not None
            parts = stream_objects(child.stdout, _CHUNK)
            seen = sum(_take(out, links, sha, kind, data, find) for sha, kind, data in _overlapping(parts))
            if child.wait() or seen != len(wanted):
                raise GitFailed(("cat-file", "--batch"), child.returncode or 1, b"an object could not be read")
    return out


def _take(out: Contents, links: set[str], sha: str, kind: str, data: "_Part", find: Finder) -> bool:
    """Looks at one part of an object; True when it was the last one."""
    if kind == "missing":
        raise GitFailed(("cat-file", "--batch"), 1, f"{sha} is missing".encode())
    name = find.find(data.bytes)
    if name is not None:
        out.secrets.setdefault(sha, name)
    if pieces := find.pieces(data.bytes):
        out.pieces[sha] = out.pieces.get(sha, frozenset()) | pieces
    # a commit that does not begin here is one of many megabytes: left out, which refuses it
    if kind == "commit" and data.last and data.bytes.startswith(b"tree "):
        out.commits[sha] = commit = parse_commit(sha, data.bytes)
        # git shows it in another encoding than it is written in
        if name is None and (name := find.find("\n".join(commit.shown[1:]).encode("utf-8", "surrogateescape"))):
            out.secrets[sha] = name
    if sha in links:
        fits = data.last and 0 < len(data.bytes) <= _LONGEST_LINK and b"\0" not in data.bytes
        out.links[sha] = os.fsdecode(data.bytes) if fits else None
    return data.last


@dataclass(frozen=True, slots=True)
class _Part:
    bytes: bytes
    last: bool


def _overlapping(parts: Iterable[tuple[str, str, bytes, bool]]) -> Iterator[tuple[str, str, _Part]]:
    """Prefixes each part of a large object with the end of the one before, so that nothing hides on the border."""
    tail = b""
    for sha, kind, data, last in parts:
        whole = tail + data
        yield sha, kind, _Part(whole, last)
        tail = b"" if last else whole[-_OVERLAP:]


@dataclass(frozen=True)
class SecretScan:
    """Which secret values the commits *add*: what the parent's file already had is nobody's leak.

    Attributes:
        earlier: reads what earlier sessions brought to the branch, which is asked for where these bring a piece.
    """

    git: Git
    find: Finder
    contents: Contents
    earlier: Callable[[], "tuple[Contents, Mapping[str, Sequence[Entry]]]"]

    def findings(self, commits: Sequence[Commit], changes: Mapping[str, Sequence[Entry]]) -> Iterator[Finding]:
        """The secrets that commits add; names, never values."""
        found = False
        for commit in commits:
            for finding in self._of_commit(commit, changes.get(commit.sha, ())):
                found = True
                yield finding
        if not found:
            yield from self._in_pieces(commits, changes)

    def _in_pieces(self, commits: Sequence[Commit], changes: Mapping[str, Sequence[Entry]]) -> Iterator[Finding]:
        """A value that the commits bring bit by bit: what each of them adds, taken together."""
        places = self._places(self.contents, commits, changes)
        mine = set().union(*places.values())
        name = self.find.whole(mine)
        if name is None and mine:
            contents, before = self.earlier()
            name = self.find.whole(mine.union(*self._places(contents, contents.commits.values(), before).values()))
        if name is not None:
            for (sha, path), pieces in places.items():
                if any(piece[0] == name for piece in pieces):
                    yield Finding("secret", sha, path, f"the secret {name} comes in pieces, of which this holds some")

    def _places(
        self, contents: Contents, commits: Iterable[Commit], changes: Mapping[str, Sequence[Entry]]
    ) -> dict[tuple[str, str], frozenset[Piece]]:
        """The pieces that commits add, by commit and path; those of names and messages under no path."""
        places: dict[tuple[str, str], frozenset[Piece]] = {}
        for commit in commits:
            entries = changes.get(commit.sha, ())
            names = [os.fsencode(e.path) for e in entries if e.is_new]
            said = self.find.pieces(b"\n".join(names)) | contents.pieces.get(commit.sha, frozenset())
            places[commit.sha, ""] = said
            for entry in entries:
                # one that holds a whole value has been judged
                new = contents.pieces.get(entry.blob, frozenset())
                if new and entry.blob not in contents.secrets:
                    before = self._small(_before(entry, entries))
                    places[commit.sha, entry.path] = new.difference(*(self.find.pieces(data) for _, data in before))
        return places

    def _of_commit(self, commit: Commit, entries: Sequence[Entry]) -> Iterator[Finding]:
        if name := self.contents.secrets.get(commit.sha):
            yield Finding("secret", commit.sha, "", f"the commit's message or identity holds the secret {name}")
        names = [os.fsencode(e.path) for e in entries if e.is_new]
        if names and (name := self.find.find(b"\n".join(names))):
            yield Finding("secret", commit.sha, "", f"the name of a file holds the secret {name}")
        for entry in entries:
            if entry.blob in self.contents.secrets and (name := self._added(commit, entry, entries)):
                yield Finding("secret", commit.sha, entry.path, f"the file holds the secret {name}")

    def _added(self, commit: Commit, entry: Entry, entries: Sequence[Entry]) -> str | None:
        name = self.contents.secrets[entry.blob]
        if any(entry.blob in self._tree(parent) for parent in commit.parents):
            return None
        old = [data for _, data in self._small(_before(entry, entries))]
        known = {found for data in old for found in self._all(data.split(b"\n"), data)}
        if name not in known:
            return name
        gone = {line for data in old for line in data.split(b"\n")}
        for _, data in self._small([entry.blob]):
            added = [line for line in data.split(b"\n") if line not in gone]
            return next((found for found in self._all(added, b"\n".join(added)) if found not in known), None)
        return name

    def _all(self, lines: Iterable[bytes], whole: bytes) -> Iterator[str]:
        # the finder names one secret at a time, so several in one file only show when the lines are looked at alone
        for piece in (whole, *lines):
            if found := self.find.find(piece):
                yield found

    def _small(self, blobs: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        sizes = {b: int(self.git.text("cat-file", "-s", b)) for b in dict.fromkeys(blobs)}
        return read_objects(self.git, [b for b, size in sizes.items() if size <= _COMPARED])

    def _tree(self, commit: str) -> str:
        return self._trees.setdefault(commit, self.git.run("ls-tree", "-r", commit).stdout.decode("utf-8", "replace"))

    @cached_property
    def _trees(self) -> dict[str, str]:
        return {}


def _before(entry: Entry, entries: Sequence[Entry]) -> list[str]:
    """The blobs that a file had before; of one that was moved and edited they are among the deleted ones."""
    before = [blob for mode, blob in entry.old if mode in _FILES]
    return before or [blob for e in entries if e.is_deleted for mode, blob in e.old if mode in _FILES]


def link_findings(
    git: Git, tip: str, ids: Sequence[str], changes: Mapping[str, Sequence[Entry]], contents: Contents
) -> Iterator[Finding]:
    """Links that may lead out of the tree, in any of the commits: new ones, and old ones whose way has changed."""
    touched = [(sha, e) for sha in ids for e in changes.get(sha, ()) if LINK in (e.mode, *(mode for mode, _ in e.old))]
    if not touched:
        return
    ours = {(e.path, contents.links[e.blob]) for _, e in touched if e.mode == LINK}
    theirs = _links_of(git, tip, {e.path for _, e in touched})
    every = _by_path([*((path, text) for path, text in ours if text), *theirs.items()])
    for sha, entry in touched:
        text = contents.links[entry.blob] if entry.mode == LINK else ""
        if text is None or (text and escapes(entry.path, text, every)):
            yield Finding("link", sha, entry.path, "a symbolic link that leads out of the repository")
    old = _by_path([*theirs.items(), *_old_links(git, [e for _, e in touched])])
    for path, text in theirs.items():
        if escapes(path, text, every) and not escapes(path, text, old, exact=True):
            yield Finding("link", tip, path, "a symbolic link that now leads out, through one that was changed")


def _links_of(git: Git, tip: str, without: set[str]) -> dict[str, str]:
    lines = git.run("ls-tree", "-r", "-z", tip).stdout.split(b"\0")
    found = [line.partition(b"\t") for line in lines if line.startswith(LINK.encode())]
    blobs = {os.fsdecode(path): head.split(b" ")[2].decode() for head, _, path in found}
    blobs = {path: blob for path, blob in blobs.items() if path not in without}
    texts = dict(read_objects(git, list(dict.fromkeys(blobs.values()))))
    return {path: os.fsdecode(texts[blob]) for path, blob in blobs.items()}


def _old_links(git: Git, entries: Iterable[Entry]) -> Iterator[tuple[str, str]]:
    old = [(e.path, blob) for e in entries for mode, blob in e.old if mode == LINK]
    texts = dict(read_objects(git, list(dict.fromkeys(blob for _, blob in old))))
    return ((path, os.fsdecode(texts[blob])) for path, blob in old)


def _by_path(links: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    out: dict[str, list[str]] = {}
    for path, text in links:
        out.setdefault(path, []).append(text)
    return out
