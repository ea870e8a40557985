"""Product code that has the answers of its tests written down instead of working them out."""

import ast
from collections.abc import Iterator, Sequence

from agentpkg.checks.integrity import oddity, roles
from agentpkg.checks.integrity.change import FileChange, Intent
from agentpkg.checks.integrity.oddity import Oddity

#: what a function is asked with -> what it is to say
Answers = dict[tuple[object, ...], object]

#: so many answers that are all written down are no accident
_FEW = 2


def odd(changes: Sequence[FileChange], intent: Intent) -> list[Oddity]:
    """Functions whose every answer that the changed tests ask for with numbers stands in a new table or branch.

    Tables of names are left alone, and those whose values the plan names: they are what was asked for.
    """
    asked: dict[str, Answers] = {}
    for change in changes:
        if roles.is_test(change.path):
            for name, given, answer in _asked(change.after):
                asked.setdefault(name, {})[given] = answer
    product = [c for c in changes if roles.is_product(c.path) and roles.is_python(c.path)]
    return [found for change in product for found in _written(change, asked, intent)]


def _asked(text: str | None) -> Iterator[tuple[str, tuple[object, ...], object]]:
    """Every ``assert f(1, 2) == 3``: the name, the arguments, the answer."""
    for node in ast.walk(_parsed(text)):
        if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], ast.Eq):
            call, answer = node.left, node.comparators[0]
            if isinstance(call, ast.Call) and isinstance(answer, ast.Constant):
                given = _constants([*call.args, *(k.value for k in call.keywords)])
                if given and all(isinstance(value, int | float) for value in given):
                    yield ast.unparse(call.func).rpartition(".")[2], given, answer.value


def _written(change: FileChange, asked: dict[str, Answers], intent: Intent) -> Iterator[Oddity]:
    new = {number for number, _ in change.added_lines()}
    tree = _parsed(change.after)
    pairs = [pair for node in ast.walk(tree) if getattr(node, "lineno", 0) in new for pair in _pairs(node)]
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    for function in functions:
        answers = asked.get(function.name, {})
        there = {given for given, answer in answers.items() if any(_fits(pair, given, answer) for pair in pairs)}
        planned = any(intent.mentions(str(answer)) for answer in answers.values() if len(str(answer)) > 1)
        if len(there) >= _FEW and len(there) == len(answers) and not planned:
            why = "all answers that its tests ask for are written down in it"
            yield Oddity(oddity.DETECTION, change.path, function.lineno, function.name, why)


def _pairs(node: ast.AST) -> Iterator[tuple[tuple[object, ...], object]]:
    """What a table or a branch maps to a constant."""
    if isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            given = _constants(key.elts if isinstance(key, ast.Tuple) else [key]) if key is not None else ()
            if given and isinstance(value, ast.Constant):
                yield given, value.value
    elif isinstance(node, ast.If) and isinstance(node.body[0], ast.Return):
        said = node.body[0].value
        compared = [n for n in ast.walk(node.test) if isinstance(n, ast.Compare) and isinstance(n.ops[0], ast.Eq)]
        sides = [n.comparators[0] for n in compared]
        given = _constants([e for side in sides for e in (side.elts if isinstance(side, ast.Tuple) else [side])])
        if given and isinstance(said, ast.Constant):
            yield given, said.value


def _fits(pair: tuple[tuple[object, ...], object], given: tuple[object, ...], answer: object) -> bool:
    """Either may leave out what has a default."""
    said = min(len(pair[0]), len(given))
    return pair[1] == answer and pair[0][:said] == given[:said]


def _constants(nodes: Sequence[ast.expr]) -> tuple[object, ...]:
    """Their values; nothing unless all are constants."""
    values = tuple(node.value for node in nodes if isinstance(node, ast.Constant))
    return values if len(values) == len(nodes) else ()


def _parsed(text: str | None) -> ast.AST:
    try:
        return ast.parse(text or "")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ast.Module([], [])
