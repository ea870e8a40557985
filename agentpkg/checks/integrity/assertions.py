"""What a Python test asserts, and how much of it could fail."""

import ast
import copy
from collections import Counter
from collections.abc import Iterator, Mapping

from agentpkg.checks.integrity.facts import BOUNDED, EXACT, PRESENT, VACUOUS

Function = ast.FunctionDef | ast.AsyncFunctionDef

_METHODS = {
    **dict.fromkeys(("assertTrue", "assertIsNotNone", "assertIsInstance", "assert_called", "assertTruthy"), PRESENT),
    **dict.fromkeys(
        ("assertIn", "assertNotEqual", "assertNotIn", "assertGreater", "assertGreaterEqual", "assertLess",
         "assertLessEqual", "assertRegex", "assertNotRegex", "assert_called_once", "assertIsNot", "assertFalse"),
        BOUNDED,
    ),
}  # fmt: skip
_CHECKING = ("assert", "check", "verify", "expect", "should", "ensure", "validate", "must", "compare")
#: a tolerance of so much tells next to nothing
_WIDE = 0.1
#: as a part of the value
_FAR = 0.5
#: loops over literals count so often at most
_MOST = 100


def of(function: Function, helpers: Mapping[str, Function], depth: int = 2) -> tuple[Counter[str], int]:
    """The assertions of a function, as text with how often each holds, and the sum of their strengths.

    Args:
        helpers: functions of the same file, whose assertions count where they are called.
        depth: how many calls are followed.
    """
    texts: Counter[str] = Counter()
    total = 0
    known = _Names(function)
    for node, times, swallowed in _walk(function.body, 1, False):
        for text, strength in _found(known.spelt_out(node), helpers, depth):
            kept = VACUOUS if swallowed else strength
            total += kept * times
            if kept:
                texts[text] += times
    return texts, total


class _Names(ast.NodeTransformer):
    """Puts what a name was given, where it was given something once and that is a call, in the name's place."""

    def __init__(self, function: Function) -> None:
        given = [n for n in ast.walk(function) if isinstance(n, ast.Assign) and isinstance(n.targets[0], ast.Name)]
        names = Counter(n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
        self._values = {
            node.targets[0].id: node.value
            for node in given
            if isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Call)
            and names[node.targets[0].id] == 1
        }  # fmt: skip

    def spelt_out(self, node: ast.stmt) -> ast.stmt:
        """An assertion that compares, with its names replaced; anything else as it is."""
        if not isinstance(node, ast.Assert) or not isinstance(node.test, ast.Compare):
            return node
        spelt = self.visit(copy.deepcopy(node.test))
        same = len(spelt.ops) == 1 and _same_call(spelt.left, spelt.comparators[0])
        return ast.copy_location(ast.Assert(spelt, node.msg), node) if same else node

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self._values.get(node.id, node) if isinstance(node.ctx, ast.Load) else node


def _walk(body: list[ast.stmt], times: int, swallowed: bool) -> Iterator[tuple[ast.stmt, int, bool]]:
    """Every statement, how often literal loops repeat it, and whether its failure would be caught."""
    for node in body:
        yield node, times, swallowed
        inner = times * _repeats(node)
        caught = swallowed or (isinstance(node, ast.Try) and any(map(_swallows, node.handlers)))
        caught = caught or (isinstance(node, ast.With) and any("suppress" in ast.unparse(i) for i in node.items))
        never = isinstance(node, ast.If) and isinstance(node.test, ast.Constant) and not node.test.value
        if isinstance(node, Function | ast.ClassDef):
            continue
        yield from _walk(getattr(node, "body", []), inner, caught or never)
        for other in ("orelse", "finalbody"):
            yield from _walk(getattr(node, other, []), times, swallowed)
        for handler in getattr(node, "handlers", []):
            yield from _walk(handler.body, times, swallowed)


