"""Why a candidate may land: the one thing that landing takes.

A :class:`Proof` comes out of :func:`prove` alone, which holds a recorded approval against what is true at this moment;
a :class:`Word` is a person's, given by :func:`give_word`, and is shown for ever. Neither can be made anywhere else:
their constructor wants a seal that only this module has. Each names one candidate, its tree and the commit it stands
on, and whoever moves a target takes all three from it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agentpkg.core.errors import NotAllowed
from agentpkg.core.model import Verdict
from agentpkg.core.records import ReviewRow

_SEAL = object()


@dataclass(frozen=True, slots=True)
class Landable:
    """A candidate as git has it: the commit, its tree, the target's tip it was made on, the branch tip it lands."""

    commit: str
    tree: str
    base: str
    head: str


@dataclass(frozen=True, slots=True)
class Live:
    """What is true of a package at this moment.

    Attributes:
        head: the tip of its branch.
        base: the tip of its target.
        definitions: key of what it is to be judged by, and by whom.
        candidate: the reviewed candidate, None when git does not have it (any more).
    """

    head: str
    base: str
    definitions: str
    candidate: Landable | None


@dataclass(frozen=True, slots=True)
class Stale:
    """A recorded verdict says nothing of what would land now; ``parts`` have changed since."""

    parts: tuple[str, ...]


class _Sealed:
    """What only this module makes."""

    __slots__ = ("candidate", "feature", "wp")

    def __init__(self, seal: object, feature: str, wp: str, candidate: Landable) -> None:
        if seal is not _SEAL:
            raise TypeError("made by prove and give_word alone")
        self.feature = feature
        self.wp = wp
        self.candidate = candidate


class Proof(_Sealed):
    """A review approved this very candidate, and nothing that the verdict rests on has changed since."""

    __slots__ = ("review",)

    def __init__(self, seal: object, review: ReviewRow, candidate: Landable) -> None:
        super().__init__(seal, review.feature, review.wp, candidate)
        self.review = review


class Word(_Sealed):
    """A person's word in place of an approval."""

    __slots__ = ("by", "reason")

    def __init__(self, seal: object, feature: str, wp: str, candidate: Landable, by: str, reason: str) -> None:
        super().__init__(seal, feature, wp, candidate)
        self.by = by
        self.reason = reason


class Followed(_Sealed):
    """A remote has it on the target already, as other people landed it there: the local target only follows."""

    __slots__ = ()


#: what landing takes
Warrant = Proof | Word


def prove(review: ReviewRow, live: Live) -> Proof | Stale:
    """The proof that a recorded review's candidate may land now, or what has changed since.

    Raises:
        NotAllowed: the review did not approve it.
    """
    if review.verdict is not Verdict.APPROVED or review.candidate is None:
        raise NotAllowed(f"{review.wp} has no approval", "run `agentpkg review` first", code="no_approval")
    parts = tuple(stale(review, live))
    if parts or live.candidate is None:
        return Stale(parts)
    return Proof(_SEAL, review, live.candidate)


def stale(review: ReviewRow, live: Live) -> Iterator[str]:
    """What a recorded verdict rests on and is otherwise now: ``branch``, ``target``, ``definitions``, ``candidate``."""
    pairs: dict[str, tuple[Any, Any]] = {
        "branch": (review.head, live.head),
        "target": (review.base, live.base),
        "definitions": (review.definitions, live.definitions),
    }
    yield from (part for part, (then, now) in pairs.items() if then != now)
    if review.candidate is not None and not _is_it(review, live.candidate):
        yield "candidate"


def _is_it(review: ReviewRow, found: Landable | None) -> bool:
    return found is not None and (found.commit, found.base, found.head) == (review.candidate, review.base, review.head)


def follow(candidate: Landable, tip: str) -> Followed:
    """The warrant to bring a local target to ``tip``, which is where the remote's target is."""
    if candidate.commit != tip:
        raise NotAllowed("a target follows its remote to its tip alone", "fetch again", code="not_the_tip")
    return Followed(_SEAL, "", "", candidate)


def give_word(feature: str, wp: str, candidate: Landable, by: str, reason: str) -> Word:
    """A person's word for a candidate.

    Raises:
        NotAllowed: it is an agent, or gives no reason.
    """
    if by.startswith("agent:") or not reason.strip():
        raise NotAllowed(f"only a person lands {wp} by force, with a reason", "--force needs --reason", code="no_word")
    return Word(_SEAL, feature, wp, candidate, by, reason)
