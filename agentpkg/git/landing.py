"""Landing: the target moves by compare-and-swap to the reviewed candidate, and the user's checkouts follow.

All or nothing, in an order that a crash at any point leaves decidable by one fact, the target's ref:

1. what is of the user's in the way is looked for, and the candidate's objects enter the repository;
2. each checkout's ``index.lock`` is taken, and a journal written;
3. the ref transaction is *prepared*: it holds the ref's lock and has compared the old value;
4. the files of each checkout move, with a copy of its index;
5. the ref transaction is committed: from here on the landing has happened;
6. the indexes are replaced, the locks and the journal removed.

Whoever finds a journal (:func:`agentpkg.git.landing_recovery.settle`) undoes 4 when 5
did not happen, and does 6 when it did.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from agentpkg.core.proof import Followed, Warrant
from agentpkg.git import checkouts as user
from agentpkg.git import refs
from agentpkg.git.checkouts import Checkout
from agentpkg.git.diff import Change, changed_paths
from agentpkg.git.discover import Repository
from agentpkg.git.identity import Identity, agent_identity
from agentpkg.git.incoming import incoming
from agentpkg.git.landing_journal import Journal
from agentpkg.git.landing_recovery import settle
from agentpkg.git.repo import Git, GitFailed

#: bytes a candidate may bring beyond what was admitted: folders, merged files, one commit
_MAX_BYTES = 2 << 30


@dataclass(frozen=True, slots=True)
class LandingPlan:
    """What is to land.

    Attributes:
        target: the branch, with or without ``refs/heads/``.
        warrant: why it may land. What lands, and where the target must be before, is what it names and nothing else.
        filters: names of the filters that may run (``worktree.filters``).
        identity: whom the reflog names.
    """

    target: str
    warrant: Warrant | Followed
    filters: tuple[str, ...] = ()
    identity: Identity = field(default_factory=lambda: agent_identity("agentpkg"))
    note: str = "agentpkg: land"

    @property
    def old(self) -> str:
        """The commit the target must be at."""
        return self.warrant.candidate.base

    @property
    def new(self) -> str:
        """The candidate, a descendant of :attr:`old`, in the control dir."""
        return self.warrant.candidate.commit

    @property
    def heads(self) -> tuple[str, ...]:
        """The admitted branch tips it lands, in the repository."""
        return self.warrant.heads

    @property
    def ref(self) -> str:
        """The target's full name."""
        return self.target if self.target.startswith("refs/") else f"refs/heads/{self.target}"


@dataclass(frozen=True, slots=True)
class Landed:
    """The target is at the candidate, and so is every checkout of it; ``checkouts`` are those that followed."""

    commit: str
    checkouts: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class TargetMoved:
    """The target is not where the candidate was made; ``now`` is its tip, None when it is gone."""

    now: str | None


@dataclass(frozen=True, slots=True)
class InTheWay:
    """Something of the user's is in the way; ``paths`` is sorted and may be empty. Nothing has changed."""

    paths: tuple[str, ...]
    why: str
    checkout: Path | None = None


@dataclass(frozen=True, slots=True)
class Locked:
    """Another git process holds this lock file. Nothing has changed."""

    lock: Path


@dataclass(frozen=True, slots=True)
class Refused:
    """The remote that the target lives on does not take it, and says why. Nothing has changed."""

    remote: str
    reason: str


Outcome = Landed | TargetMoved | InTheWay | Locked | Refused

#: moves a remote's target to the new commit if it is at the old one; None when it has
Publish = Callable[[str, str], TargetMoved | Refused | None]


def land(repo: Repository, control: Git, plan: LandingPlan, publish: Publish | None = None) -> Outcome:
    """Moves the target to the candidate. The caller holds the lock ``landing``.

    Args:
        publish: called when nothing here stands in the way any more; what it gives, if not None, is the outcome.

    Raises:
        GitFailed: the candidate is missing, or git failed in a way nobody planned for; nothing has changed then.
    """
    now = refs.tip(repo.git, plan.ref)
    if now != plan.old:
        return Landed(plan.new) if now == plan.new else TargetMoved(now)
    changes = changed_paths(control, plan.old, plan.new, sizes=False)
    checkouts = user.checkouts_of(repo, plan.ref)
    blocked = _blocked(repo, control, plan, checkouts, changes)
    if blocked:
        return blocked
    with incoming(control, repo.objects) as arrived:
        arrived.receive(control, plan.new, [plan.old, *plan.heads], max_bytes=_MAX_BYTES)
        arrived.accept()
    journal = Journal.new_one(repo, plan.ref, plan.old, plan.new)
    try:
        for checkout in checkouts:
            if not journal.lock(checkout, (c.path for c in changes)):
                return Locked(checkout.lock)
        with ExitStack() as stack:
            return _Landing(repo, control, plan, changes, journal, stack, publish).run()
    finally:
        # whatever happened: as the ref says, files and indexes follow it or go back, and the locks are released
        settle(repo, control, journal)


