"""What admission refuses to see changed in any commit, decided on names and modes alone (pure)."""

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from agentpkg.git.diff import GITLINK, TREE, Entry

#: the rule a finding names; stable, for scripts
Rule = Literal[
    "objects", "history", "foreign_commit", "gitlink", "link", "control_file", "governance", "features", "secret",
    "branch", "limit", "machine",
]  # fmt: skip

#: code points HFS+ leaves out when it compares names (git: utf8.c, next_hfs_char)
_IGNORABLE = dict.fromkeys(
    [*range(0x200C, 0x2010), *range(0x202A, 0x202F), *range(0x206A, 0x2070), 0xFEFF]
)  # fmt: skip

_CONTROL_FILES = {".gitattributes", ".gitmodules"}
#: the short names NTFS gives them (git: path.c, is_ntfs_dotgitattributes and its like)
_SHORT = {f"{stem}~{n}" for stem in ("gitatt", "gitmod") for n in range(1, 10)} | {"gi7d29~1", "gi7eba~1"}


@dataclass(frozen=True, slots=True)
class Finding:
    """Why something was not admitted.

    Attributes:
        rule: which rule it broke.
        commit: the commit it is in, ``""`` when it is none in particular.
        path: the path it is about, ``""`` when it is none in particular.
        message: one sentence, without the commit and the path; never a secret's value.
    """

    rule: Rule
    commit: str
    path: str
    message: str

    def __str__(self) -> str:
        where = [self.commit[:12], self.path.encode("utf-8", "backslashreplace").decode()]
        return ": ".join([*(w for w in where if w), self.message])


@dataclass(frozen=True, slots=True)
class Guard:
    """The paths no session may change.

    Args:
        folders: the features folders, relative to the root (``features``, ``kitty-specs``).
    """

    folders: tuple[str, ...] = ("features", "kitty-specs")

    def rule(self, path: str) -> tuple[Rule, str] | None:
        """The rule that a change of ``path`` breaks, and the sentence; None when it breaks none."""
        parts = [folded(part) for part in path.split("/")]
        if any(part in _CONTROL_FILES or part in _SHORT for part in parts):
            return "control_file", "a session may not change what git is told about files (.gitattributes, .gitmodules)"
        if parts[0] == ".kittify":
            return "governance", "a session may not change the project's rules (.kittify/)"
        for folder in self.folders:
            own = [folded(part) for part in folder.strip("/").split("/")]
            # a file in place of the folder, or of a folder above it, takes it away just as well
            if parts[: len(own)] == own:
                return "features", f"a session may not change feature files ({folder}/)"
        return None

    def findings(self, commit: str, entries: Iterable[Entry]) -> Iterator[Finding]:
        """What is wrong with the names and modes of one commit's changes; contents are looked at elsewhere."""
        for entry in entries:
            if entry.mode == GITLINK:
                yield Finding("gitlink", commit, entry.path, "a repository inside the repository (a gitlink)")
            broken = self.rule(entry.path)
            if broken is not None and not _is_way_to(entry):
                yield Finding(broken[0], commit, entry.path, broken[1])
            if entry.mode not in (TREE, "000000") and any(_above(entry.path, f) for f in self.folders):
                yield Finding("features", commit, entry.path, "a file in place of a folder of features")


def folded(name: str) -> str:
    """A file name as the least exact file system would compare it."""
    plain = unicodedata.normalize("NFC", name.translate(_IGNORABLE).partition(":")[0])
    return unicodedata.normalize("NFC", plain.casefold()).rstrip(". ")


def _is_way_to(entry: Entry) -> bool:
    """A folder that only changed because something below it did, which is reported itself."""
    return entry.mode == TREE and all(mode == TREE for mode, _ in entry.old)


def _above(path: str, folder: str) -> bool:
    own = [folded(part) for part in folder.strip("/").split("/")]
    parts = [folded(part) for part in path.split("/")]
    return len(parts) < len(own) and own[: len(parts)] == parts
