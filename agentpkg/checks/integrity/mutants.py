"""Small faults in lines that a package adds or changes: tests that notice none of them test nothing.

For Python the faults are made in the syntax tree, so that each is a program; for other languages in the text of a line.
The sample is drawn by a hash of the file's content and the fault: the same candidate has the same mutants.
"""

import ast
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from agentpkg.checks.integrity import roles
from agentpkg.checks.integrity.change import FileChange


@dataclass(frozen=True, slots=True)
class Mutant:
    """A file with one fault.

    Attributes:
        line: where; ``what`` the fault, as people read it.
        text: the whole file.
    """

    path: str
    line: int
    what: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line} {self.what}"


@dataclass(frozen=True, slots=True)
class _Edit:
    """One replacement in a text: from (line, column) to (line, column), columns in bytes of UTF-8."""

    start: tuple[int, int]
    end: tuple[int, int]
    new: str
    what: str


def sample(changes: Sequence[FileChange], lines: Mapping[str, set[int]], count: int, seed: str) -> list[Mutant]:
    """Up to ``count`` mutants of the given lines, spread over files and functions.

    Args:
        lines: changed lines of the candidate by path.
        seed: decides which ones.
    """
    every: list[tuple[str, str, _Edit]] = []
    for change in changes:
        if change.after is not None and roles.is_product(change.path):
            every += [(change.path, change.after, edit) for edit in _edits(change, lines.get(change.path, set()))]
    every.sort(key=lambda item: hashlib.sha256(f"{seed}\0{item[0]}\0{item[2]}".encode()).digest())
    chosen: list[tuple[str, str, _Edit]] = []
    places: set[tuple[str, int]] = set()
    for fresh in (True, False):
        # one mutant a line first
        for item in every:
            place = (item[0], item[2].start[0])
            if len(chosen) < count and item not in chosen and (place not in places or not fresh):
                chosen.append(item)
                places.add(place)
    return [Mutant(path, edit.start[0], edit.what, _apply(text, edit)) for path, text, edit in chosen]


def _edits(change: FileChange, lines: set[int]) -> Iterator[_Edit]:
    text = change.after or ""
    if not roles.is_python(change.path):
        yield from _textual(text, lines)
        return
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return
    for node in _living(tree):
        if getattr(node, "lineno", 0) in lines:
            yield from _faults(node)


# --------------------------------------------------------------------------- Python

_OPPOSITE: dict[type[ast.cmpop], str] = {
    ast.Eq: "!=", ast.NotEq: "==", ast.Lt: ">=", ast.LtE: ">", ast.Gt: "<=", ast.GtE: "<", ast.In: "not in",
    ast.NotIn: "in", ast.Is: "is not", ast.IsNot: "is",
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], str] = {
    ast.Add: "-", ast.Sub: "+", ast.Mult: "//", ast.Div: "*", ast.FloorDiv: "*", ast.Mod: "*", ast.Pow: "*",
    ast.BitAnd: "|", ast.BitOr: "&",
}  # fmt: skip
#: what is said to people and to logs, which tests need not look at
_SAID = re.compile(
    r"^(log|logger|logging|print|warnings|click\.echo|sys\.std)|\.(debug|info|warning|error|exception|log)$"
)


