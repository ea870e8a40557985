"""Questions to people, decided purely: who may answer, what an answer makes of a question, and when it is too late.

A question has options; the first lets things go on and may ask for several people, any other one ends it at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from agentpkg.core.records import QuestionRow

#: kinds: about a candidate that is to land; about a call that a working agent wants to make; about a package whose
#: review cycles are used up over a conflict; about a budget that is used up
APPROVAL, PERMISSION, CONFLICT, SPENDING = "approval", "permission", "conflict", "spending"
YES, NO = "yes", "no"
#: answers about a conflict: its agent tries anew, or a person sees to it
AGAIN, LEAVE = "again", "leave"


def name(number: int) -> str:
    """``Q3``, as people write it."""
    return f"Q{number}"


def objection(question: QuestionRow, actor: str) -> str | None:
    """Why ``actor`` may not answer; None when nothing is against it."""
    if not actor.startswith("human:"):
        return "only a person may answer"
    if question.approvers and actor not in question.approvers:
        return f"only {', '.join(question.approvers)} may answer"
    if actor in question.excluded:
        return "whoever dispatched the work may not approve it"
    if any(given["by"] == actor for given in question.answers):
        return "another person has to answer as well"
    return None


def answered(question: QuestionRow, actor: str, answer: str, reason: str | None, now: str) -> QuestionRow:
    """The question with one more answer; closed when that one decides it.

    Args:
        answer: one of its options.
        now: RFC 3339, in UTC.
    """
    given = {"by": actor, "answer": answer, "reason": reason, "time": now}
    new = replace(question, answers=(*question.answers, given))
    if answer == question.options[0] and missing(new):
        return new
    return replace(new, state="answered", answer=answer, closed_at=now)


def missing(question: QuestionRow) -> int:
    """How many more people have to give the first option."""
    return max(0, question.people - len(favourable(question.answers, question.options[0])))


def favourable(answers: Sequence[Mapping[str, Any]], option: str) -> list[str]:
    """Who gave this option, in order."""
    return [str(given["by"]) for given in answers if given["answer"] == option]


def overdue(question: QuestionRow, now: str) -> bool:
    """It is open, and its deadline has passed. Times of one format in UTC compare as text."""
    return question.state == "open" and question.deadline is not None and question.deadline <= now


def timed_out(question: QuestionRow, now: str) -> QuestionRow:
    """The question answered by its fallback."""
    given = {"by": "system:timeout", "answer": question.fallback, "reason": "nobody answered in time", "time": now}
    return replace(
        question, answers=(*question.answers, given), state="answered", answer=question.fallback, closed_at=now
    )
