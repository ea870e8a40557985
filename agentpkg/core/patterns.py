"""Patterns of gitignore(5), relative to a repository's root."""

from collections.abc import Sequence


class Patterns:
    """Compiled gitignore patterns; of several that match, the last one counts, as in git."""

    def __init__(self, lines: Sequence[str], *, fold: bool = False) -> None:
        """With ``fold``, case makes no difference: file systems exist on which it makes none."""
        import pathspec

        self.lines = tuple(lines)
        self.fold = fold
        self._spec = pathspec.GitIgnoreSpec.from_lines(self._folded(line) for line in lines)

    def match(self, path: str) -> str | None:
        """The pattern that includes ``path``, or None."""
        found = self._spec.check_file(self._folded(path))
        return self.lines[found.index] if found.include and found.index is not None else None

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and self.match(path) is not None

    def _folded(self, text: str) -> str:
        return text.casefold() if self.fold else text
