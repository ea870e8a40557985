"""What a candidate needs of people before it lands, asked in the queue of questions and answered there.

An approval is bound to the candidate that was asked about: it holds for that commit, and for a later candidate only if
that one's tree, needs and terms are the same (with ``binds: change``: if it changes the target in the same way, byte
for byte). A denial holds for the branch tip, whatever the target does.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from agentpkg.checks.base import canonical
from agentpkg.core import chain, questions, states
from agentpkg.core.errors import NotAllowed
from agentpkg.core.model import State, Verdict
from agentpkg.core.records import PackageRow, QuestionRow, ReviewRow
from agentpkg.engine import transition
from agentpkg.engine.project import Project
from agentpkg.engine.transition.questions import Asked
from agentpkg.git.diff import changed_paths
from agentpkg.git.refs import tree_of
from agentpkg.ledger.ledger import Transaction
from agentpkg.ledger.reading import Reader


class Standing(Enum):
    """Where a candidate stands with people."""

    FREE = "needs nobody"
    UNASKED = "not asked"
    WAITING = "asked"
    GRANTED = "approved"
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A candidate that people have to approve, or have denied.

    Attributes:
        question: the one that decides.
    """

    row: PackageRow
    question: QuestionRow

    def error(self) -> NotAllowed:
        """The same as what a command says that could not land it."""
        return NotAllowed(why(self.question), hint(self.question), code=_CODES[self.question.state == "open"],
                          details={"question": self.question.number})  # fmt: skip


_CODES = {True: "approval_required", False: "denied"}


def why(question: QuestionRow) -> str:
    """Why a package does not land, as its question has it."""
    named = f"{question.wp} {questions.name(question.number)}"
    if question.state == "open":
        more = questions.missing(question)
        who = "a person" if more == 1 and question.people == 1 else f"{more} more {'person' if more == 1 else 'people'}"
        return f"{named}: {who} must approve it: {question.text}"
    last = question.answers[-1] if question.answers else {"by": "nobody", "reason": None}
    reason = f": {last['reason']}" if last["reason"] else ""
    return f"{named}: denied by {last['by']}{reason}"


def hint(question: QuestionRow) -> str:
    """What a person can do about it."""
    ours = f"{question.feature} {question.wp}"
    if question.state == "open":
        return f"`agentpkg approve {ours}`, or `agentpkg deny {ours} --reason TEXT`"
    return (
        f"have it done differently with `agentpkg move {ours} --to planned`, or `agentpkg approve {ours} --reason TEXT`"
    )


# --------------------------------------------------------------------------- what is asked


def prepare(project: Project, review: ReviewRow) -> Asked | None:
    """The question about an approved candidate; None when it needs nobody."""
    if review.verdict is not Verdict.APPROVED or not review.needs or review.candidate is None:
        return None
    terms = project.policy.approval
    excluded = _dispatchers(project, review) if terms.exclude_dispatcher else ()
    return Asked(
        questions.APPROVAL, review.candidate, "; ".join(f"{need.action}: {need.detail}" for need in review.needs),
        _details(project, review), deadline=_deadline(project, terms.deadline_seconds), people=terms.people,
        approvers=tuple(f"human:{login}" for login in terms.approvers), excluded=excluded,
    )  # fmt: skip


def _details(project: Project, review: ReviewRow) -> dict[str, Any]:
    """What an answer is bound to."""
    terms = project.policy.approval
    needs = [asdict(need) for need in review.needs]
    bound = [needs, terms.people, list(terms.approvers), terms.exclude_dispatcher, terms.binds]
    return {
        "head": review.head, "base": review.base, "definitions": review.definitions, "needs": needs,
        "tree": tree_of(project.control, review.candidate or ""),
        "change": _change(project, review) if terms.binds == "change" else None,
        "terms": hashlib.sha256(canonical(bound)).hexdigest(),
    }  # fmt: skip


def _change(project: Project, review: ReviewRow) -> str:
    found = changed_paths(project.control, review.base, review.candidate or "", sizes=False)
    return hashlib.sha256(canonical([asdict(change) for change in found])).hexdigest()


def _deadline(project: Project, seconds: int | None) -> str | None:
    if seconds is None:
        return None
    return chain.rfc3339(datetime.fromisoformat(project.ledger.now()) + timedelta(seconds=seconds))


