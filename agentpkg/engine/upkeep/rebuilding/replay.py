"""The current rows of a ledger as the entries of its chains tell them, and the events that go with them.

The inverse of :mod:`agentpkg.engine.transition`: what an entry does not say (titles, the details of checks, counts of
tests) stays empty. Pure but for the transaction that is written at the end.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from agentpkg.core.model import FailureClass, FeatureState, Outcome, State, Verdict
from agentpkg.core.records import (
    Batch,
    CheckResult,
    Entry,
    FeatureRow,
    Need,
    PackageRow,
    QuestionRow,
    ReviewRow,
    SessionRow,
)
from agentpkg.core.states import NONE
from agentpkg.ledger.ledger import Transaction

K = TypeVar("K", FeatureState, State, Outcome, FailureClass, Verdict)

_Package = tuple[str, str]


class Replay:
    """Rows made of entries.

    Args:
        target: the branch that features merge into, which no entry names.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self.features: dict[str, FeatureRow] = {}
        self.packages: dict[_Package, PackageRow] = {}
        self.sessions: dict[str, SessionRow] = {}
        self.reviews: dict[tuple[str, ...], ReviewRow] = {}
        self.questions: dict[int, QuestionRow] = {}

    def follow(self, entries: Iterable[Entry]) -> None:
        """Takes entries in, each chain in order."""
        for entry in entries:
            _, _, change = entry.transition.rpartition(":")
            frm, _, to = change.partition("->")
            if entry.wp_id is None:
                self._feature(entry, to)
            else:
                self._package(entry, frm, to)

    def write(self, tx: Transaction) -> None:
        """Writes the rows."""
        for feature in self.features.values():
            tx.put_feature(feature)
        for package in self.packages.values():
            tx.put_package(package)
        for session in self.sessions.values():
            tx.put_session(session)
        for review in self.reviews.values():
            tx.put_review(review)
        for question in self.questions.values():
            tx.put_question(question)

    # ----------------------------------------------------------------- one entry

    def _feature(self, entry: Entry, to: str) -> None:
        title = str(entry.metadata.get("title") or entry.feature_id)
        known = self.features.get(entry.feature_id)
        row = known or FeatureRow(entry.feature_id, title, FeatureState.PLANNED, self._target)
        self.features[row.id] = replace(row, state=_kind(FeatureState, to) or row.state)

    def _package(self, entry: Entry, frm: str, to: str) -> None:
        key = (entry.feature_id, str(entry.wp_id))
        if entry.feature_id not in self.features:
            self._feature(entry, FeatureState.PLANNED)
        title = _some(entry.metadata, "title") or str(entry.wp_id)
        row = self.packages.get(key) or PackageRow(*key, title, State.PLANNED)
        if entry.metadata.get("kind") == "review":
            row = self._reviewed(row, entry)
        elif entry.metadata.get("kind") == "question" and "about" in entry.metadata:
            self._asked(row, entry)
        elif to == State.DOING and frm != to:
            row = self._started(row, entry)
        elif frm == State.DOING and frm != to:
            row = self._ended(row, entry)
        state = _kind(State, to)
        if frm != to and frm != NONE and state is not None:
            row = _moved(row, state, entry)
        self.packages[key] = row

    def _started(self, row: PackageRow, entry: Entry) -> PackageRow:
        said = entry.metadata
        session = SessionRow(
            id=_text(said, "session"), feature=row.feature, wp=row.wp, agent=_agent(entry),
            harness=_text(said, "harness"), epoch=_number(said, "epoch"), started_at=entry.timestamp,
            isolation=_text(said, "isolation") or "basic", model=_some(said, "model"), base=_text(said, "base"),
            old_head=_text(said, "head"), prompt_sha256=_text(said, "prompt_sha256"),
        )  # fmt: skip
        self.sessions[session.id] = session
        own = session.old_head != session.base
        return replace(
            row, session=session.id, agent=session.agent, branch=_some(said, "branch") or row.branch,
            base=session.base, head=session.old_head, commits=row.commits if own else 0,
            files_changed=row.files_changed if own else 0, reason=None, reason_class=None, finished_at=None,
            started_at=entry.timestamp,
        )  # fmt: skip

    def _ended(self, row: PackageRow, entry: Entry) -> PackageRow:
        said = entry.metadata
        commits, files = _number(said, "commits"), _number(said, "files_changed")
        cause = _kind(FailureClass, said.get("reason_class"))
        session = self.sessions.get(_text(said, "job_id") or row.session or "")
        if session is not None:
            exit_code = said.get("exit_code")
            self.sessions[session.id] = replace(
                session, ended_at=entry.timestamp, outcome=_kind(Outcome, said.get("outcome")),
                reason=_some(said, "reason"), reason_class=cause, new_head=_some(said, "head"), commits=commits,
                files_changed=files,
                exit_code=exit_code if isinstance(exit_code, int) else None, usage=_mapping(said.get("usage")),
            )  # fmt: skip
        return replace(
            row, head=_some(said, "head") or row.head, commits=row.commits + commits,
            files_changed=files or row.files_changed, reason=_some(said, "reason"),
            reason_class=cause, failures=row.failures + (cause is not None and cause.counted),
            finished_at=entry.timestamp,
        )  # fmt: skip

    def _reviewed(self, row: PackageRow, entry: Entry) -> PackageRow:
        said = entry.metadata
        verdict = _kind(Verdict, said.get("verdict")) or Verdict.CHANGES_REQUESTED
        head = _text(said, "head")
        rejected = verdict is Verdict.CHANGES_REQUESTED
        fresh = rejected and not any(
            (r.feature, r.wp, r.head, r.verdict) == (row.feature, row.wp, head, verdict) for r in self.reviews.values()
        )
        review = ReviewRow(
            row.feature, row.wp, head, _text(said, "base"), _text(said, "definitions"), verdict,
            _number(said, "cycle"), _some(said, "candidate"), _checks(said), created_at=entry.timestamp,
            needs=_needs(said), batch=_batch(said),
        )  # fmt: skip
        self.reviews[review.feature, review.wp, review.head, review.base, review.definitions] = review
        failed = ", ".join(f"{check.group}/{check.name}" for check in review.checks if check.status == "fail")
        return replace(
            row, verdict=verdict, cycle=row.cycle + fresh, head=head, candidate=review.candidate,
            reason=f"changes requested: {failed}" if rejected else None,
        )  # fmt: skip

    def _asked(self, row: PackageRow, entry: Entry) -> None:
        """Keeps a question's number; what was answered is asked anew, since no entry says all that it was bound to."""
        said = entry.metadata
        number = _number(said, "question")
        self.questions[number] = QuestionRow(
            number, _text(said, "about"), row.feature, row.wp, None, _text(said, "candidate"), _text(said, "text"),
            {"needs": said.get("needs")}, ("yes", "no"), _text(said, "default"), _some(said, "deadline"),
            _number(said, "people"), (), (), entry.timestamp, state="withdrawn", closed_at=entry.timestamp,
        )  # fmt: skip


