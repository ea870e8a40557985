"""Walls around the commands of a review: those of the repository's sessions, around a copy instead of a worktree."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from agentpkg.checks.base import GOVERNANCE, Finding, named
from agentpkg.core.errors import Lacking
from agentpkg.core.hosts import Target, parse_all
from agentpkg.engine.enclosing import walls
from agentpkg.engine.project import Project
from agentpkg.git.lent import lent
from agentpkg.isolation import Network, Room, Walls, Wrapped

if TYPE_CHECKING:
    from agentpkg.isolation.proxy import Decision


#: decisions that are kept as evidence
_SHOWN = 200


@dataclass(frozen=True, slots=True)
class ReviewWalls:
    """An :class:`agentpkg.checks.base.Enclosure`.

    Attributes:
        mounts: what of the machine may be seen besides.
        closed: folders that are not to be seen as a whole.
        lent: folders of objects that the repository borrows from others.
        setup_network: the way out of ``review.setup``; ``network``: that of the checks, to services of this machine.
        decided: what was decided on ways out that are closed again.
    """

    walls: Walls
    mounts: tuple[str, ...]
    closed: tuple[str, ...]
    lent: tuple[Path, ...] = ()
    setup_network: Network | None = None
    network: Network | None = None
    decided: "list[Decision]" = field(default_factory=list)

    @property
    def level(self) -> str:
        """The level's name."""
        return self.walls.level

    @property
    def moves(self) -> bool:
        """Whether a copy can appear under another path."""
        return self.walls.moves

    def enclose(
        self, argv: tuple[str, ...], env: Mapping[str, str], *, root: Path, seen_as: Path, temporary: Path, home: Path,
        reads: Sequence[Path] = (), writes: Sequence[Path] = (), setting_up: bool = False,
    ) -> Wrapped:  # fmt: skip
        """The command inside."""
        room = Room(
            root=os.path.realpath(root), seen_as=os.path.realpath(seen_as), temporary=os.path.realpath(temporary),
            home=os.path.realpath(home), reads=tuple(map(str, (*reads, *self.lent))),
            writes=tuple(map(os.path.realpath, writes)),
            mounts=self.mounts, closed=self.closed, network=self.setup_network if setting_up else self.network,
        )  # fmt: skip
        return self.walls.wrap_room(argv, env, room)


@contextmanager
def enclosure(project: Project) -> Iterator[ReviewWalls]:
    """The walls of one review; its ways to the network are open for the block.

    Raises:
        Lacking: no level works that the configuration accepts, or no way to the network can be made.
    """
    chosen = walls.of(project)
    settings = project.settings
    closed = (str(project.work_tree), str(project.repository.common_dir))
    targets = parse_all(settings.isolation.network.allow) if chosen.cuts_network else ()
    decided: list[Decision] = []
    with ExitStack() as stack:
        setup = stack.enter_context(way_out(chosen, targets if settings.review.setup else (), decided))
        network = stack.enter_context(way_out(chosen, [target for target in targets if target.local], decided))
        borrowed = lent(project.repository.objects)
        yield ReviewWalls(chosen, walls.mounts(project), closed, borrowed, setup, network, decided)


@contextmanager
def way_out(chosen: Walls, targets: Sequence[Target], decided: "list[Decision]") -> Iterator[Network | None]:
    """For the block, the way to these hosts and no others; None where there are none.

    Args:
        decided: takes what was decided on it, at the end.

    Raises:
        Lacking: it cannot be made.
    """
    if not targets:
        yield None
        return
    from agentpkg.isolation.proxy import Proxy

    proxy: Proxy = Proxy(targets, chosen.network_over == "port")
    try:
        proxy.start()
    except OSError as error:
        raise Lacking(f"no way to the network can be made: {error.strerror}", "make room in /tmp") from error
    try:
        yield Network(str(proxy.folder), proxy.sockets, proxy.port, proxy.ports)
    finally:
        proxy.stop()
        decided += proxy.decisions()


def went(decided: "Sequence[Decision]") -> Finding:
    """Where a review's commands and its agent went, or wanted to go, as a finding."""
    lines = sorted({str(one).removeprefix("network: ") for one in decided})
    smooth = all(one.allowed and not one.problem for one in decided)
    return Finding(GOVERNANCE, "network", "pass" if smooth else "warn", named(lines), {"decided": lines[:_SHOWN]})
