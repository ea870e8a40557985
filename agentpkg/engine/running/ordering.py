"""Packages that own the same files do not work side by side: who waits for whom now.

The order (:mod:`agentpkg.core.overlap`) holds a package up only while one before it gets on by itself. One that waits
for people, or has failed for good, holds up nobody: should the two conflict after all, that is found before landing.
"""

from collections.abc import Collection, Mapping

from agentpkg.core.graph import in_order
from agentpkg.core.model import State
from agentpkg.core.overlap import Behind
from agentpkg.core.records import PackageRow
from agentpkg.engine.running import landing
from agentpkg.engine.running.scene import Scene


def held(scene: Scene, rows: Mapping[str, PackageRow], startable: Collection[str]) -> dict[str, Behind]:
    """Those of ``startable`` that wait now, each with the package it waits for.

    Args:
        rows: the packages of the run, by id.
        startable: the packages that may start but for this.
    """
    if not scene.shares_files:
        return {}
    moving = _moving(scene, rows, startable)
    working = [wp for wp, row in rows.items() if row.state is State.DOING]
    found: dict[str, Behind] = {}
    for wp in startable:
        before = [one for one in scene.behind(wp) if one.wp in moving]
        # one that starts again may have been overtaken meanwhile
        after = [(other, one) for other in working for one in scene.behind(other) if one.wp == wp]
        before += [Behind(other, one.own, one.pattern, one.path) for other, one in after]
        if before:
            found[wp] = before[0]
    return found


def _moving(scene: Scene, rows: Mapping[str, PackageRow], startable: Collection[str]) -> set[str]:
    """The packages that get on without anybody's help: worked on, judged, or about to be in their turn."""
    found: set[str] = set()
    for wp in in_order({wp: package.dependencies for wp, package in scene.feature.packages.items()}):
        row = rows.get(wp)
        if row is not None and (wp in startable or wp in scene.lane or _gets_on(scene, row, found)):
            found.add(wp)
    return found


def _gets_on(scene: Scene, row: PackageRow, moving: Collection[str]) -> bool:
    if row.state is State.FOR_REVIEW:
        return landing.may_land(scene, row)
    if row.state is State.PLANNED and scene.may_try(row) and not scene.progress.waits_for(row.wp):
        return all(need in moving for need in scene.open_dependencies(row))
    return row.state is State.DOING
