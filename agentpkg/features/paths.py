"""What a path or pattern in a feature file may be."""

import re
from collections.abc import Iterable

#: names that git takes for its own folder, on some system or other
_GIT_DIRS = frozenset({".git", "git~1"})
_CONTROL_FILES = frozenset({".gitattributes", ".gitmodules"})
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def has_control_character(text: str) -> bool:
    """Whether text holds a line break or anything a terminal might obey."""
    return bool(_CONTROL_CHARACTER.search(text))


def unsafe(path: str) -> str | None:
    """What is wrong with a path or pattern relative to the repository; None when nothing is."""
    if has_control_character(path):
        return "unsafe path: it has a control character"
    if path.startswith(("/", "~/")) or re.match(r"[A-Za-z]:[\\/]", path):
        return "unsafe path: absolute; write it relative to the repository, without a leading /"
    parts = path.split("/")
    if ".." in parts:
        return "unsafe path: `..` leads out of the repository"
    if any(part.rstrip(" .").casefold() in _GIT_DIRS for part in parts):
        return "unsafe path: it leads into .git"
    return None


def bad_pattern(pattern: str) -> str | None:
    """What is wrong with a gitignore-style pattern; None when nothing is."""
    bare = pattern.removeprefix("!")
    backslashes = len(bare) - len(bare.rstrip("\\"))
    if not bare.strip("/ ") or backslashes % 2:
        return "not a pattern; write it as in .gitignore, for example src/**"
    return unsafe(bare)


def always_forbidden(pattern: str, folders: Iterable[str]) -> bool:
    """Whether a pattern can only match what no package may ever change.

    Args:
        pattern: gitignore-style.
        folders: the folders that are forbidden as a whole, relative to the repository.
    """
    if pattern.startswith("!"):
        return False
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    while parts and parts[-1] in ("*", "**"):
        parts.pop()
    if not parts:
        return False
    return parts[-1] in _CONTROL_FILES or any(_inside(parts, folder.split("/")) for folder in folders)


def _inside(parts: list[str], folder: list[str]) -> bool:
    return parts[: len(folder)] == folder
