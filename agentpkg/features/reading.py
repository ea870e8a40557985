"""One feature's folder to a :class:`~agentpkg.features.dependencies.Draft`: every file bounded, contained, judged."""

import hashlib
import os
import re
from collections.abc import Container
from dataclasses import dataclass, field, replace
from pathlib import Path

from agentpkg.core.errors import BadInput
from agentpkg.core.model import Feature, Plan, Problem, Spec, State
from agentpkg.features import meta as meta_file
from agentpkg.features.decode import MOST_BYTES, decode
from agentpkg.features.dependencies import Draft
from agentpkg.features.fields import Fields
from agentpkg.features.naming import number_of, slug_of
from agentpkg.features.parse import ALWAYS_FORBIDDEN, Parsed, parse_work_package
from agentpkg.features.paths import has_control_character
from agentpkg.features.stages import read_done_check, read_stages
from agentpkg.features.spec import find_requirements, parse_plan, parse_spec
from agentpkg.files import read_bounded

#: what branch names, folders and the subjects of events can all carry
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,63}")
#: folders of the generation that kept a package's lane in its path
_LANE_FOLDERS = ("planned", "doing", "for_review", "done", "cancelled")
_LANE = re.compile(r"^lane:", re.MULTILINE)
_PACKAGE_FILE = re.compile(r"(WP[0-9]+).*\.md")


def draft_feature(
    feature_id: str,
    path: Path,
    work_tree: Path,
    lenient: bool,
    features_dir: str,
    agents: Container[str] | None,
    registered: frozenset[str],
) -> Draft:
    """Reads a feature's folder; its dependencies are not judged yet.

    Args:
        feature_id: the folder's name.
        path: the folder.
        work_tree: the repository's work tree, which no link may leave.
        lenient: the rules of ``kitty-specs/``.
        features_dir: the configured folder for features.
        agents: the configured agents' names; None: do not look.
        registered: packages that the ledger knows.
    """
    reader = _FolderReader(feature_id, path, work_tree.resolve(), work_tree, lenient, features_dir, agents)
    return reader.read(registered)


