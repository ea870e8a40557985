"""Why a candidate may land: the one thing that landing takes.

A :class:`Proof` comes out of :func:`prove` alone, which holds a recorded approval against what is true at this moment;
:class:`Together` out of :func:`prove_together`, for packages that were judged at the tip of a stack of them all, and is
about that tip; a :class:`Word` is a person's, given by :func:`give_word`, and is shown for ever. None can be made
anywhere else: their constructor wants a seal that only this module has. Each names one candidate, its tree and the
commit it stands on, and whoever moves a target takes all three from it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agentpkg.core.errors import NotAllowed
from agentpkg.core.model import Verdict
from agentpkg.core.records import Batch, ReviewRow

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
            raise TypeError("made by prove, prove_together and give_word alone")
        self.feature = feature
        self.wp = wp
        self.candidate = candidate

    @property
    def heads(self) -> tuple[str, ...]:
        """The branch tips that land with it."""
        return (self.candidate.head,)


class Proof(_Sealed):
    """A review approved this very candidate, and nothing that the verdict rests on has changed since."""

    __slots__ = ("review",)

    def __init__(self, seal: object, review: ReviewRow, candidate: Landable) -> None:
        super().__init__(seal, review.feature, review.wp, candidate)
        self.review = review


class Part(_Sealed):
    """One package of a batch: it is recorded by itself, and lands with the others, never alone."""

    __slots__ = ("review",)

    def __init__(self, seal: object, review: ReviewRow, candidate: Landable) -> None:
        super().__init__(seal, review.feature, review.wp, candidate)
        self.review = review


class Together(_Sealed):
    """A batch: reviews approved each of its candidates, and the commands ran on the last, which has them all."""

    __slots__ = ("parts",)

    def __init__(self, seal: object, parts: Sequence[Part]) -> None:
        first, last = parts[0].candidate, parts[-1].candidate
        super().__init__(seal, parts[-1].feature, parts[-1].wp, replace(last, base=first.base))
        self.parts = tuple(parts)

    @property
    def heads(self) -> tuple[str, ...]:
        """The branch tips that land with it."""
        return tuple(part.candidate.head for part in self.parts)


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
Warrant = Proof | Together | Word
#: what the record of one package's landing takes
OfOne = Proof | Part | Word


def prove(review: ReviewRow, live: Live) -> Proof | Stale:
    """The proof that a recorded review's candidate may land now, or what has changed since.

    What was judged in a batch is not proven alone: nothing ran its own candidate.

    Raises:
        NotAllowed: the review did not approve it.
    """
    _require_approved(review)
    parts = (*stale(review, live), *(["batch"] if review.batch else []))
    if parts or live.candidate is None:
        return Stale(parts)
    return Proof(_SEAL, review, live.candidate)


def prove_together(reviews: Sequence[ReviewRow], lives: Sequence[Live]) -> Together | Stale:
    """The proof that packages which were judged together may land together now, or what has changed since.

    Args:
        reviews: in the order of the batch, all of it.
        lives: what is true of each; the first one's base is the target's tip, and each other stands on the candidate
            before it.

    Raises:
        NotAllowed: a review did not approve its candidate.
    """
    found: list[Part] = []
    changed: list[str] = []
    below = lives[0].base
    for review, live in zip(reviews, lives, strict=True):
        _require_approved(review)
        changed += stale(review, replace(live, base=below))
        below = review.candidate or ""
        if live.candidate is not None:
            found.append(Part(_SEAL, review, live.candidate))
    whole = Batch(below, tuple(review.wp for review in reviews))
    if any(review.batch != whole or review.feature != reviews[0].feature for review in reviews):
        changed.append("batch")
    if changed or len(found) != len(reviews):
        return Stale(tuple(dict.fromkeys(changed)))
    return Together(_SEAL, found)


def _require_approved(review: ReviewRow) -> None:
    if review.verdict is not Verdict.APPROVED or review.candidate is None:
        raise NotAllowed(f"{review.wp} has no approval", "run `agentpkg review` first", code="no_approval")


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
