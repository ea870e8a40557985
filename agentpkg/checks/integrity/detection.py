"""Code that finds out whether it is being tested."""

import ast
import posixpath
import re
from collections.abc import Iterator, Sequence

from agentpkg.checks.integrity import oddity, roles
from agentpkg.checks.integrity.change import FileChange, Intent
from agentpkg.checks.integrity.oddity import Oddity

#: words that no code needs but to ask whether a test runs
_MARKS = re.compile(
    r"PYTEST_CURRENT_TEST|PYTEST_VERSION|PYTEST_XDIST_WORKER|AGENTPKG_CHECK|JEST_WORKER_ID|VITEST_WORKER_ID|VITEST_POOL_ID"
    r"|PYTEST_RUN|UNITTEST_RUNNING|_called_from_test|TESTING_MODE_AUTO"
)
#: in a list of modules, a program's name or a stack these names say the same
_RUNNERS = re.compile(r"^(_?pytest\b.*|py\.test|unittest\b.*|nose2?|test_.*|conftest.*|.*/tests?/.*)$")
_PLACES = (
    "sys.modules", "sys.argv", "inspect.stack", "inspect.currentframe", "sys._getframe", "traceback.extract_stack",
    "traceback.format_stack", "__main__", "gc.get_objects", "psutil", "sys.gettrace",
)  # fmt: skip

#: of callers, these say it too
_CALLERS = re.compile(r"^tests?$|^test_?$")
_STACKS = (
    "inspect.stack",
    "inspect.currentframe",
    "sys._getframe",
    "traceback.extract_stack",
    "traceback.format_stack",
)

_ELSEWHERE = re.compile(
    r"process\.env\.(JEST_WORKER_ID|VITEST)|process\.env\[['\"](JEST_WORKER_ID|VITEST)"
    r"|typeof\s+(jest|vi|vitest|describe|it|expect|mocha)\b|globalThis\.(jest|describe|it|expect)\b|global\.(jest|describe|it)\b"
    r"|process\.env\.NODE_ENV\s*===?\s*['\"]test['\"]|import\.meta\.(vitest|env\.VITEST)|import\.meta\.env\.MODE\s*===?\s*['\"]test"
    r"|process\.argv.*(jest|mocha|vitest)|testing\.Testing\(\)|flag\.Lookup\(\s*\"test\.|os\.Args\[0\].*\.test\b"
    r"|HasSuffix\(os\.Args\[0\],\s*\"\.test|\bcfg!\(\s*test\s*\)|defined\?\(\s*(RSpec|Minitest)|\$PROGRAM_NAME.*(rspec|minitest)"
    r"|Rails\.env\.test\?|getStackTrace\(\).*|PHPUNIT_|BATS_TEST|org\.junit"
)


#: what stands where tests run and not where the product does
_SCENERY = re.compile(r"^(\./)?(tests?|spec|__tests__|conftest\.py|pytest\.ini|\.pytest_cache|report\.xml)(/.*)?$")
_LOOKING = ("exists", "isdir", "isfile", "is_dir", "is_file", "lexists", "access", "listdir", "scandir")


#: Rust code that is compiled when no test is
_OTHERWISE = re.compile(
    r"\s*#\[cfg\(not\(test\)\)\]\s*(#\[.*\]\s*)*(pub(\(\w+\))?\s+)?(const|async|unsafe|fn|static)\b"
)


def odd(changes: Sequence[FileChange], plan: Intent | None = None) -> list[Oddity]:
    """The new lines of product code that ask whether a test runs them."""
    tools = plan is not None and plan.says("test", "scaffold", "layout", "discover")
    found = [o for c in changes if roles.is_product(c.path) and c.after is not None for o in _of(c, c.after, tools)]
    return sorted(found, key=lambda one: (one.path, one.line))


def _of(change: FileChange, text: str, tools: bool) -> Iterator[Oddity]:
    new = {number for number, _ in change.added_lines()}
    places = [*_python(text), *(() if tools else _looks(text))] if roles.is_python(change.path) else _lines(text)
    seen = set()
    for line, what in places:
        if line in new and line not in seen:
            seen.add(line)
            yield Oddity(oddity.DETECTION, change.path, line, what, "it asks whether it is being tested")


def _looks(text: str) -> Iterator[tuple[int, str]]:
    """A look at whether the tests are there."""
    try:
        calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    except (SyntaxError, ValueError, RecursionError):
        return
    for node in calls:
        asks = ast.unparse(node.func).rpartition(".")[2] in _LOOKING
        if asks and any(_SCENERY.match(_folded(part) or "") for part in ast.walk(node)):
            yield node.lineno, ast.unparse(node)[:60]


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        code = re.sub(r"^\s*(//|#|\*|/\*).*", "", line)
        match = _MARKS.search(code) or _ELSEWHERE.search(code)
        match = match or (
            _OTHERWISE.match("\n".join(text.splitlines()[number - 1 : number + 3])) if "#[cfg" in line else None
        )
        if match:
            yield number, match.group()[:60]


def _python(text: str) -> Iterator[tuple[int, str]]:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        yield from _lines(text)
        return
    said = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant)}
    for node in ast.walk(tree):
        words = _folded(node) if id(node) not in said else None
        if words and _MARKS.search(words):
            yield getattr(node, "lineno", 0), words[:60]
        if isinstance(node, ast.FunctionDef) and node.name in ("__eq__", "__ne__") and len(node.body) == 1:
            (only,) = node.body
            if isinstance(only, ast.Return) and isinstance(only.value, ast.Constant):
                yield only.lineno, f"{node.name} that always says {ast.unparse(only.value)}"
        if isinstance(node, ast.Compare | ast.Call | ast.Subscript | ast.comprehension | ast.For | ast.If):
            yield from _asked(node)
        if isinstance(node, ast.Name | ast.Attribute) and _MARKS.search(
            node.id if isinstance(node, ast.Name) else node.attr
        ):
            yield node.lineno, ast.unparse(node)[:60]


def _asked(node: ast.AST) -> Iterator[tuple[int, str]]:
    """A list of modules, arguments or callers, asked for a name that only test runs have."""
    whole = node.test if isinstance(node, ast.If) else node
    text = ast.unparse(whole)
    if len(text) > 600 or not any(place in text for place in _PLACES):
        return
    callers = any(place in text for place in _STACKS)
    for part in ast.walk(whole):
        words = _folded(part)
        said = words and (_RUNNERS.match(words) or (callers and _CALLERS.match(words)))
        if words and said and posixpath.splitext(words)[1] not in (".md", ".txt"):
            line = getattr(part, "lineno", getattr(node, "lineno", 0))
            yield line, text[:60]


def _folded(node: ast.AST) -> str | None:
    """A text as the code makes it of literals: ``"PYTEST_" + "CURRENT_TEST"``."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _folded(node.left), _folded(node.right)
        return left + right if left is not None and right is not None else None
    if isinstance(node, ast.JoinedStr):
        parts = [_folded(v.value if isinstance(v, ast.FormattedValue) else v) for v in node.values]
        return "".join(part for part in parts if part is not None) if all(p is not None for p in parts) else None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "join" and node.args:
        between, items = _folded(node.func.value), node.args[0]
        if between is not None and isinstance(items, ast.List | ast.Tuple):
            parts = [_folded(item) for item in items.elts]
            return between.join(part for part in parts if part is not None) if None not in parts else None
    return None
