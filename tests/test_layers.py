"""The rooms import each other one way only, and each outside library is spoken to in its own room."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "agentpkg"

#: from left to right: a room may import what lies left of its own brace
BRACES = (
    {"core"},
    {"config", "features", "proc", "files", "secrets", "views"},
    {"ledger", "git", "prompts", "harnesses", "sessions", "isolation", "checks", "bus"},
    {"relay"},
    {"engine"},
    {"cli"},
    {"__main__"},
)
#: the imports within one brace that there are: a room, and the room or module it uses
EXEMPT = {("features", "files"), ("sessions", "harnesses.base"), ("checks", "git")}

#: outside name -> the rooms or modules that may import it
OUTSIDE = {
    "git": ("git",), "gitdb": ("git",), "nats": ("bus",), "nkeys": ("bus",), "rich": ("cli",), "click": ("cli",),
    "yaml": ("config", "features", "harnesses"), "pydantic": ("config", "features", "checks.verdict"),
    "networkx": ("core",),
    "jinja2": ("prompts",), "keyring": ("secrets",), "subprocess": ("proc", "git.repo"), "multiprocessing": (),
    "acp": ("harnesses.acp_messages",),
}  # fmt: skip

_HEAVY = "agentpkg.checks.pipeline asyncio click jinja2 nats networkx pydantic rich yaml"
#: what is started often, or by every command -> what of the heavy it needs
STARTS = {
    "agentpkg.cli": "click",
    "agentpkg.relay.client": "", "agentpkg.relay.main": "asyncio",
    "agentpkg.engine.supervising.supervisor": "", "agentpkg.engine.supervising.conclude": "",
    "agentpkg.engine.upkeep.recovery": "pydantic yaml",
}  # fmt: skip


@dataclass(frozen=True)
class Import:
    """One import of one name, by a module of the package; names without the leading ``agentpkg.``."""

    by: str
    name: str
    where: str


def _modules() -> dict[str, Path]:
    """Every module, by its dotted name below ``agentpkg``; the package's own ``__init__`` is ``""``."""
    names = {path: path.relative_to(PACKAGE).with_suffix("").parts for path in sorted(PACKAGE.rglob("*.py"))}
    return {".".join(p for p in parts if p != "__init__"): path for path, parts in names.items()}


MODULES = _modules()
TREES = {name: ast.parse(path.read_bytes()) for name, path in MODULES.items()}


def _imports() -> Iterator[Import]:
    """Every import, those inside functions and under ``TYPE_CHECKING`` too."""
    for module, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                where = f"{MODULES[module].relative_to(ROOT)}:{node.lineno}"
                yield from (Import(module, name, where) for name in _names(node))


def _names(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
        return
    assert node.level == 0, "imports are absolute"
    base = str(node.module)
    for alias in node.names:
        longer = f"{base}.{alias.name}"
        yield longer if longer.removeprefix("agentpkg.") in MODULES else base


IMPORTS = list(dict.fromkeys(_imports()))
OWN = [
    Import(one.by, one.name.removeprefix("agentpkg").removeprefix("."), one.where)
    for one in IMPORTS
    if one.name.split(".")[0] == "agentpkg"
]


def _room(module: str) -> str:
    return module.split(".")[0]


def _place(room: str) -> int:
    return next(index for index, brace in enumerate(BRACES) if room in brace)


def _below(module: str, rooms: tuple[str, ...]) -> bool:
    return any(module == room or module.startswith(room + ".") for room in rooms)


def _allowed(one: Import) -> bool:
    by, used = _room(one.by), _room(one.name)
    if used in ("", by) or _place(used) < _place(by):
        return True
    return any(by == user and _below(one.name, (room,)) for user, room in EXEMPT)


def test_every_room_has_its_place() -> None:
    placed = set().union(*BRACES)
    assert {_room(module) for module in MODULES if module} == placed


def test_imports_go_one_way() -> None:
    wrong = [f"{one.where}: {_room(one.by)} imports {one.name}" for one in OWN if not _allowed(one)]
    assert wrong == []


def test_no_exemption_is_left_over() -> None:
    used = {(user, room) for user, room in EXEMPT for one in OWN if _room(one.by) == user and _below(one.name, (room,))}
    assert used == EXEMPT


@pytest.mark.parametrize("outside", OUTSIDE)
def test_an_outside_library_is_spoken_to_in_its_own_room(outside: str) -> None:
    found = [one for one in IMPORTS if one.name.split(".")[0] == outside]
    assert [f"{one.where}: {one.name}" for one in found if not _below(one.by, OUTSIDE[outside])] == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {module: {one.name for one in OWN if one.by == module} - {module, ""} for module in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("a circle of imports: " + " <- ".join(error.args[1]))


def test_no_rooms_of_the_engine_import_each_other_in_a_circle() -> None:
    """Its folders, and the modules beside them, each as one."""
    graph: dict[str, set[str]] = {}
    for one in OWN:
        by, used = (name.split(".")[:2] for name in (one.by, one.name))
        if by[0] == used[0] == "engine" and by != used and len(used) > 1:
            graph.setdefault(by[-1], set()).add(used[1])
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("a circle of rooms: " + " <- ".join(error.args[1]))


def test_only_the_command_line_prints() -> None:
    wrong = [
        f"{MODULES[module].relative_to(ROOT)}:{node.lineno}"
        for module, tree in TREES.items()
        if _room(module) != "cli"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert wrong == []


@pytest.mark.parametrize("module", STARTS)
def test_what_is_started_often_imports_nothing_heavy_that_it_does_not_need(module: str) -> None:
    code = f"import sys, {module}; print(*sorted(set({_HEAVY.split()!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == STARTS[module].split()
