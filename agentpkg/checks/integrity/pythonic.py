"""The tests of a Python file: pytest's and unittest's."""

import ast
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from agentpkg.checks.integrity import assertions, machine
from agentpkg.checks.integrity.facts import FileFacts, Skip, TestFacts

Function = ast.FunctionDef | ast.AsyncFunctionDef

_MARK = re.compile(r"(?:pytest\.)?mark\.(\w+)")
#: marks that leave out no test, or are looked at elsewhere
_HARMLESS = {
    "parametrize", "usefixtures", "asyncio", "anyio", "trio", "filterwarnings", "timeout", "django_db", "requirement",
    "skip", "skipif", "xfail", "flaky", "benchmark",
}  # fmt: skip


_SET_UP = {
    "setUp", "asyncSetUp", "setUpClass", "setUpModule", "setup_method", "setup_class", "setup_module", "setup_function",
}  # fmt: skip


def read(text: str) -> FileFacts:
    """The tests of a module; nothing where it is no Python."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return FileFacts({})
    helpers = {f.name: f for f in ast.walk(tree) if isinstance(f, Function) and not f.name.startswith("test")}
    marks = _module_marks(tree)
    found = list(_tests(tree.body, "", [], helpers))
    names = Counter(facts.name for facts in found)
    skip: Skip = max((_skip(mark)[0] for mark in marks), key=_weight, default="")
    doubled = frozenset(name for name, count in names.items() if count > 1)
    return FileFacts({facts.name: facts for facts in found}, skip, doubled)


def _tests(
    body: Sequence[ast.stmt], inside: str, marks: list[ast.expr], helpers: dict[str, Function]
) -> Iterator[TestFacts]:
    hidden = _hidden(body)
    for node in body:
        if isinstance(node, Function) and node.name.startswith("test") and node.name not in hidden:
            yield _facts(node, inside, marks, helpers)
        elif isinstance(node, ast.ClassDef) and _may_hold_tests(node):
            own = [*marks, *node.decorator_list, *_assigned(node.body, "pytestmark"), *_before_all(node.body)]
            yield from _tests(node.body, f"{inside}{node.name}.", own, helpers)
        elif isinstance(node, ast.Try | ast.With):
            yield from _tests(node.body, inside, marks, helpers)
        elif isinstance(node, ast.If) and not _never(node.test):
            yield from _tests(node.body, inside, [*marks, _when(node.test)], helpers)


def _before_all(body: Sequence[ast.stmt]) -> Iterator[ast.expr]:
    """The marks that tests could have as well, where what runs before each of them skips."""
    for node in body:
        if not isinstance(node, Function):
            continue
        if node.name in _SET_UP or any("autouse=True" in ast.unparse(mark) for mark in node.decorator_list):
            for skip, reason in _skip_calls(node):
                name = "skip" if skip == "always" else "importorskip"
                yield ast.Call(ast.Name(name), [], [ast.keyword("reason", ast.Constant(reason))])


def _never(test: ast.expr) -> bool:
    return "TYPE_CHECKING" in ast.unparse(test) or (isinstance(test, ast.Constant) and not test.value)


def _when(test: ast.expr) -> ast.expr:
    """What a test under a condition could as well be marked with."""
    return ast.Call(ast.Name("skipUnless"), [test], [])


def _may_hold_tests(node: ast.ClassDef) -> bool:
    bases = " ".join(ast.unparse(base) for base in node.bases)
    unit = "TestCase" in bases or node.name.endswith(("Test", "Tests"))
    # pytest leaves out classes that have a constructor
    made = any(isinstance(n, Function) and n.name in ("__init__", "__new__") for n in node.body)
    return (unit or (node.name.startswith("Test") and not made)) and not any(
        isinstance(v, ast.Constant) and not v.value for v in _assigned(node.body, "__test__")
    )


def _hidden(body: Sequence[ast.stmt]) -> set[str]:
    """Names that are given away again: a test under one of them is never collected."""
    found = set()
    for node in body:
        if isinstance(node, ast.Delete):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif (
            isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and node.value.value in (None, False)
        ):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    found.add(target.id)
                elif isinstance(target, ast.Attribute) and target.attr == "__test__":
                    found.add(ast.unparse(target.value))
    return found


def _facts(node: Function, inside: str, marks: list[ast.expr], helpers: dict[str, Function]) -> TestFacts:
    every = [*marks, *node.decorator_list]
    cases = _cases(every)
    asserts, strength = assertions.of(node, helpers)
    skips = [*(_skip(mark) for mark in every), *_skips_inside(node), *([] if cases else [_no_cases()])]
    skip, reason = max(skips, key=lambda found: _weight(found[0]), default=("", ""))
    counted: Counter[str] = Counter()
    for text, times in asserts.items():
        counted[text] = times * cases
    names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)} | {
        n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)
    }
    return TestFacts(
        f"{inside}{node.name}", node.lineno, "\n".join(map(ast.dump, _statements(node))), counted, strength * cases,
        cases, skip, reason, frozenset(names),
        frozenset(str(n.value) for n in ast.walk(node) if isinstance(n, ast.Constant)), _marks(node),
    )  # fmt: skip


def _marks(node: Function) -> frozenset[str]:
    found = {m[1] for d in node.decorator_list if (m := _MARK.match(ast.unparse(d)))}
    # pytest does not run what it would have to await without a plugin
    return frozenset(found - _HARMLESS) | ({"async"} if isinstance(node, ast.AsyncFunctionDef) else set())


def _statements(node: Function) -> list[ast.stmt]:
    first = node.body[0]
    documented = (
        isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    )
    return node.body[1:] if documented else node.body


def _cases(marks: Sequence[ast.expr]) -> int:
    """How many tests the literal parameters make."""
    count = 1
    for mark in marks:
        if isinstance(mark, ast.Call) and ast.unparse(mark.func).endswith(("parametrize", "parameterized.expand")):
            values = [*mark.args, *(k.value for k in mark.keywords if k.arg == "argvalues")]
            lists = [v for v in values if isinstance(v, ast.List | ast.Tuple | ast.Set)]
            count *= len(lists[-1].elts) if lists else 2
    return count


# --------------------------------------------------------------------------- skipped


def _no_cases() -> tuple[Skip, str]:
    return "always", "it has no parameters"


def _weight(skip: Skip) -> int:
    return ("", "platform", "condition", "always").index(skip)


def _skip(mark: ast.expr) -> tuple[Skip, str]:
    name = ast.unparse(mark.func if isinstance(mark, ast.Call) else mark)
    last = name.rpartition(".")[2]
    arguments = mark.args if isinstance(mark, ast.Call) else []
    if last in ("skip", "expectedFailure"):
        return "always", _reason(mark, arguments)
    if last == "importorskip":
        return "condition", _reason(mark, [])
    if last == "xfail":
        return _conditional(arguments, _reason(mark, arguments[1:]), "always")
    if last in ("skipif", "skipIf"):
        return _conditional(arguments, _reason(mark, arguments[1:]), "condition")
    if last == "skipUnless" and arguments:
        return _conditional([ast.UnaryOp(ast.Not(), arguments[0])], _reason(mark, arguments[1:]), "condition")
    return "", ""


def _conditional(arguments: Sequence[ast.expr], reason: str, without: Skip) -> tuple[Skip, str]:
    if not arguments:
        return without, reason
    first = arguments[0]
    # pytest takes a condition as text, too
    text = str(first.value) if isinstance(first, ast.Constant) else ast.unparse(first)
    try:
        return (
            ("always", reason)
            if ast.literal_eval(text.removeprefix("not ")) is not text.startswith("not ")
            else ("", "")
        )
    except (ValueError, SyntaxError, TypeError):
        return machine.skips(text), reason


def _reason(mark: ast.expr, rest: Sequence[ast.expr]) -> str:
    words = [k.value for k in mark.keywords if k.arg in ("reason", "msg")] if isinstance(mark, ast.Call) else []
    found = [v.value for v in (*words, *rest) if isinstance(v, ast.Constant) and isinstance(v.value, str)]
    return found[0] if found else ""


def _skips_inside(node: Function) -> Iterator[tuple[Skip, str]]:
    """Calls of ``pytest.skip``, a ``return`` before anything is asserted, and what makes it a generator."""
    if any(isinstance(inner, ast.Yield | ast.YieldFrom) for inner in ast.walk(node)):
        yield "always", "a generator is not run as a test"
    if any(isinstance(statement, ast.Return) and depth == 0 for depth, statement in _nested(node.body)):
        yield "always", "it returns before its end"
    yield from _skip_calls(node)


def _skip_calls(node: Function) -> Iterator[tuple[Skip, str]]:
    for depth, statement in _nested(node.body):
        if isinstance(statement, ast.Expr | ast.Raise):
            value = statement.value if isinstance(statement, ast.Expr) else statement.exc
            name = ast.unparse(value.func if isinstance(value, ast.Call) else value) if value is not None else ""
            if name.endswith(("pytest.skip", "pytest.xfail", "skipTest", "SkipTest")) or name == "skip":
                yield (
                    ("always" if depth == 0 else "condition"),
                    _reason(value, value.args) if isinstance(value, ast.Call) else "",
                )


def _nested(body: Sequence[ast.stmt], depth: int = 0) -> Iterator[tuple[int, ast.stmt]]:
    """Statements of a function with how many conditions they stand under; a last ``return`` is left out."""
    for number, node in enumerate(body):
        if not (isinstance(node, ast.Return) and number == len(body) - 1):
            yield depth, node
        if isinstance(node, ast.If | ast.For | ast.While | ast.Try | ast.With | ast.AsyncWith | ast.AsyncFor):
            deeper = depth + (not isinstance(node, ast.With | ast.AsyncWith))
            constant = isinstance(node, ast.If) and isinstance(node.test, ast.Constant) and bool(node.test.value)
            yield from _nested(node.body, depth if constant else deeper)
            for other in ("orelse", "finalbody"):
                yield from _nested(getattr(node, other, []), deeper)
            for handler in getattr(node, "handlers", []):
                yield from _nested(handler.body, deeper)


def _module_marks(tree: ast.Module) -> list[ast.expr]:
    found = [*_assigned(tree.body, "pytestmark"), *_before_all(tree.body)]
    for node in tree.body:
        call = node.value if isinstance(node, ast.Expr | ast.Assign) else None
        if isinstance(call, ast.Call) and ast.unparse(call.func) in ("pytest.skip", "pytest.importorskip"):
            found.append(call)
    return found


def _assigned(body: Sequence[ast.stmt], name: str) -> Iterator[ast.expr]:
    """What is assigned to a name; the elements, where it is a list."""
    for node in body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            yield from node.value.elts if isinstance(node.value, ast.List | ast.Tuple) else [node.value]
