"""What a package changes, as texts before and after."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from agentpkg.checks.base import ReviewContext
from agentpkg.checks.tree import LINK, SUBMODULE, Blob
from agentpkg.core.patterns import Patterns
from agentpkg.git import diff

#: bytes of a file beyond which it is no text that people write
_LARGE = 1 << 20
#: files of one change that are looked into
_MOST = 2000


@dataclass(frozen=True, slots=True)
class FileChange:
    """One file that differs; a side is None where there is no such file, or no text.

    Attributes:
        gone: the candidate does not have it.
        new: the target does not have it.
    """

    path: str
    before: str | None
    after: str | None
    gone: bool = False
    new: bool = False

    def added_lines(self) -> Iterator[tuple[int, str]]:
        """The lines, with their numbers, that the candidate has and the target had nowhere in the file."""
        known = set((self.before or "").splitlines())
        for number, line in enumerate((self.after or "").splitlines(), 1):
            if line not in known:
                yield number, line


@dataclass(frozen=True, slots=True)
class Intent:
    """What the plan says of a package: its own words, which no agent wrote.

    Attributes:
        words: title, body and referenced requirements, in lower case.
        owned: ``owned_files``; ``named`` the deliverables, and patterns that name a file or folder of their own;
            ``chosen`` these and patterns that say more than "everything".
    """

    words: str = ""
    owned: Patterns = field(default_factory=lambda: Patterns(()))
    named: Patterns = field(default_factory=lambda: Patterns(()))
    chosen: Patterns = field(default_factory=lambda: Patterns(()))

    def says(self, *stems: str) -> bool:
        """One of these beginnings of words occurs."""
        return any(word.startswith(stems) for word in self.words.replace("-", " ").split())

    def mentions(self, text: str) -> bool:
        """The very text occurs."""
        return text.lower() in self.words


def gather(context: ReviewContext, before: Mapping[str, Blob], after: Mapping[str, Blob]) -> list[FileChange]:
    """Every file that differs, read in one go.

    Args:
        before: the target's files; ``after`` the candidate's.
    """
    paths = sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))[:_MOST]
    blobs = [side[path] for path in paths for side in (before, after) if path in side]
    wanted = sorted({blob.oid for blob in blobs if _readable(blob)})
    texts = {oid: _text(data) for oid, data in diff.read_objects(context.control, wanted)}

    def side(files: Mapping[str, Blob], path: str) -> str | None:
        return texts.get(files[path].oid) if path in files else None

    return [FileChange(p, side(before, p), side(after, p), p not in after, p not in before) for p in paths]


def intent(context: ReviewContext) -> Intent:
    """What the frozen package and the requirements it refers to say."""
    wp = context.wp
    words = " ".join([wp.title, wp.body, *context.requirements.values()]).lower()
    delivered = [f"/{path.removeprefix('./')}" for path in wp.deliverables]
    owned = wp.owned_files
    chosen = [pattern for pattern in owned if any(part and "*" not in part for part in pattern.split("/"))]
    return Intent(
        words, Patterns([*owned, *delivered]), Patterns([*filter(_names, owned), *delivered]),
        Patterns([*chosen, *delivered]),
    )  # fmt: skip


def _names(pattern: str) -> bool:
    """Not a whole top folder or everything: at least two parts are said, or a file."""
    said = [part for part in pattern.strip("/").split("/") if part.strip("*")]
    return len(said) > 1 or bool(said and "." in said[0] and "*" not in said[0])


def _readable(blob: Blob) -> bool:
    return blob.mode not in (LINK, SUBMODULE) and blob.size <= _LARGE


def _text(data: bytes) -> str | None:
    return None if b"\0" in data else data.decode("utf-8", "surrogateescape")