def _living(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes whose change could be noticed: no annotations, decorators, type checking, messages or main blocks."""
    function = isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef)
    for node in tree.body if function else ast.iter_child_nodes(tree):  # type: ignore[attr-defined]
        if isinstance(node, ast.AnnAssign):
            node = node.value
        if node is None or _is_said(node):
            continue
        yield node
        if not isinstance(node, ast.Raise):
            yield from _living(node)


def _is_said(node: ast.AST) -> bool:
    """Tests need not look at it."""
    if isinstance(node, ast.If):
        return any(word in ast.unparse(node.test) for word in ("TYPE_CHECKING", "__name__"))
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        return bool(_SAID.search(ast.unparse(node.value.func)))
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return node.name in ("__repr__", "__str__", "main") or "overload" in map(ast.unparse, node.decorator_list)
    return isinstance(node, ast.Assert | ast.Import | ast.ImportFrom | ast.arguments)


def _faults(node: ast.AST) -> Iterator[_Edit]:
    if isinstance(node, ast.Return) and node.value is not None and ast.unparse(node.value) != "None":
        yield _replace(node.value, "None", "returns None")
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _OPPOSITE:
        left, right = node.left, node.comparators[0]
        new = f"({ast.unparse(left)} {_OPPOSITE[type(node.ops[0])]} {ast.unparse(right)})"
        yield _replace(node, new, f"`{ast.unparse(node)}` reversed")
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC and not _is_text(node):
        behind = f"({ast.unparse(node.right)})" if isinstance(node.right, ast.BinOp) else ast.unparse(node.right)
        new = f"({ast.unparse(node.left)} {_ARITHMETIC[type(node.op)]} {behind})"
        yield _replace(node, new, f"`{ast.unparse(node)}` made `{new[1:-1]}`")
    if isinstance(node, ast.If | ast.While) and not isinstance(node.test, ast.Compare | ast.Constant):
        yield _replace(node.test, f"not ({ast.unparse(node.test)})", f"`{ast.unparse(node.test)}` negated")
    if isinstance(node, ast.BoolOp):
        word = " or " if isinstance(node.op, ast.And) else " and "
        new = "(" + word.join(f"({ast.unparse(v)})" for v in node.values) + ")"
        yield _replace(node, new, f"`{ast.unparse(node)}` with{word}instead")
    if isinstance(node, ast.Constant) and type(node.value) in (int, bool):
        new = str(not node.value) if isinstance(node.value, bool) else f"({ast.unparse(node)} + 1)"
        yield _replace(node, new, f"{ast.unparse(node)} made {new}")
    called = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    if called or isinstance(node, ast.AugAssign | ast.Raise):
        assert isinstance(node, ast.stmt)
        yield _replace(node, "pass", f"`{ast.unparse(node)[:60]}` left out")


def _is_text(node: ast.BinOp) -> bool:
    return any(isinstance(n, ast.JoinedStr) or (isinstance(n, ast.Constant) and isinstance(n.value, str)) for n in
               (node.left, node.right))  # fmt: skip


def _replace(node: ast.expr | ast.stmt, new: str, what: str) -> _Edit:
    end = node.end_lineno or node.lineno, node.end_col_offset or node.col_offset
    return _Edit((node.lineno, node.col_offset), end, new, what if len(what) < 100 else what[:99] + "…")


# --------------------------------------------------------------------------- other languages

_SWAPS = (
    (r"===", "!=="), (r"!==", "==="), (r"(?<![=!<>])==(?!=)", "!="), (r"!=(?!=)", "=="), (r"(?<=\s)<=(?=\s)", ">"),
    (r"(?<=\s)>=(?=\s)", "<"), (r"(?<=\s)<(?=\s)", ">="), (r"(?<=\s)>(?=\s)", "<="), (r"&&", "||"), (r"\|\|", "&&"),
    (r"\btrue\b", "false"), (r"\bfalse\b", "true"), (r"(?<=\s)\+(?=\s)", "-"), (r"(?<=\s)-(?=\s)", "+"),
    (r"(?<=\s)\*(?=\s)", "+"), (r"(?<![\w.\"'])\d+(?![\w.\"'])", ""),
)  # fmt: skip
_COMMENT = re.compile(r"^\s*(//|#|\*|/\*|--|;|import\b|use\b|package\b|include\b|#include|\}|\{|$)")


def _textual(text: str, lines: set[int]) -> Iterator[_Edit]:
    for number, line in enumerate(text.splitlines(), 1):
        if number not in lines or _COMMENT.match(line):
            continue
        for pattern, new in _SWAPS:
            match = re.search(pattern, line)
            if match:
                put = new or str(int(match.group()) + 1)
                start, end = (len(line[:place].encode()) for place in match.span())
                yield _Edit((number, start), (number, end), put, f"`{match.group()}` made `{put}`")


def _apply(text: str, edit: _Edit) -> str:
    lines = [line.encode() for line in text.split("\n")]
    (first, left), (last, right) = edit.start, edit.end
    middle = lines[first - 1][:left] + edit.new.encode() + lines[last - 1][right:]
    return b"\n".join([*lines[: first - 1], middle, *lines[last:]]).decode()