@dataclass
class _FolderReader:
    """Reads the files of one folder and collects what is wrong."""

    feature_id: str
    path: Path
    root: Path
    work_tree: Path
    lenient: bool
    features_dir: str
    agents: Container[str] | None
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)

    def read(self, registered: frozenset[str]) -> Draft:
        here = self._name(self.path)
        if not _NAME.fullmatch(self.feature_id):
            message = "a feature's folder should be named with at most 64 letters, digits, - and _"
            self.problems.append(Problem(here, 0, self.feature_id, message))
        fields, values = self._meta()
        spec = self._spec()
        plan = self._plan()
        files = self._packages()
        self._warn_of_unknown_refs(spec, files)
        self._warn_of_emptiness(here, files)
        packages = {file.package.id: file.package for file in files if file.package}
        ids = {file.id for file in files if file.id} | registered
        feature = Feature(
            id=self.feature_id,
            title=self._title(fields, spec),
            path=here,
            number=number_of(self.feature_id),
            lenient=self.lenient,
            target_branch=meta_file.target_branch(fields),
            budget={} if self.lenient else meta_file.budget(fields),
            meta=values,
            spec=spec,
            plan=plan,
            # other tools keep keys of the same names in their own folders
            stages=() if self.lenient else read_stages(fields, packages, ids),
            done_check=() if self.lenient else read_done_check(fields),
            packages=packages,
            unread=_unread(files),
        )
        problems = [*self.problems, *fields.problems, *(p for file in files for p in file.problems)]
        warnings = [*self.warnings, *(w for file in files for w in file.warnings)]
        return Draft(replace(feature, problems=tuple(problems), warnings=tuple(warnings)), files, registered)

    # ----------------------------------------------------------------- files

    def _name(self, path: Path) -> str:
        # a name that is not UTF-8 is shown as \xNN
        name = os.fsencode(path.relative_to(self.work_tree))
        return name.decode("utf-8", "backslashreplace")

    def _bytes(self, path: Path) -> bytes | None:
        """A file's content; None, and a problem, when it cannot be had."""
        name = self._name(path)
        try:
            real = Path(os.path.realpath(path, strict=True))
            if not real.is_relative_to(self.root):
                self.problems.append(
                    Problem(name, 1, os.fspath(real), "a link out of the repository; put the file here")
                )
                return None
            return read_bounded(real, MOST_BYTES)
        except BadInput as error:
            too_large = error.code == "file_too_large"
            message = "over 1 MiB (1048576 bytes); make it smaller" if too_large else "not a regular file; put one here"
            self.problems.append(Problem(name, 1, "", message))
        except OSError as error:
            self.problems.append(Problem(name, 1, "", f"cannot be read: {error.strerror}"))
        return None

    def _text(self, path: Path) -> tuple[str, str]:
        """A file's text and SHA-256; ``("", "")`` when it cannot be read."""
        data = self._bytes(path)
        if data is None:
            return "", ""
        text, problems = decode(data, self._name(path))
        self.problems += problems
        return text, hashlib.sha256(data).hexdigest()

    # ----------------------------------------------------------------- the feature's own files

    def _meta(self) -> tuple[Fields, dict[str, object]]:
        found = [path for name in ("meta.yaml", "meta.json") if os.path.lexists(path := self.path / name)]
        if not found:
            return Fields({}, ""), {}
        if len(found) > 1:
            self.warnings.append(Problem(self._name(found[1]), 0, "", "ignored: there is a meta.yaml"))
        fields, values = meta_file.read_meta(self._text(found[0])[0], self._name(found[0]), self.lenient)
        return fields, dict(values)

    def _spec(self) -> Spec:
        path = self.path / "spec.md"
        if not os.path.lexists(path):
            self.warnings.append(Problem(self._name(path), 0, "", "missing: prompts will have no specification"))
            return Spec()
        text, digest = self._text(path)
        return parse_spec(text, digest)

    def _plan(self) -> Plan:
        path = self.path / "plan.md"
        return parse_plan(self._text(path)[0]) if os.path.lexists(path) else Plan()

    def _title(self, fields: Fields, spec: Spec) -> str:
        title = meta_file.title(fields) or spec.title or slug_of(self.feature_id).replace("-", " ").replace("_", " ")
        return " ".join("".join(" " if has_control_character(c) else c for c in title).split()) or self.feature_id

    # ----------------------------------------------------------------- work packages

    def _packages(self) -> tuple[Parsed, ...]:
        files = [self._package(path, lane) for path, lane in self._package_files()]
        first: dict[str, Parsed] = {}
        out: list[Parsed] = []
        for file in files:
            twin = first.setdefault(file.id, file) if file.id else file
            out.append(file if twin is file else _doubled(file, twin))
        return tuple(out)

    def _package_files(self) -> list[tuple[Path, State | None]]:
        """The files of work packages, in the order of their names, with the lane that an older layout gives them."""
        tasks = self.path / "tasks"
        found: list[tuple[Path, State | None]] = [(path, None) for path in self._listed(tasks)]
        if self.lenient:
            for lane in _LANE_FOLDERS:
                if (tasks / lane).is_dir():
                    state = State(lane) if lane in (State.DONE, State.CANCELLED) else State.PLANNED
                    found += [(path, state) for path in self._listed(tasks / lane)]
        return sorted(found, key=lambda each: (each[0].name, each[0]))

    def _listed(self, folder: Path) -> list[Path]:
        try:
            names = sorted(os.listdir(folder))
        except FileNotFoundError:
            return []
        except OSError as error:
            self.problems.append(Problem(self._name(folder), 0, "", f"cannot be read as a folder: {error.strerror}"))
            return []
        for name in names:
            if name.casefold().startswith("wp") and name.endswith(".md") and not _PACKAGE_FILE.fullmatch(name):
                message = "ignored: the file of a work package is named WP and two digits, for example WP01-login.md"
                self.warnings.append(Problem(self._name(folder / name), 0, "", message))
        return [folder / name for name in names if _PACKAGE_FILE.fullmatch(name)]

    def _package(self, path: Path, lane: State | None) -> Parsed:
        name = self._name(path)
        before = len(self.problems)
        data = self._bytes(path)
        if data is None:
            in_name = _PACKAGE_FILE.fullmatch(path.name)
            parsed = Parsed(name, in_name[1] if in_name else "", 0, problems=tuple(self.problems[before:]))
            del self.problems[before:]
            return parsed
        forbidden = dict.fromkeys((*ALWAYS_FORBIDDEN, self.features_dir))
        parsed = parse_work_package(data, name, self.feature_id, self.lenient, self.agents, forbidden)
        if lane and parsed.package and not _LANE.search(data.decode().partition("\n---")[0]):
            return replace(parsed, package=replace(parsed.package, lane=lane))
        return parsed

    # ----------------------------------------------------------------- warnings

    def _warn_of_unknown_refs(self, spec: Spec, files: tuple[Parsed, ...]) -> None:
        if not spec.digest:
            return
        for file in files:
            lines = dict(file.requirement_refs)
            for ref in find_requirements(spec, list(lines))[1]:
                self.warnings.append(Problem(file.file, lines[ref], ref, "no such requirement in spec.md"))

    def _warn_of_emptiness(self, here: str, files: tuple[Parsed, ...]) -> None:
        if not files:
            self.warnings.append(Problem(f"{here}/tasks", 0, "", "no work packages yet; make tasks/WP01-NAME.md"))


def _unread(files: tuple[Parsed, ...]) -> tuple[str, ...]:
    read = {file.package.id for file in files if file.package}
    return tuple(file.id if file.id and file.id not in read else file.file for file in files if not file.package)


def _doubled(file: Parsed, twin: Parsed) -> Parsed:
    place = f"{twin.file}:{twin.line}" if twin.line else twin.file
    problem = Problem(file.file, file.line, file.id, f"a duplicate id, first in {place}; give one of them another")
    return replace(file, package=None, problems=(*file.problems, problem))
