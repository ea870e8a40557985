"""Which dependencies a manifest names: exact for the formats that are data, by path for those that are programs.

A dependency is its name and, where it does not come from the ecosystem's registry, the place that it comes from: a
version that moves is nothing new, a package that suddenly comes from somebody's git is.

Formats: PEP 621, 508, 735 and 518 (``pyproject.toml``, also Poetry's, PDM's and uv's tables), pip's requirements files,
npm's ``package.json``, Cargo's ``Cargo.toml``, Go's ``go.mod``, Composer's ``composer.json``, Pipenv's ``Pipfile``.
Lock files are no manifests: they pin what a manifest names.
"""

import json
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

#: ``name``, or ``name from PLACE``
Named = frozenset[str]

_REQUIREMENTS = re.compile(r"(.*[-_.])?(requirements|constraints)([-_.].*)?\.(txt|in)")
#: their names are programs, or formats without a reader here: any change of theirs counts
_BY_PATH = {
    "setup.py", "setup.cfg", "environment.yml", "environment.yaml", "conanfile.py", "conanfile.txt", "vcpkg.json",
    "gemfile", "pom.xml", "build.gradle", "build.gradle.kts", "settings.gradle", "settings.gradle.kts", "build.sbt",
    "package.swift", "podfile", "mix.exs", "pubspec.yaml", "deno.json", "deno.jsonc", "rebar.config", "cabal.project",
    "stack.yaml", "package.yaml", "build.zig.zon", "flake.nix", "directory.packages.props", "libs.versions.toml",
    ".npmrc", ".yarnrc", ".yarnrc.yml", "pip.conf", "uv.toml", "pnpm-workspace.yaml", "module.bazel", "workspace",
}  # fmt: skip
_BY_SUFFIX = (".gemspec", ".csproj", ".fsproj", ".vbproj", ".cabal", ".podspec", ".nimble", ".rockspec")


def is_manifest(path: str) -> bool:
    """Whether a file of this name says what else is installed; case makes no difference."""
    return _reader(path) is not None or _by_path(path)


def new_dependencies(path: str, before: bytes | None, after: bytes) -> list[str] | None:
    """What a manifest names that it did not name before, sorted.

    Args:
        before: its content on the target, None where there was none.
        after: its content in the candidate.

    Returns:
        None where that cannot be told: the format has no reader here, or the content cannot be read.
    """
    reader = _reader(path)
    if reader is None:
        return None
    try:
        now = reader(after)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None
    try:
        known = reader(before) if before is not None else frozenset()
    except (ValueError, TypeError, AttributeError, RecursionError):
        known = frozenset()
    return sorted(now - known)


def _by_path(path: str) -> bool:
    name = posixpath.basename(path).casefold()
    return name in _BY_PATH or name.endswith(_BY_SUFFIX)


def _reader(path: str) -> Callable[[bytes], Named] | None:
    name = posixpath.basename(path).casefold()
    folder = posixpath.basename(posixpath.dirname(path)).casefold()
    if _REQUIREMENTS.fullmatch(name) or (folder == "requirements" and name.endswith((".txt", ".in"))):
        return _requirements
    return _READERS.get(name)


# --------------------------------------------------------------------------- Python


def _toml(data: bytes) -> dict[str, Any]:
    import tomllib  # every dispatch comes by here, few have such a file

    return tomllib.loads(data.decode())


def _pyproject(data: bytes) -> Named:
    document = _toml(data)
    return frozenset((*_standard(document), *_tools(document.get("tool", {}))))


def _standard(document: Mapping[str, Any]) -> Iterator[str]:
    project = document.get("project", {})
    yield from _specifiers(project.get("dependencies", ()))
    for group in project.get("optional-dependencies", {}).values():
        yield from _specifiers(group)
    for group in document.get("dependency-groups", {}).values():
        yield from _specifiers(group)
    yield from _specifiers(document.get("build-system", {}).get("requires", ()))
    for place in document.get("build-system", {}).get("backend-path", ()):
        yield f"build backend from {place}"


def _tools(tool: Mapping[str, Any]) -> Iterator[str]:
    poetry, uv, pdm = (tool.get(name, {}) for name in ("poetry", "uv", "pdm"))
    for table in (poetry, *poetry.get("group", {}).values()):
        for key in ("dependencies", "dev-dependencies"):
            yield from _table(table.get(key, {}), skip=("python",))
    yield from _specifiers(uv.get("dev-dependencies", ()))
    yield from _table(uv.get("sources", {}))
    for group in pdm.get("dev-dependencies", {}).values():
        yield from _specifiers(group)
    for index in (*poetry.get("source", ()), *uv.get("index", ()), *pdm.get("source", ())):
        yield f"index {index.get('name', '')} from {index.get('url', '')}"


def _specifiers(items: Any) -> Iterator[str]:
    """PEP 508 lines; tables (``include-group`` of PEP 735) name nothing new."""
    for item in items:
        if isinstance(item, str):
            yield _specifier(item)


