"""Taking typed values out of a front matter, and saying of each wrong one what would be right."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from agentpkg.core.model import Problem
from agentpkg.features.frontmatter import Located, shown


@dataclass(slots=True)
class Fields:
    """The keys of one front matter, and all that turns out to be wrong with them.

    Attributes:
        values: the keys as read.
        file: the name for problems.
        lenient: whether ``''`` counts as null.
    """

    values: Mapping[str, Located]
    file: str
    lenient: bool = False
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def wrong(self, at: Located, message: str) -> None:
        """Records a problem with a value."""
        self.problems.append(Problem(self.file, at.line, shown(at), message))

    def warn(self, at: Located, message: str) -> None:
        """Records a warning about a value."""
        self.warnings.append(Problem(self.file, at.line, shown(at), message))

    def get(self, key: str) -> Located | None:
        """The value of a key; None when it is absent or null."""
        found = self.values.get(key)
        return None if found is None or self._is_null(found) else found

    def _is_null(self, found: Located) -> bool:
        return found.value is None or (self.lenient and found.value == "")

    def text(self, key: str) -> str | None:
        """A text that is not empty, without blanks around it."""
        found = self.get(key)
        if found is None or not self._is_text(found, f"`{key}` should be text"):
            return None
        return str(found.value).strip()

    def _is_text(self, found: Located, rule: str) -> bool:
        if not isinstance(found.value, str):
            scalar = not isinstance(found.value, list | dict)
            self.wrong(found, f"{rule}; put it in quotes" if scalar else rule)
            return False
        if not found.value.strip():
            self.wrong(found, f"{rule}; leave the key out when there is none")
            return False
        return True

    def integer(self, key: str, low: int, high: int) -> int | None:
        """A whole number between two bounds."""
        found = self.get(key)
        if found is None:
            return None
        value = found.value
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.wrong(found, f"`{key}` should be a whole number from {low} to {high}")
            return None
        return value

    def texts(self, key: str) -> list[Located] | None:
        """A list of texts, each with its place; None when the key is absent or null."""
        found = self.get(key)
        if found is None:
            return None
        if not isinstance(found.value, list):
            self.wrong(found, f"`{key}` should be a list: [{shown(found) or '…'}]")
            return []
        rule = f"each item of `{key}` should be text"
        items = [item for item in found.value if not (self.lenient and self._is_null(item))]
        return [item for item in items if self._is_text(item, rule)]