def _dispatchers(project: Project, review: ReviewRow) -> tuple[str, ...]:
    """The people who started sessions of this package."""
    entries = project.ledger.entries(review.feature, wp=review.wp)
    found = (entry.metadata.get("dispatched_by") for entry in entries if entry.transition.endswith("->doing"))
    return tuple(dict.fromkeys(str(who) for who in found if who))


# --------------------------------------------------------------------------- where it stands


def standing(look: Reader, review: ReviewRow, asked: Asked | None) -> tuple[Standing, QuestionRow | None]:
    """Where a candidate stands, and the question that says so.

    Args:
        asked: what :func:`prepare` gives for it.
    """
    if asked is None:
        return Standing.FREE, None
    for question in reversed(look.questions(review.feature, review.wp, kind=questions.APPROVAL)):
        if question.state == "answered" and question.answer != questions.YES:
            if question.details.get("head") == review.head:
                return Standing.DENIED, question
        elif question.state in ("open", "answered") and _covers(question, asked):
            return (Standing.WAITING if question.state == "open" else Standing.GRANTED), question
    return Standing.UNASKED, None


def _covers(question: QuestionRow, asked: Asked) -> bool:
    """An answer to ``question`` is an answer to ``asked``."""
    known, wanted = question.details, asked.details
    if known.get("terms") != wanted["terms"]:
        return False
    same_change = wanted["change"] is not None and known.get("change") == wanted["change"]
    return question.subject == asked.subject or known.get("tree") == wanted["tree"] or same_change


def ask(tx: Transaction, row: PackageRow, review: ReviewRow, asked: Asked | None) -> QuestionRow | None:
    """Asks about a candidate unless it was asked before; what was asked about an older one expires."""
    found, question = standing(tx, review, asked)
    if asked is None:
        transition.questions.expire_all(tx, row, "its candidate needs no approval any more")
    elif found is Standing.UNASKED:
        return transition.questions.ask(tx, row, asked)
    return question


def require(project: Project, row: PackageRow, review: ReviewRow, person: str | None) -> Waiting | QuestionRow | None:
    """Whether an approved candidate may land as far as people are concerned.

    Args:
        person: somebody whose wish to land it is an approval; None: nobody's.

    Returns:
        None or the question that was answered yes when it may, else what it waits for.

    Raises:
        NotAllowed: ``person`` may not answer.
    """
    asked = prepare(project, review)
    if asked is None:
        return None
    with project.ledger.write() as tx:
        transition.questions.time_out(tx)
        question = ask(tx, transition.require(tx, row.feature, row.wp), review, asked)
        assert question is not None
        if question.state == "open" and person is not None:
            question = transition.questions.answer(tx, question.number, person, questions.YES, None)
    project.poke()
    return question if question.answer == questions.YES else Waiting(row, question)


def newest(project: Project, row: PackageRow) -> QuestionRow | None:
    """The question about a package's candidate that counts now."""
    found = project.ledger.questions(row.feature, row.wp, kind=questions.APPROVAL)
    return found[-1] if found and found[-1].state in ("open", "answered") else None


def holds_up(project: Project, row: PackageRow, may_ask_anew: bool) -> QuestionRow | None:
    """The question that keeps an approved package from landing; None when trying is worth it.

    Args:
        may_ask_anew: a question about a target that has moved on since may be asked anew, which takes a review.
    """
    question = newest(project, row)
    if question is None or question.answer == questions.YES:
        return None
    if question.state == "open" and may_ask_anew and outdated(project, row, question.details):
        return None
    return question


def outdated(project: Project, row: PackageRow, details: Mapping[str, Any]) -> str | None:
    """Why a question with these details is no more about what would land now; None when it is."""
    feature = project.ledger.feature(row.feature)
    assert feature is not None
    if _has_moved(project, row, details):
        return "its branch has moved"
    moved = project.target_tip(feature.target) != details.get("base")
    return "its target has moved" if moved and details.get("change") is None else None


def _has_moved(project: Project, row: PackageRow, details: Mapping[str, Any]) -> bool:
    return project.branch_tip(row.branch or "") != details.get("head")


# --------------------------------------------------------------------------- what people say


