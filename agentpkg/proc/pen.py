"""A pen: a control group of the kernel's that bounds and names the processes of one session, where one can be made.

A fork storm doubles faster than anybody can look, and the superuser is bound by no ``RLIMIT_NPROC``. The ``pids``
controller (cgroups(7), version 1 or 2) is: forks beyond its bound fail. Whoever may not make groups, as most ordinary
users and containers may not, has no pen, and everything works without one.

The caller goes into the pen for the moment of a start, so that the child is born there and never lived elsewhere.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_NAME = "agentpkg-{}"

#: seconds after which an empty pen is taken for a forgotten one
_OLD = 60.0


@dataclass(frozen=True, slots=True)
class Pen:
    """One group.

    Attributes:
        folder: its folder in the kernel's file system.
        home: the folder of the group that the caller belongs to.
        most: how many processes and threads may be in it.
    """

    folder: Path
    home: Path
    most: int

    @contextmanager
    def around(self) -> Iterator[None]:
        """For the block, what the caller starts is born in the pen."""
        with suppress(OSError):
            self.make()
            _join(self.folder)
        try:
            yield
        finally:
            with suppress(OSError):
                _join(self.home)

    def make(self) -> None:
        """Makes it, unless it is there. Raises :class:`OSError` where that cannot be."""
        self.folder.mkdir(exist_ok=True)
        (self.folder / "pids.max").write_text(f"{self.most}\n")

    def close(self) -> None:
        """Removes it; one that still holds somebody stays, until :func:`make_pen` finds it empty."""
        with suppress(OSError):
            self.folder.rmdir()


def make_pen(name: str, most: int) -> Pen | None:
    """Makes a pen; None where this process cannot.

    Args:
        name: unique on the machine.
        most: how many processes and threads may be in it.
    """
    for home, parent in _places():
        pen = Pen(parent / _NAME.format(name), home, most)
        try:
            pen.make()
        except OSError:
            pen.close()
            continue
        _sweep(parent)
        return pen
    return None


def _sweep(parent: Path) -> None:
    """Removes pens that have become empty since somebody wanted to remove them; one in use is made again."""
    for left in parent.glob(_NAME.format("*")):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _OLD:
                left.rmdir()


def penned(name: str) -> list[int]:
    """Pids of what is in the pen of this name, whoever made it; a pen that is empty is removed."""
    for _, parent in _places():
        folder = parent / _NAME.format(name)
        try:
            found = [int(line) for line in (folder / "cgroup.procs").read_text().split()]
        except OSError:
            continue
        if not found:
            Pen(folder, parent, 0).close()
        return found
    return []


def _join(folder: Path) -> None:
    (folder / "cgroup.procs").write_text(f"{os.getpid()}\n")


def _places() -> Iterator[tuple[Path, Path]]:
    """Where a pen can be: the caller's own group, and the group to make it in; the kernel's words in cgroups(7)."""
    try:
        own = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
        mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    except OSError:
        return
    for _, controllers, path in own:
        for mount in mounts:
            kind, options, top = mount[mount.index("-") + 1], mount[-1].split(","), Path(mount[4])
            home = top / path.lstrip("/")
            if kind == "cgroup" and "pids" in controllers.split(",") and "pids" in options:
                yield home, home
            elif kind == "cgroup2" and not controllers:
                # a group that has members can have no groups with controllers below it, but for the first
                yield home, home
                yield home, top