def _moved(row: PackageRow, to: State, entry: Entry) -> PackageRow:
    """What a change of state does to a package beside what its session or review did."""
    said = entry.metadata
    row = replace(row, state=to, branch=row.branch or _some(said, "branch"))
    if to is State.DONE:
        return replace(
            row, merge_commit=_some(said, "merge_commit"), forced=said.get("forced") is True, reason=None,
            head=_some(said, "head") or row.head, finished_at=entry.timestamp,
        )  # fmt: skip
    if to is State.PLANNED:
        return replace(
            row, verdict=None, candidate=None, cycle=1, failures=0, reason=_some(said, "reason"), reason_class=None,
            finished_at=None, approved_by=None,
        )  # fmt: skip
    if to is State.FOR_REVIEW:
        return replace(row, verdict=None, candidate=None, reason=_some(said, "reason"), reason_class=None)
    if to is State.BLOCKED:
        return replace(row, reason=_some(said, "reason"), reason_class=_kind(FailureClass, said.get("reason_class")))
    return replace(row, finished_at=entry.timestamp) if to is State.CANCELLED else row


def _agent(entry: Entry) -> str:
    return _text(entry.metadata, "agent") or entry.actor.partition(":")[2]


def _needs(said: Mapping[str, Any]) -> tuple[Need, ...]:
    found = said.get("needs")
    needs = [one for one in found if isinstance(one, dict)] if isinstance(found, list | tuple) else []
    return tuple(Need(_text(n, "action"), _text(n, "detail"), tuple(map(str, n.get("paths") or ()))) for n in needs)


def _batch(said: Mapping[str, Any]) -> Batch | None:
    found = _mapping(said.get("batch"))
    packages = found.get("packages")
    return Batch(_text(found, "tip"), tuple(map(str, packages))) if isinstance(packages, list | tuple) else None


def _checks(said: Mapping[str, Any]) -> tuple[CheckResult, ...]:
    found = said.get("checks")
    checks = [one for one in found if isinstance(one, dict)] if isinstance(found, list | tuple) else []
    return tuple(
        CheckResult(_text(one, "group"), _text(one, "name"), one.get("status") or "skip", "", _some(one, "evidence"))
        for one in checks
    )


def _kind(kind: Callable[[str], K], value: object) -> K | None:
    """The member of that value; None for one that this version does not know."""
    try:
        return kind(str(value))
    except ValueError:
        return None


def _text(said: Mapping[str, Any], key: str) -> str:
    value = said.get(key)
    return value if isinstance(value, str) else ""


def _some(said: Mapping[str, Any], key: str) -> str | None:
    return _text(said, key) or None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(said: Mapping[str, Any], key: str) -> int:
    value = said.get(key)
    return value if isinstance(value, int) else 0