def answer(project: Project, number: int, option: str, reason: str | None) -> QuestionRow:
    """Records a person's answer to a question.

    Raises:
        NotAllowed: an agent asks, the question is closed or overtaken, or this person may not answer it.
    """
    actor = project.require_person(f"answer {questions.name(number)}")
    settle(project)
    asked = project.ledger.question(number)
    changed = _overtaken(project, asked, option) if asked else None
    with project.ledger.write() as tx:
        if asked is None or changed is None:
            question = transition.questions.answer(tx, number, actor, option, reason)
        else:
            row = transition.require(tx, asked.feature, asked.wp or "")
            transition.questions.expire(tx, row, transition.questions.require_open(tx, number), changed)
    project.poke()
    if asked is not None and changed is not None:
        raise _of_another_candidate(project.row(asked.feature, asked.wp or ""), changed)
    return question


def _overtaken(project: Project, question: QuestionRow, option: str) -> str | None:
    if question.kind != questions.APPROVAL or question.state != "open":
        return None
    row = project.row(question.feature, question.wp or "")
    # a no holds for the branch, wherever the target is
    if option != questions.YES and not _has_moved(project, row, question.details):
        return None
    return outdated(project, row, question.details)


def _of_another_candidate(row: PackageRow, changed: str) -> NotAllowed:
    return NotAllowed(
        f"what was asked about {row.wp} would not land any more: {changed}",
        f"`agentpkg review {row.feature} {row.wp}` judges the new candidate, and asks anew",
        code="candidate_changed",
    )


def decide(project: Project, feature: str, wp: str, option: str, reason: str | None) -> QuestionRow:
    """Approves or denies the candidate of a package that waits for that.

    A denial, or a deadline that has passed, can be taken back by an approval that says why.

    Raises:
        NotAllowed: as :func:`answer`; or nothing waits for an answer.
    """
    project.require_person(f"{'approve' if option == questions.YES else 'deny'} {wp}")
    settle(project)
    row = project.row(feature, wp)
    question = newest(project, row)
    if question is None or question.state != "open":
        question = _ask_again(project, row, question, option, reason)
    return answer(project, question.number, option, reason)


def _ask_again(
    project: Project, row: PackageRow, closed: QuestionRow | None, option: str, reason: str | None
) -> QuestionRow:
    review = _approved_review(project, row)
    asked = prepare(project, review)
    if asked is None:
        raise NotAllowed(f"{row.wp} needs no approval", _landing(row), code="nothing_to_approve")
    changed = outdated(project, row, asked.details)
    if changed is not None:
        raise _of_another_candidate(row, changed)
    if closed is not None and closed.answer == option:
        raise NotAllowed(f"{row.wp} has its answer: {option}", _landing(row), code="question_closed")
    if closed is not None and not reason:
        raise NotAllowed(why(closed) if option == questions.YES else f"{row.wp} is approved",
                         "give --reason to decide otherwise", code="question_closed")  # fmt: skip
    with project.ledger.write() as tx:
        return transition.questions.ask(tx, transition.require(tx, row.feature, row.wp), asked)


def _approved_review(project: Project, row: PackageRow) -> ReviewRow:
    """The newest review of what would land. Raises :class:`NotAllowed` when it is no approval of that."""
    if row.state is not State.FOR_REVIEW:
        raise NotAllowed(f"{row.wp} is {row.state}, not for_review", states.next_step(row), code="not_for_review")
    found = [r for r in project.ledger.reviews(row.feature, row.wp) if r.candidate == row.candidate]
    if not found or row.verdict is not Verdict.APPROVED:
        said = "has not been judged" if row.verdict is None else "was judged, and needs changes"
        raise NotAllowed(f"{row.wp} {said}", f"judge it with `agentpkg review {row.feature} {row.wp}`",
                         code="no_approval")  # fmt: skip
    return found[-1]


def _landing(row: PackageRow) -> str:
    return f"land it with `agentpkg move {row.feature} {row.wp} --to done`"


def settle(project: Project) -> list[QuestionRow]:
    """Answers by default what nobody answered in time; writes only if there is something."""
    ledger = project.ledger_if_any
    if ledger is None or not any(q.deadline for q in ledger.questions(open_only=True)):
        return []
    with project.ledger.write() as tx:
        late = transition.questions.time_out(tx)
    if late:
        project.poke()
    return late


def as_mapping(question: QuestionRow) -> Mapping[str, Any]:
    """What the landed entry keeps of the approval."""
    return {"question": question.number, "approvals": questions.favourable(question.answers, questions.YES)}
