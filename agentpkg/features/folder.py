"""Feature folders: where they are, and reading one or all of them with everything that is wrong.

Reading never raises for what stands in a file, and one bad feature never hides another.
"""

import os
import re
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from agentpkg.core.errors import BadInput
from agentpkg.core.model import Feature, Problem
from agentpkg.features.dependencies import Draft, dependency_problems, reachable
from agentpkg.features.naming import listed, number_of, resolve_name
from agentpkg.features.reading import draft_feature

#: the folder of repositories that follow the older convention
OLDER = "kitty-specs"

_CONTENT = ("spec.md", "plan.md", "tasks", "meta.yaml", "meta.json")
#: so many warnings of one message stand one by one
_MOST_ALIKE = 3


@dataclass(frozen=True, slots=True)
class FeatureRef:
    """A feature's folder.

    Attributes:
        id: the folder's name.
        number: its leading number as written, or ``""``.
        path: absolute.
        lenient: whether it stands in ``kitty-specs/``.
        features_dir: the folder for features that the repository is configured with.
    """

    id: str
    number: str
    path: Path
    lenient: bool
    features_dir: str = "features"


def find_features(work_tree: Path, features_dir: str = "features") -> list[FeatureRef]:
    """The folders of features, sorted by id.

    A folder counts when it has a ``spec.md``, ``plan.md``, ``tasks`` or ``meta``: a ``features/`` folder may hold other
    things too, such as the steps of behaviour tests.

    Args:
        work_tree: the repository's main work tree.
        features_dir: the configured folder; ``kitty-specs`` is looked into as well.
    """
    configured = os.path.normpath(features_dir)
    refs = [
        FeatureRef(entry.name, number_of(entry.name), Path(entry.path), root == OLDER, configured)
        for root in dict.fromkeys((configured, OLDER))
        for entry in _folders(work_tree / root)
    ]
    return sorted(refs, key=lambda ref: (ref.id, ref.lenient))