def _specifier(text: str) -> str:
    """``Requests[socks] >=2; …`` as ``requests``; a direct reference with its place."""
    bare = text.split(" #")[0].strip()
    found = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*", bare)
    if found is None or "://" in bare.partition("@")[0]:
        return f"something from {bare}"
    # PEP 503: runs of -, _ and . are one -
    name = re.sub(r"[-_.]+", "-", found.group()).lower()
    rest = re.sub(r"^\s*\[[^\]]*\]", "", bare[found.end() :]).strip()
    place = rest[1:].partition(" ;")[0].strip() if rest.startswith("@") else ""
    if not place and rest[:1] in ("/", "\\", ":"):
        return f"something from {bare}"
    return f"{name} from {place}" if place else name


def _requirements(data: bytes) -> Named:
    lines = data.decode("utf-8-sig").replace("\\\n", " ").splitlines()
    bare = (line.partition(" #")[0].strip() for line in lines)
    return frozenset(_requirement(line) for line in bare if line and not line.startswith("#"))


def _requirement(line: str) -> str:
    """A line of a requirements file; options (other files, indexes, editable places) count as written."""
    if line.startswith("-"):
        return " ".join(line.split())
    if line.startswith((".", "/")) or re.match(r"[a-z+]+://", line):
        return f"something from {line}"
    return _specifier(re.split(r"\s--hash", line)[0])


def _pipfile(data: bytes) -> Named:
    document = _toml(data)
    found = {f"index {one.get('name', '')} from {one.get('url', '')}" for one in document.get("source", ())}
    for key, table in document.items():
        if key not in ("source", "requires", "pipenv", "scripts"):
            found |= {*_table(table)}
    return frozenset(found)


# --------------------------------------------------------------------------- others

#: keys of a table that say where a dependency comes from
_PLACES = ("git", "path", "url", "registry", "registry-index", "file", "svn", "hg", "index", "package", "source")


def _table(table: Mapping[str, Any], skip: tuple[str, ...] = ()) -> Iterator[str]:
    """``name = "1.0"`` and ``name = {git = "…"}`` of a TOML table."""
    for name, value in table.items():
        if name in skip:
            continue
        for one in value if isinstance(value, list) else [value]:
            place = " ".join(str(one[key]) for key in _PLACES if key in one) if isinstance(one, dict) else ""
            yield f"{name} from {place}" if place else name


_CARGO = ("dependencies", "dev-dependencies", "build-dependencies", "dev_dependencies", "build_dependencies")


def _cargo(data: bytes) -> Named:
    document = _toml(data)
    tables = [document, document.get("workspace", {}), *document.get("target", {}).values()]
    found = [entry for table in tables for key in _CARGO for entry in _table(table.get(key, {}))]
    for source, patches in document.get("patch", {}).items():
        found += [f"{entry} (patch of {source})" for entry in _table(patches)]
    found += [f"{entry} (replaced)" for entry in _table(document.get("replace", {}))]
    return frozenset(found)


_NPM = ("dependencies", "devDependencies", "peerDependencies", "optionalDependencies")
_VERSION = re.compile(r"[\s\w.*^~<>=|+-]*")


def _npm(data: bytes) -> Named:
    document = json.loads(data)
    found = {_npm_one(name, str(text)) for key in _NPM for name, text in document.get(key, {}).items()}
    for key in ("overrides", "resolutions"):
        found |= {f"{name} from {json.dumps(text)} ({key})" for name, text in document.get(key, {}).items()}
    bundled = document.get("bundledDependencies", document.get("bundleDependencies", ()))
    found |= {f"{name} (bundled)" for name in (bundled if isinstance(bundled, list) else ())}
    # what runs when the package is installed is as good as a dependency
    hooks = ("preinstall", "install", "postinstall", "prepare")
    found |= {f"{hook} script {text}" for hook, text in document.get("scripts", {}).items() if hook in hooks}
    return frozenset(found)


def _npm_one(name: str, text: str) -> str:
    """Versions and tags come from the registry; ``git+…``, ``file:``, ``npm:`` aliases and ``owner/repo`` do not."""
    return name if _VERSION.fullmatch(text) else f"{name} from {text}"


_GO_BLOCK = re.compile(r"^(require|replace|tool)\s*\((.*?)^\s*\)", re.MULTILINE | re.DOTALL)
_GO_LINE = re.compile(r"^(require|replace|tool)\s+([^(\n].*)$", re.MULTILINE)


def _go(data: bytes) -> Named:
    text = re.sub(r"//[^\n]*", "", data.decode())
    lines = [(verb, line) for verb, body in _GO_BLOCK.findall(text) for line in body.splitlines()]
    lines += _GO_LINE.findall(text)
    return frozenset(_go_one(verb, line.split()) for verb, line in lines if line.strip())


def _go_one(verb: str, words: list[str]) -> str:
    if verb == "replace" and "=>" in words:
        return f"{words[0]} from {' '.join(words[words.index('=>') + 1 :])}"
    return f"{words[0]} (tool)" if verb == "tool" else words[0].strip('"')


def _composer(data: bytes) -> Named:
    document = json.loads(data)
    found = {name for key in ("require", "require-dev") for name in document.get(key, {})}
    repositories = document.get("repositories", [])
    places = repositories.values() if isinstance(repositories, dict) else repositories
    return frozenset({*found, *(f"repository {one.get('url', '')}" for one in places if isinstance(one, dict))})


_READERS: Mapping[str, Callable[[bytes], Named]] = {
    "pyproject.toml": _pyproject, "pipfile": _pipfile, "cargo.toml": _cargo, "package.json": _npm, "go.mod": _go,
    "composer.json": _composer,
}  # fmt: skip
