"""``stages`` and ``done_check`` of a feature's meta: read with their places, all problems told at once.

.. code-block:: yaml

    stages:
      - {name: stage-1, packages: [WP01, WP02], done_check: ["sh harness/stage-1-done.sh"]}
      - {name: stage-2, packages: [WP03], needs: [stage-1], entry_check: ["test -x server"]}
    done_check: ["sh harness/all-done.sh"]
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from agentpkg.core.graph import cycles
from agentpkg.core.model import Stage, WorkPackage
from agentpkg.features.fields import Fields
from agentpkg.features.frontmatter import Located
from agentpkg.features.naming import listed

#: a part of the name of a tag
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]|\.(?=[A-Za-z0-9_-])){0,63}")
_KEYS = ("name", "packages", "needs", "done_check", "entry_check")
#: bounds a single command
_LONGEST = 10_000


def read_done_check(fields: Fields) -> tuple[str, ...]:
    """The commands of the feature's own done check."""
    return _commands(fields, "done_check")


def read_stages(fields: Fields, packages: Mapping[str, WorkPackage], ids: Collection[str]) -> tuple[Stage, ...]:
    """The stages of a feature; what is wrong with them is among the problems of ``fields``.

    Args:
        packages: the feature's packages that could be read.
        ids: every package there is, whether it could be read or not.
    """
    given = fields.get("stages")
    if given is None:
        return ()
    if not isinstance(given.value, list):
        fields.wrong(given, "`stages` should be a list: [{name: stage-1, packages: [WP01]}]")
        return ()
    read = [(item, stage) for item in given.value if (stage := _stage(fields, item, ids)) is not None]
    _tell_doubles(fields, read)
    _tell_unknown_needs(fields, read)
    _tell_cycles(fields, read, packages)
    return tuple(stage for _, stage in read)


_Read = Sequence[tuple[Located, Stage]]


def _stage(fields: Fields, item: Located, ids: Collection[str]) -> Stage | None:
    if not isinstance(item.value, dict):
        fields.wrong(item, "a stage should be a mapping: {name: stage-1, packages: [WP01]}")
        return None
    part = Fields(item.value, fields.file, fields.lenient, fields.problems, fields.warnings)
    for key, value in item.value.items():
        if key not in _KEYS:
            part.wrong(value, f"a stage has no `{key}`; it has {', '.join(_KEYS)}")
    name = part.text("name")
    if name is None or not _NAME.fullmatch(name):
        part.wrong(item.value.get("name", item), "a stage's `name` should be letters, digits, `-`, `_`: stage-1")
        return None
    return Stage(
        name=name, packages=_packages(part, ids), needs=_names(part, "needs"),
        done_check=_commands(part, "done_check"), entry_check=_commands(part, "entry_check"),
    )  # fmt: skip


def _packages(part: Fields, ids: Collection[str]) -> tuple[str, ...]:
    found = part.texts("packages") or []
    for one in found:
        if one.value not in ids:
            part.wrong(one, f"no such work package; there are {listed(sorted(ids)) or 'none'}")
    return tuple(dict.fromkeys(str(one.value) for one in found))


def _names(part: Fields, key: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(str(one.value) for one in part.texts(key) or []))


def _commands(part: Fields, key: str) -> tuple[str, ...]:
    found = part.texts(key) or []
    for one in found:
        if "\0" in str(one.value) or len(str(one.value)) > _LONGEST:
            part.wrong(one, f"each item of `{key}` should be a command line")
    return tuple(str(one.value) for one in found)


def _tell_doubles(fields: Fields, read: _Read) -> None:
    names: dict[str, Located] = {}
    homes: dict[str, str] = {}
    for item, stage in read:
        if names.setdefault(stage.name, item) is not item:
            fields.wrong(item.value["name"], f"another stage is called {stage.name}")
        for wp in stage.packages:
            if homes.setdefault(wp, stage.name) != stage.name:
                fields.wrong(item.value["packages"], f"{wp} is in {homes[wp]} already; a package has one stage")


def _tell_unknown_needs(fields: Fields, read: _Read) -> None:
    names = [stage.name for _, stage in read]
    for item, stage in read:
        for one in _items(item, "needs"):
            if one.value not in names:
                fields.wrong(one, f"no such stage; there are {listed(names)}")
            elif one.value == stage.name:
                fields.wrong(one, "a stage cannot need itself")


def _items(item: Located, key: str) -> Iterator[Located]:
    value = item.value.get(key)
    if value is not None and isinstance(value.value, list):
        yield from (one for one in value.value if isinstance(one.value, str))


def _tell_cycles(fields: Fields, read: _Read, packages: Mapping[str, WorkPackage]) -> None:
    """Stages that wait for each other, be it through the dependencies of their packages."""
    waits: dict[str, list[str]] = {wp: [d for d in p.dependencies if d in packages] for wp, p in packages.items()}
    for _, stage in read:
        needs = [f"stage {need}" for need in stage.needs if need != stage.name]
        waits[f"stage {stage.name}"] = [*stage.packages, *needs]
        for wp in stage.packages:
            waits.setdefault(wp, []).extend(needs)
    places = {f"stage {stage.name}": item for item, stage in read}
    for ring in cycles(waits):
        at = next((places[node] for node in ring if node in places), None)
        if at is not None:
            fields.wrong(at.value["name"], f"a cycle: {' -> '.join(ring)}; take one of these needs out")
