"""Where symbolic links of a tree lead, worked out on names alone, with every link on the way followed."""

from collections.abc import Iterable, Mapping

#: steps after which a link counts as leading out: nothing honest is that entangled
_STEPS = 2000


def escapes(path: str, target: str, links: Mapping[str, Iterable[str]], *, exact: bool = False) -> bool:
    """Whether a link may lead out of the tree, or to a ``.git`` in it.

    Args:
        path: where the link is, relative to the root of the tree.
        target: its content.
        links: every other link the tree may have by path; one path may have several targets (in different commits),
            and all of them are tried, and that it is no link as well.
        exact: ``links`` is one tree's: what it names is a link for certain.
    """
    if target.startswith("/"):
        return True
    waiting = [(tuple(path.split("/")[:-1]), _parts(target))]
    seen: set[tuple[tuple[str, ...], tuple[str, ...]]] = set()
    while waiting:
        state = waiting.pop()
        if state in seen:
            continue
        seen.add(state)
        if len(seen) > _STEPS:
            return True
        following = _step(*state, links, exact)
        if following is None:
            return True
        waiting += following
    return False


_State = tuple[tuple[str, ...], tuple[str, ...]]


def _step(
    at: tuple[str, ...], left: tuple[str, ...], links: Mapping[str, Iterable[str]], exact: bool
) -> list[_State] | None:
    """Goes one part further: the states that may follow, or None when the way leads out."""
    if not left:
        return []
    part, rest = left[0], left[1:]
    if part == "..":
        return [(at[:-1], rest)] if at else None
    if part.rstrip(". ").casefold() == ".git":
        return None
    here = (*at, part)
    targets = tuple(links.get("/".join(here), ()))
    following: list[_State] = [] if exact and targets else [(here, rest)]
    for target in targets:
        if target.startswith("/"):
            return None
        following.append((at, _parts(target) + rest))
    return following


def _parts(target: str) -> tuple[str, ...]:
    return tuple(part for part in target.split("/") if part not in ("", "."))
