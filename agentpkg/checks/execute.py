"""One command line in a copy: behind the review's walls, within a time, its output bounded."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from agentpkg import proc
from agentpkg.checks.base import ReviewContext
from agentpkg.checks.copy import Copy
from agentpkg.core.errors import Lacking

#: bytes of output that are kept: the first and the last of it
OUTPUT = 1 << 20


def execute(
    context: ReviewContext, place: Copy, command: str, env: Mapping[str, str], *, timeout: float,
    cancelled: Callable[[], bool], reads: Sequence[Path] = (), writes: Sequence[Path] = (), setting_up: bool = False,
) -> proc.Result:  # fmt: skip
    """Runs a command line through ``/bin/sh -c``; standard error goes where standard output goes.

    Args:
        reads: what it may read besides, and ``writes`` write.
        setting_up: it is one of ``review.setup``, which may have a network.

    Raises:
        Lacking: when the walls could not be put up.
    """
    argv: tuple[str, ...] = ("/bin/sh", "-c", command)
    if context.walls is None:
        return _run(argv, env, place, timeout, cancelled, ())
    objects = (context.control.git_dir / "objects", context.control.git_dir.parent.parent / "objects")
    inside = context.walls.enclose(
        argv, env, root=place.root, seen_as=place.seen_as, temporary=place.temporary, home=place.home,
        reads=(*objects, *reads), writes=writes, setting_up=setting_up,
    )  # fmt: skip
    try:
        result = _run(inside.argv, inside.env, place, timeout, cancelled, inside.keep)
        said = result.stdout.decode("utf-8", "replace")
        if not (result.cancelled or result.timed_out) and (why := inside.failed_to_start(result.exit_code, said)):
            fix = "`agentpkg doctor` tells more; isolation.level can ask for less"
            raise Lacking(why, fix, code="isolation_unavailable")
        return result
    finally:
        inside.close()


def _run(
    argv: Sequence[str], env: Mapping[str, str], place: Copy, timeout: float, cancelled: Callable[[], bool],
    keep: Sequence[int],
) -> proc.Result:  # fmt: skip
    return proc.run(
        argv, env=env, cwd=place.root, timeout=timeout, limit=OUTPUT, merge=True, cancelled=cancelled, keep=keep,
        chase=True,
    )  # fmt: skip


def shown_output(result: proc.Result, place: Copy) -> str:
    """What a command said, as text, with paths relative to the copy: where a copy lay is of no use to anybody."""
    text = result.stdout.decode("utf-8", "backslashreplace")
    for root in dict.fromkeys((place.seen_as, place.root)):
        text = text.replace(f"{root}/", "").replace(str(root), ".").replace(f"{root.parent}/", "")
    return text
