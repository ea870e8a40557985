"""The rules that every prompt carries."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from agentpkg.core.errors import BadInput

#: where a repository may keep its constitution, the first that exists
PLACES = (".kittify/constitution.md", ".kittify/memory/constitution.md")

#: bytes; a larger file is refused unread
MAX_SIZE = 1 << 20


@dataclass(frozen=True, slots=True)
class Constitution:
    """A constitution as read: its path in the work tree, its Markdown, and the SHA-256 of its bytes in hex."""

    path: str
    text: str
    digest: str


def load_constitution(work_tree: Path) -> Constitution | None:
    """The constitution of a repository, None when it has none.

    Raises:
        BadInput: when it cannot be read, is larger than 1 MiB, or is not UTF-8.
    """
    place = next((place for place in PLACES if (work_tree / place).is_file()), None)
    if place is None:
        return None
    try:
        with (work_tree / place).open("rb") as file:
            data = file.read(MAX_SIZE + 1)
        text = data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{place} cannot be read: {error}", "make it a readable file of UTF-8 text") from None
    if len(data) > MAX_SIZE:
        raise BadInput(f"{place} is larger than 1 MiB", "keep to rules that an agent can hold in mind")
    return Constitution(place, text, hashlib.sha256(data).hexdigest())
