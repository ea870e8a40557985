"""Which feature a person means: its number, its slug, or any unique part of it."""

from collections.abc import Iterable, Sequence

from agentpkg.core.errors import BadInput

_MOST_LISTED = 12


def number_of(feature: str) -> str:
    """The leading number of a feature's id as written: ``003`` of ``003-auth-system``, ``""`` without one."""
    head = feature.partition("-")[0]
    return head if head.isdecimal() and head.isascii() else ""


def slug_of(feature: str) -> str:
    """A feature's id without its number: ``auth-system``."""
    number = number_of(feature)
    return feature.removeprefix(number).removeprefix("-") if number else feature


def resolve_name(ids: Iterable[str], name: str) -> str:
    """The id of the one feature that ``name`` means.

    The first of these that fits decides: the id itself; the number as written; the number (``3`` for ``003``); the
    slug; a part of the id; the last two in any case of letters. A path to the feature's folder is taken as its id.

    Args:
        ids: all features there are.
        name: what the person wrote.

    Raises:
        BadInput: ``unknown_feature`` or ``ambiguous_feature``, with the candidates in ``details``.
    """
    known = sorted(set(ids))
    wanted = name.strip().rstrip("/").rpartition("/")[2] or ""
    for matching in _matches(known, wanted):
        if len(matching) == 1:
            return matching[0]
        if matching:
            raise _ambiguous(name, matching)
    raise _unknown(name, known)


def _matches(known: Sequence[str], wanted: str) -> list[list[str]]:
    """The candidates of each rule, strongest rule first."""
    if not wanted:
        return []
    value = int(wanted) if wanted.isdecimal() and wanted.isascii() and len(wanted) < 20 else None
    folded = wanted.casefold()
    return [
        [one for one in known if one == wanted],
        [one for one in known if number_of(one) == wanted],
        [one for one in known if value is not None and number_of(one) and int(number_of(one)) == value],
        [one for one in known if slug_of(one) == wanted],
        [one for one in known if folded in (one.casefold(), slug_of(one).casefold())],
        [one for one in known if folded in one.casefold()],
    ]


def _ambiguous(name: str, candidates: list[str]) -> BadInput:
    return BadInput(
        f"feature {name!r} is ambiguous: {listed(candidates)}",
        "name one of them in full",
        code="ambiguous_feature",
        details={"candidates": candidates},
    )


def _unknown(name: str, known: list[str]) -> BadInput:
    if not known:
        hint = "there are no features yet: make features/001-NAME/ with spec.md, plan.md and tasks/WP01-NAME.md"
    else:
        hint = f"there are {listed(known)}"
    return BadInput(f"there is no feature {name!r}", hint, code="unknown_feature", details={"candidates": known})


def listed(names: Sequence[str]) -> str:
    """Names for a message, the first dozen of them."""
    more = len(names) - _MOST_LISTED
    return ", ".join(names[:_MOST_LISTED]) + (f" and {more} more" if more > 0 else "")