def _repeats(node: ast.stmt) -> int:
    if isinstance(node, ast.For) and isinstance(node.iter, ast.List | ast.Tuple | ast.Set):
        return min(_MOST, max(1, len(node.iter.elts)))
    return 1


def _swallows(handler: ast.ExceptHandler) -> bool:
    """It catches failed assertions and goes on."""
    caught = ast.unparse(handler.type) if handler.type else "BaseException"
    if not any(name in caught for name in ("AssertionError", "Exception")) or "." in caught:
        return False
    exact = caught in ("Exception", "BaseException", "AssertionError") or "AssertionError" in caught
    goes_on = not any(isinstance(n, ast.Raise | ast.Assert) or _fails(n) for s in handler.body for n in ast.walk(s))
    return exact and goes_on


def _fails(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("pytest.fail", "self.fail"))


def _found(node: ast.stmt, helpers: Mapping[str, Function], depth: int) -> Iterator[tuple[str, int]]:
    if isinstance(node, ast.Assert):
        yield from _asserted(node.test)
    elif isinstance(node, ast.With | ast.AsyncWith):
        for item in node.items:
            yield from _raises(item.context_expr)
    elif isinstance(node, ast.Raise) and "AssertionError" in ast.unparse(node):
        yield ast.unparse(node), BOUNDED
    elif isinstance(node, ast.Expr | ast.Assign | ast.Return) and node.value is not None:
        value = node.value.value if isinstance(node.value, ast.Await) else node.value
        if isinstance(value, ast.Call):
            yield from _call(value, helpers, depth)


def _asserted(test: ast.expr) -> Iterator[tuple[str, int]]:
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And):
        for part in test.values:
            yield from _asserted(part)
        return
    yield ast.unparse(test), _strength(test)


def _strength(test: ast.expr) -> int:
    if _always(test):
        return VACUOUS
    if isinstance(test, ast.BoolOp):
        return min(BOUNDED, min(map(_strength, test.values)))
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return max(PRESENT, min(BOUNDED, _strength(test.operand)))
    if isinstance(test, ast.Compare):
        return _compared(test)
    if isinstance(test, ast.Call):
        name = ast.unparse(test.func)
        if name.endswith("isclose") and _loose(test):
            return PRESENT
        if name in ("isinstance", "hasattr", "callable", "bool", "len", "any"):
            return PRESENT
        return BOUNDED if name in ("all", "math.isclose") or name.startswith(("re.", "np.")) else PRESENT
    return PRESENT


def _always(test: ast.expr) -> bool:
    """It holds whatever the code under test does."""
    if isinstance(test, ast.Constant):
        return bool(test.value)
    if isinstance(test, ast.Tuple):
        return bool(test.elts)
    if isinstance(test, ast.BoolOp):
        return (any if isinstance(test.op, ast.Or) else all)(map(_always, test.values))
    if isinstance(test, ast.Compare) and len(test.ops) == 1:
        left, op, right = test.left, test.ops[0], test.comparators[0]
        if isinstance(left, ast.Constant) and isinstance(right, ast.Constant):
            return True
        if ast.dump(left) == ast.dump(right) and isinstance(op, ast.Eq | ast.Is | ast.GtE | ast.LtE):
            return not any(isinstance(n, ast.Call) for n in ast.walk(left))
        length = isinstance(left, ast.Call) and ast.unparse(left.func) == "len"
        return length and isinstance(op, ast.GtE) and isinstance(right, ast.Constant) and right.value == 0
    return False


def _compared(test: ast.Compare) -> int:
    op, right = test.ops[-1], test.comparators[-1]
    nothing = isinstance(right, ast.Constant) and right.value is None
    if isinstance(op, ast.IsNot) and nothing:
        return PRESENT
    if isinstance(op, ast.Eq | ast.Is):
        left = ast.unparse(test.left)
        # of the same call: only that it says the same twice
        if _vague(right) or _same_call(test.left, right):
            return PRESENT
        return BOUNDED if left.startswith(("type(", "len(")) else EXACT
    if (isinstance(op, ast.NotEq) and nothing) or (isinstance(op, ast.Lt | ast.LtE) and _far(test.left, right)):
        return PRESENT
    if isinstance(op, ast.In) and isinstance(right, ast.List | ast.Tuple | ast.Set):
        return BOUNDED if len(right.elts) > 1 else EXACT
    return BOUNDED