def _blocked(
    repo: Repository, control: Git, plan: LandingPlan, checkouts: Sequence[Checkout], changes: Sequence[Change]
) -> InTheWay | None:
    busy = user.under_way(repo, checkouts, plan.ref)
    if busy:
        return InTheWay((), busy)
    for checkout in checkouts:
        paths = user.in_the_way(checkout, changes)
        if paths:
            return InTheWay(tuple(paths), "files of yours that git does not track are in the way", checkout.work_tree)
    paths = user.filtered(repo, control, plan.new, changes, plan.filters) if checkouts else []
    if paths:
        return InTheWay(tuple(paths), "they pass a filter that worktree.filters does not name", checkouts[0].work_tree)
    return None


@dataclass(frozen=True, slots=True)
class _Landing:
    repo: Repository
    control: Git
    plan: LandingPlan
    changes: Sequence[Change]
    journal: Journal
    stack: ExitStack
    publish: Publish | None

    def run(self) -> Outcome:
        views = [(c, self.stack.enter_context(user.view(self.control, self.repo, c))) for c in self.journal.checkouts]
        try:
            with _prepared(self.repo, self.plan) as commit:
                for checkout, git in views:
                    said = user.follow(git, self.plan.old, self.plan.new)
                    if said is not None:
                        return self._refusal(checkout, git, said)
                refused = self.publish(self.plan.new, self.plan.old) if self.publish else None
                if refused is not None:
                    return refused
                commit()
        except _NotPrepared:
            now = refs.tip(self.repo.git, self.plan.ref)
            lock = self.repo.common_dir / f"{self.plan.ref}.lock"
            return Locked(lock) if now == self.plan.old else TargetMoved(now)
        for checkout, git in views:
            assert git.index is not None
            os.replace(git.index, checkout.index)
        self.journal.close()
        return Landed(self.plan.new, tuple(c.work_tree for c, _ in views))

    def _refusal(self, checkout: Checkout, git: Git, said: str) -> InTheWay:
        paths = user.changed_by_user(git, self.plan.old, self.changes)
        why = "you have changes of your own in them" if paths else said.splitlines()[-1]
        return InTheWay(tuple(paths), why, checkout.work_tree)


class _NotPrepared(Exception):
    """The ref is locked, or is not where it should be."""


@contextmanager
def _prepared(repo: Repository, plan: LandingPlan) -> "Iterator[_Commit]":
    """Holds a prepared ref transaction (git-update-ref(1)) for the block; aborted unless it is committed."""
    git = repo.git.but(environment=plan.identity.variables())
    with git.process("update-ref", "--stdin", "-m", plan.note, timeout=3600) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        _say(child.stdin, f"start\nupdate {plan.ref} {plan.new} {plan.old}\nprepare\n")
        heard = [child.stdout.readline(), child.stdout.readline()]
        if heard != [b"start: ok\n", b"prepare: ok\n"]:
            raise _NotPrepared
        try:
            yield _Commit(child.stdin, child.stdout)
        finally:
            # at the end of its input git takes an open transaction back; killed, it would leave its locks behind
            try:
                child.stdin.close()
            except BrokenPipeError:
                pass
            child.wait()


@dataclass(frozen=True, slots=True)
class _Commit:
    to: IO[bytes]
    back: IO[bytes]

    def __call__(self) -> None:
        try:
            _say(self.to, "commit\n")
        except _NotPrepared:
            pass
        if self.back.readline() != b"commit: ok\n":
            raise GitFailed(("update-ref", "--stdin"), 1, b"the ref transaction was not committed")


def _say(pipe: IO[bytes], text: str) -> None:
    try:
        pipe.write(text.encode())
        pipe.flush()
    except BrokenPipeError:
        raise _NotPrepared from None
