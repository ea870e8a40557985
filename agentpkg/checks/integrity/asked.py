"""What tests ask a function, and the answer they want: ``assert f(1, 2) == 3``."""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from agentpkg.checks.integrity import roles

#: the arguments of a call: hashable ones only
Given = tuple[object, ...]
Answers = list[tuple[Given, Any]]

_TEXT = r"(?:\"((?:[^\"\\]|\\.)*)\"|'((?:[^'\\]|\\.)*)')"
#: a call with a text, and the next text: ``equal(f("x"), "y")``, ``expect(f("x")).toBe("y")``, ``f("x") != "y"``
_OF_TEXT = re.compile(rf"(\w+)\(\s*{_TEXT}\s*\)\W{{0,4}}(?:\.\s*(?:not\.)?\w+\(|,|[!=]=+)\s*{_TEXT}")
_EQUAL = ("assertEqual", "assertEquals", "assert_equal")


def of(path: str, text: str | None) -> Iterator[tuple[str, Given, Any]]:
    """Every question with constants: the name of what is asked, the arguments, the answer."""
    if not roles.is_python(path):
        for match in _OF_TEXT.finditer(text or ""):
            name, one, other, wanted, instead = match.groups()
            yield name, (one if one is not None else other,), wanted if wanted is not None else instead
        return
    tree = parsed(text)
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            cases = list(_cases(function)) or [{}]
            for left, right in _compared(function):
                for case in cases:
                    yield from _question(left, right, case)


def _compared(function: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    for node in ast.walk(function):
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], ast.Eq):
            yield node.left, node.comparators[0]
        elif isinstance(node, ast.Call) and len(node.args) >= 2 and _last(node.func) in _EQUAL:
            yield node.args[0], node.args[1]


def _question(left: ast.expr, right: ast.expr, case: Mapping[str, ast.expr]) -> Iterator[tuple[str, Given, Any]]:
    if not isinstance(left, ast.Call):
        return
    arguments = [_put(value, case) for value in (*left.args, *(k.value for k in left.keywords))]
    given, answer = literals(arguments), literals([_put(right, case)])
    if given and answer:
        yield _last(left.func), given, answer[0]


def _put(node: ast.expr, case: Mapping[str, ast.expr]) -> ast.expr:
    return case.get(node.id, node) if isinstance(node, ast.Name) else node


def _cases(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[Mapping[str, ast.expr]]:
    """What the names of a parametrised test stand for, case by case."""
    for mark in function.decorator_list:
        if not isinstance(mark, ast.Call) or _last(mark.func) != "parametrize" or len(mark.args) < 2:
            continue
        names, values = _names(mark.args[0]), mark.args[1]
        for one in values.elts if isinstance(values, ast.List | ast.Tuple) else []:
            row = one.args if isinstance(one, ast.Call) else [one]
            row = row[0].elts if len(row) == 1 and len(names) > 1 and isinstance(row[0], ast.Tuple | ast.List) else row
            if len(row) == len(names):
                yield dict(zip(names, row, strict=True))


def _names(node: ast.expr) -> list[str]:
    said = literals(node.elts if isinstance(node, ast.Tuple | ast.List) else [node])
    return [name.strip() for text in said if isinstance(text, str) for name in text.split(",")]


def literals(nodes: Sequence[ast.expr]) -> Given:
    """Their values, lists as tuples; nothing unless all are constants."""
    try:
        return tuple(_hashable(ast.literal_eval(node)) for node in nodes)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return ()


def _hashable(value: Any) -> object:
    if isinstance(value, list | tuple):
        return tuple(map(_hashable, value))
    if isinstance(value, dict | set):
        return repr(value)
    return value


def texts(text: str) -> list[str]:
    """The text literals of code in whatever language, in order."""
    return [one or other for one, other in re.findall(_TEXT, text)]


def parsed(text: str | None) -> ast.AST:
    """The syntax tree; an empty one where it is no Python."""
    try:
        return ast.parse(text or "")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ast.Module([], [])


def _last(func: ast.expr) -> str:
    return ast.unparse(func).rpartition(".")[2]