def _loose(test: ast.Call) -> bool:
    """``isclose`` with a tolerance that half of the value, or a tenth by proportion, stays within."""
    said = {k.arg: v for k in test.keywords if (v := _number(k.value)) is not None}
    values = [v for arg in test.args if (v := _number(arg)) is not None]
    return said.get("rel_tol", 0) >= _WIDE or any(
        said.get("abs_tol", 0) >= _FAR * abs(value) for value in values if value
    )


def _far(left: ast.expr, right: ast.expr) -> bool:
    """``abs(value - 10) < 6``: half of the value stays within it."""
    limit = _number(right)
    if limit is None or not isinstance(left, ast.Call) or ast.unparse(left.func) not in ("abs", "math.fabs"):
        return False
    sides = [n for n in ast.walk(left) if isinstance(n, ast.BinOp) and isinstance(n.op, ast.Sub)]
    values = [v for side in sides for end in (side.left, side.right) if (v := _number(end))]
    return any(limit >= _FAR * abs(value) for value in values)


def _number(node: ast.expr) -> float | None:
    value = node.value if isinstance(node, ast.Constant) else None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _vague(right: ast.expr) -> bool:
    """What a tenth more or less satisfies, or anything."""
    call = isinstance(right, ast.Call)
    name = ast.unparse(right.func if isinstance(right, ast.Call) else right)
    wide = [k.value for k in right.keywords if k.arg in ("rel", "abs")] if isinstance(right, ast.Call) else []
    values = [v.value for v in wide if isinstance(v, ast.Constant)]
    loose = name.endswith("approx") and any(isinstance(v, int | float) and v >= _WIDE for v in values)
    return loose or (not call and name.rpartition(".")[2] == "ANY")


def _same_call(left: ast.expr, right: ast.expr) -> bool:
    return ast.dump(left) == ast.dump(right) and any(isinstance(n, ast.Call) for n in ast.walk(left))


def _raises(context: ast.expr) -> Iterator[tuple[str, int]]:
    if not isinstance(context, ast.Call):
        return
    name = ast.unparse(context.func).rpartition(".")[2]
    if name in ("raises", "assertRaises", "assertRaisesRegex", "warns", "assertWarns", "deprecated_call", "assertLogs"):
        # of any error: the code's own mistakes satisfy it
        broad = bool(context.args) and ast.unparse(context.args[0]) in ("Exception", "BaseException")
        told = len(context.args) > 1 or any(k.arg == "match" for k in context.keywords)
        yield ast.unparse(context), VACUOUS if broad and not told else EXACT


def _call(value: ast.Call, helpers: Mapping[str, Function], depth: int) -> Iterator[tuple[str, int]]:
    name = ast.unparse(value.func)
    last = name.rpartition(".")[2]
    helper = helpers.get(last)
    if helper is not None and depth and (name == last or name.startswith(("self.", "cls."))):
        _, strength = of(helper, helpers, depth - 1)
        if strength:
            yield ast.unparse(value), strength
    elif last in ("raises", "assertRaises", "assertRaisesRegex"):
        yield from _raises(value)
    elif last.startswith("assert"):
        constant = bool(value.args) and all(isinstance(a, ast.Constant) for a in value.args)
        yield ast.unparse(value), VACUOUS if constant else _METHODS.get(last, EXACT)
    elif last.lower().lstrip("_").startswith(_CHECKING) and last not in ("compare_digest",):
        yield ast.unparse(value), EXACT
