"""Does an interpreter import the project from somewhere else than the copy that is judged?

After ``pip install -e .`` with a ``src`` layout, tests in a copy import the user's own tree: the review would judge the
wrong code. Two steps keep honest set-ups free of trouble: each interpreter is asked where it would find the project's
packages (without the current folder); only if that is elsewhere, the check runs with an import hook that notes what was
really taken from elsewhere (``pythonpath`` settings and the like may well win).
"""

import json
import os
import posixpath
import re
import shlex
import shutil
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from agentpkg import proc
from agentpkg.checks.base import one_line
from agentpkg.core.errors import AgentpkgError
from agentpkg.files import open_regular, read_bounded

_PROBE_SECONDS = 20.0
_MOST_NAMES = 200
_MOST_NOTES = 1 << 16
_PYTHON = re.compile(r"(python|pypy)[\d.]*")

_PROBE = """
import importlib.util, json, sys
found = {}
for name in json.loads(sys.argv[1]):
    try:
        spec = importlib.util.find_spec(name)
    except Exception:
        continue
    if spec is not None:
        places = [spec.origin] if spec.has_location and spec.origin else list(spec.submodule_search_locations or ())
        if places:
            found[name] = places[0]
print(json.dumps(found))
"""

# stands in the copy's temporary folder, first on PYTHONPATH; gives way to the sitecustomize it hides
_HOOK = """
import importlib.machinery, importlib.util, os, sys

class _Notes:
    def find_spec(self, name, path=None, target=None):
        if path is not None or name not in NAMES:
            return None
        for finder in [f for f in sys.meta_path if f is not self]:
            spec = finder.find_spec(name, path, target) if hasattr(finder, "find_spec") else None
            if spec is not None:
                place = spec.origin if spec.has_location else next(iter(spec.submodule_search_locations or ()), None)
                if place and not os.path.realpath(place).startswith(COPY + os.sep):
                    with open(NOTES, "a") as notes:
                        notes.write(name + "\\t" + sys.executable + "\\t" + place + "\\n")
                return spec
        return None

sys.meta_path.insert(0, _Notes())
_here = os.path.dirname(os.path.abspath(__file__))
_rest = [p for p in sys.path if os.path.abspath(p or ".") != _here]
_next = importlib.machinery.PathFinder.find_spec("sitecustomize", _rest)
if _next is not None and _next.loader is not None:
    _next.loader.exec_module(importlib.util.module_from_spec(_next))
"""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A package of the project that an interpreter takes from outside the copy."""

    package: str
    interpreter: str
    place: str

    @property
    def folder(self) -> Path:
        """What of it is read when it is imported: the package's folder, or the module's file."""
        place = Path(self.place)
        return place.parent if place.name.startswith("__init__.") else place

    def __str__(self) -> str:
        where = one_line(self.place)
        return f"{one_line(self.interpreter)} imports {self.package} from {where}, not from the candidate"


#: what to do about it
FIX = (
    'let the tests import the copy: `pythonpath = ["src"]` for pytest, PYTHONPATH=src before the command, '
    "or an interpreter without the editable install"
)


def packages(paths: Collection[str]) -> list[str]:
    """The names that the project's own packages and modules are imported by, from the root and from ``src/``."""
    names = set()
    for path in paths:
        parts = path.removeprefix("src/").split("/")
        name = parts[0] if len(parts) > 1 else posixpath.splitext(parts[0])[0]
        if path.endswith(".py") and name.isidentifier():
            names.add(name)
    return sorted(names - sys.stdlib_module_names - {"conftest", "setup", "tests", "test", "docs"})[:_MOST_NAMES]


def interpreters(command: str, env: Mapping[str, str]) -> list[str]:
    """The Python interpreters that a command line may start: those it names, also through a script's first line, and
    those that PATH has for programs it starts in turn (make, tox)."""
    path = env.get("PATH", os.defpath)
    words = {*_words(command), "python", "python3", "pytest"}
    named = [found for word in sorted(words) if (found := shutil.which(word, path=path))]
    return sorted({python for program in named if (python := _python_of(program, path))})


def _words(command: str) -> list[str]:
    try:
        words = list(shlex.shlex(command, posix=True, punctuation_chars=True))
        return shlex.split(command) + words
    except ValueError:
        return command.split()


def _python_of(program: str, path: str) -> str | None:
    if _PYTHON.fullmatch(os.path.basename(program)):
        return program
    try:
        with open_regular(Path(program), follow=True) as handle:
            first = os.read(handle, 1024).split(b"\n", 1)[0]
    except (OSError, AgentpkgError):
        return None
    words = os.fsdecode(first.removeprefix(b"#!")).split() if first.startswith(b"#!") else []
    if len(words) == 2 and os.path.basename(words[0]) == "env":
        words = [shutil.which(words[1], path=path) or ""]
    return words[0] if words and _PYTHON.fullmatch(os.path.basename(words[0])) else None


def suspects(python: str, names: Collection[str], env: Mapping[str, str], empty: Path) -> list[Elsewhere]:
    """The packages that ``python`` finds although it starts in the folder ``empty``: they are installed elsewhere."""
    argv = [python, "-c", _PROBE, json.dumps(sorted(names))]
    try:
        result = proc.run(argv, env=env, cwd=empty, timeout=_PROBE_SECONDS)
        found = json.loads(result.stdout) if result.exit_code == 0 else {}
    except (AgentpkgError, ValueError):
        return []
    return [Elsewhere(name, python, place) for name, place in sorted(found.items())]


def watch(env: Mapping[str, str], names: Collection[str], copy: Path, folder: Path) -> dict[str, str]:
    """The environment in which imports of ``names`` from outside ``copy`` are noted, in ``folder``, which is made."""
    folder.mkdir()
    facts = f"NAMES = {set(names)!r}\nCOPY = {os.path.realpath(copy)!r}\nNOTES = {str(folder / 'notes')!r}\n"
    (folder / "sitecustomize.py").write_text(facts + _HOOK)
    others = env.get("PYTHONPATH")
    return {**env, "PYTHONPATH": f"{folder}{os.pathsep}{others}" if others else str(folder)}


def noted(folder: Path) -> list[Elsewhere]:
    """What was taken from elsewhere, once each."""
    try:
        lines = read_bounded(folder / "notes", _MOST_NOTES).decode("utf-8", "backslashreplace").splitlines()
    except (OSError, AgentpkgError):
        return []
    rows = dict.fromkeys(tuple(line.split("\t")) for line in lines if line.count("\t") == 2)
    return [Elsewhere(name, python, place) for name, python, place in rows]