def _folders(root: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(root) as entries:
            found = [entry for entry in entries if not entry.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise BadInput(f"{root} cannot be read: {error.strerror}", "open the folder for reading") from error
    for entry in found:
        if entry.is_dir() and any(os.path.lexists(os.path.join(entry.path, name)) for name in _CONTENT):
            yield entry


def resolve(refs: Sequence[FeatureRef], name: str, extra_ids: Iterable[str] = ()) -> str:
    """The id of the feature that a person named: see :func:`agentpkg.features.naming.resolve_name`.

    Args:
        refs: the folders there are.
        name: a number, a slug, or a unique part.
        extra_ids: features that the ledger knows, whose folders may have vanished.

    Raises:
        BadInput: when nothing or more than one feature fits, with the candidates.
    """
    return resolve_name([*(ref.id for ref in refs), *extra_ids], name)


def load_feature(
    ref: FeatureRef,
    work_tree: Path,
    agents: Container[str] | None = None,
    registered: Mapping[str, Collection[str]] | None = None,
) -> Feature:
    """Reads one feature, and of the features it depends on what its dependencies need.

    Args:
        ref: the folder.
        work_tree: the repository's main work tree.
        agents: the configured agents' names; None: do not look at ``agent``.
        registered: packages that the ledger knows, by feature. A file that has vanished is no missing dependency.
    """
    refs = find_features(work_tree, ref.features_dir)
    return _Reading(refs, work_tree, agents, registered or {}).feature(ref)


def load_all(
    work_tree: Path,
    features_dir: str = "features",
    agents: Container[str] | None = None,
    registered: Mapping[str, Collection[str]] | None = None,
) -> list[Feature]:
    """Reads every feature, sorted by id; the arguments are those of :func:`load_feature`."""
    refs = find_features(work_tree, features_dir)
    reading = _Reading(refs, work_tree, agents, registered or {})
    return [reading.feature(ref) for ref in refs]


class _Reading:
    """One look at all features: each folder is read at most once, and only if something needs it."""

    def __init__(
        self,
        refs: Sequence[FeatureRef],
        work_tree: Path,
        agents: Container[str] | None,
        registered: Mapping[str, Collection[str]],
    ) -> None:
        self.refs = refs
        self.work_tree = work_tree
        self.agents = agents
        self.registered = registered
        self.ids = sorted({*(ref.id for ref in refs), *registered})
        self.drafts: dict[Path, Draft] = {}

    def feature(self, ref: FeatureRef) -> Feature:
        draft = self._draft(ref)
        known = reachable(draft, self._lookup)
        problems = [
            *draft.feature.problems,
            *self._twins(ref),
            *dependency_problems(draft, known, self.ids),
        ]
        return replace(
            draft.feature,
            problems=tuple(sorted(dict.fromkeys(problems), key=lambda problem: (problem.file, problem.line))),
            warnings=tuple(condensed(draft.feature.warnings)),
        )

    def _lookup(self, feature: str) -> Draft | None:
        for ref in self.refs:
            if ref.id == feature:
                return self._draft(ref)
        if feature in self.registered:
            return Draft(Feature(feature, feature, ""), registered=frozenset(self.registered[feature]))
        return None

    def _draft(self, ref: FeatureRef) -> Draft:
        if ref.path not in self.drafts:
            registered = frozenset(self.registered.get(ref.id, ()))
            self.drafts[ref.path] = draft_feature(
                ref.id, ref.path, self.work_tree, ref.lenient, ref.features_dir, self.agents, registered
            )
        return self.drafts[ref.path]

    def _twins(self, ref: FeatureRef) -> list[Problem]:
        """Two folders of one name: their branches and worktrees would be the same."""
        here = ref.path.relative_to(self.work_tree).as_posix()
        return [
            Problem(here, 0, ref.id, f"the same name as {other.path.relative_to(self.work_tree)}; rename one of them")
            for other in self.refs
            if other.id.casefold() == ref.id.casefold() and other.path != ref.path
        ]


def condensed(warnings: Sequence[Problem]) -> list[Problem]:
    """Warnings a person will read: the same message once per file, and once for all where many files have it."""
    per_file = [_merged(group) for group in _grouped(warnings, lambda warning: (warning.file, warning.message))]
    return [
        warning
        for group in _grouped(per_file, lambda warning: ("", warning.message))
        for warning in ([_merged(group)] if len(group) > _MOST_ALIKE else group)
    ]


def _grouped(warnings: Sequence[Problem], key: Callable[[Problem], tuple[str, str]]) -> list[list[Problem]]:
    groups: dict[tuple[str, str], list[Problem]] = {}
    for warning in warnings:
        groups.setdefault(key(warning), []).append(warning)
    return list(groups.values())


def _merged(group: Sequence[Problem]) -> Problem:
    """One warning for several of one message: the first one's place, the first values, the other files' ids."""
    values = list(dict.fromkeys(warning.value for warning in group))
    more = len(values) - _MOST_ALIKE
    value = ", ".join(values[:_MOST_ALIKE]) + (f" and {more} more" if more > 0 else "")
    files = dict.fromkeys(warning.file for warning in group if warning.file != group[0].file)
    also = listed([re.split(r"[-_.]", os.path.basename(file))[0] for file in files])
    return replace(group[0], value=value, message=group[0].message + (f" (also in {also})" if also else ""))


def require_good(feature: Feature) -> None:
    """Raises :class:`BadInput` with all of a feature's problems when it has any."""
    if not feature.problems:
        return
    first, count = feature.problems[0], len(feature.problems)
    rest = f" (and {count - 1} more)" if count > 1 else ""
    raise BadInput(
        f"{feature.id} has {count} problem{'s' if count > 1 else ''}: {first}{rest}",
        "mend what is named, then try again",
        code="bad_feature",
        details={"problems": [problem.as_json() for problem in feature.problems]},
    )
