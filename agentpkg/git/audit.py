"""The chain's anchor in git: ``refs/agentpkg/audit/<slug>``, a line of commits that each hold one new segment.

The tree of a commit has a single file with the lines appended then, and the commit's message says how many lines
there are up to it and the hash of the last, so appending and asking cost the same however long the chain is.
"""

import json
import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agentpkg.git import refs, signing
from agentpkg.git.diff import read_objects
from agentpkg.git.discover import Repository
from agentpkg.git.repo import Git

PREFIX = "refs/agentpkg/audit"

_FILE = "entries.jsonl"
_MESSAGE = re.compile(r"^Entries: (\d+)$\n^Head: ([0-9a-f]{64})$", re.MULTILINE)
_WHO = "agentpkg <agentpkg@agentpkg.invalid>"

#: a commit's bytes -> a detached signature
Signer = Callable[[bytes], bytes]


class AuditGap(ValueError):
    """The lines given do not continue what is anchored."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """The newest signed commit of an anchor.

    Attributes:
        entries: how many entries the anchor has up to it; it stands for all of them.
        newest: it is the tip.
        payload: what was signed.
    """

    entries: int
    newest: bool
    payload: bytes
    signature: bytes


def append_audit(repo: Repository, slug: str, lines: Sequence[str], signer: Signer | None = None) -> int:
    """Appends entries to a feature's anchor; gives the number of entries anchored then.

    Lines that are anchored already are skipped, so a caller that is not sure may give them again. The ref moves by
    compare-and-swap.

    Args:
        slug: the feature's id.
        lines: exported entries as JSON, one each, with ``id`` and ``hash``, in order.
        signer: signs the new commit, and with it all before it.

    Raises:
        AuditGap: the first new line's ``id`` is not the next one.
        GitFailed: somebody else moved the ref meanwhile, or its name is not valid.
    """
    git = repo.git
    tip = _tip(git, slug)
    count, head = _said(git, tip)
    fresh: list[str] = []
    for line in lines:
        entry = json.loads(line)
        if entry["id"] <= count:
            continue
        if entry["id"] != count + 1:
            raise AuditGap(f"{slug}: entry {entry['id']} after {count}")
        count, head = entry["id"], entry["hash"]
        fresh.append(line)
    if fresh:
        _commit(git, slug, tip, fresh, f"{slug}\n\nEntries: {count}\nHead: {head}\n", signer)
    return count


def sign_audit(repo: Repository, slug: str, signer: Signer) -> int:
    """Signs what is anchored, in a further commit without entries; gives how many there are, 0 without an anchor."""
    tip = _tip(repo.git, slug)
    count, head = _said(repo.git, tip)
    if tip is not None and count:
        _commit(repo.git, slug, tip, (), f"{slug}\n\nEntries: {count}\nHead: {head}\n", signer)
    return count


def newest_signed(repo: Repository, slug: str) -> Anchor | None:
    """The newest commit of an anchor with a signature, good or not; None when none has one."""
    git = repo.git
    tip = _tip(git, slug)
    if tip is None:
        return None
    commits = git.text("rev-list", "--first-parent", "--end-of-options", tip).split()
    for commit, data in read_objects(git, commits, "commit"):
        payload, signature = signing.parts(data, len(commit))
        if signature is not None:
            found = _MESSAGE.search(payload.decode("utf-8", "replace"))
            return Anchor(int(found[1]) if found else 0, commit == tip, payload, signature)
    return None


def anchored(repo: Repository, slug: str) -> tuple[int, str | None]:
    """How many entries a feature's anchor holds, and the hash of the last; (0, None) without one."""
    git = repo.git
    return _said(git, _tip(git, slug))


def anchored_features(repo: Repository) -> list[str]:
    """The features that have an anchor, sorted."""
    listed = repo.git.text("for-each-ref", "--format=%(refname)", f"{PREFIX}/").split("\n")
    return sorted(name.removeprefix(f"{PREFIX}/") for name in listed if name)


def read_audit(repo: Repository, slug: str) -> list[str]:
    """All lines of a feature's anchor, oldest first; empty without one.

    Bytes that are not UTF-8 survive as surrogates; a commit without a segment counts as an empty one, so that what
    was tampered with here is found by comparing the lines.
    """
    git = repo.git
    tip = _tip(git, slug)
    if tip is None:
        return []
    commits = git.text("rev-list", "--reverse", "--first-parent", "--end-of-options", tip).split()
    asked = "".join(f"{commit}:{_FILE}\n" for commit in commits).encode()
    return _lines(git.run("cat-file", "--batch", stdin=asked).stdout)


def _tip(git: Git, slug: str) -> str | None:
    return refs.tip(git, f"{PREFIX}/{slug}")


def _said(git: Git, tip: str | None) -> tuple[int, str | None]:
    if tip is None:
        return 0, None
    found = _MESSAGE.search(git.run("cat-file", "commit", tip).text)
    return (int(found[1]), found[2]) if found else (0, None)


def _commit(git: Git, slug: str, tip: str | None, lines: Sequence[str], message: str, signer: Signer | None) -> None:
    segment = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
    blob = git.run("hash-object", "-w", "--stdin", stdin=segment).text
    tree = git.run("mktree", stdin=f"100644 blob {blob}\t{_FILE}\n".encode()).text
    when = f"{int(time.time())} +0000"
    parent = f"parent {tip}\n" if tip else ""
    data = f"tree {tree}\n{parent}author {_WHO} {when}\ncommitter {_WHO} {when}\n\n{message}".encode()
    if signer is not None:
        data = signing.with_signature(data, signer(data), len(tree))
    commit = git.run("hash-object", "-t", "commit", "-w", "--stdin", stdin=data).text
    expected = tip or "0" * len(commit)
    git.run("update-ref", "-m", "audit", f"{PREFIX}/{slug}", commit, expected)


def _lines(batch: bytes) -> list[str]:
    """The lines of the blobs in ``git cat-file --batch`` output: ``<id> blob <size>``, the bytes, a newline."""
    lines: list[str] = []
    at = 0
    while at < len(batch):
        end = batch.index(b"\n", at)
        header = batch[at:end].rsplit(b" ", 2)
        at = end + 1
        if len(header) == 3:
            size = int(header[2])
            if header[1] == b"blob":
                lines += os.fsdecode(batch[at : at + size]).split("\n")[:-1]
            at += size + 1
    return lines
